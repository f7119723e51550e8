import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.functional.gradients import COMBINATIONS, pcgrad, pcgrad_one_way, pcgrad_over_masks

P = 17
DOUBLE = {"dtype": torch.float64}


def _pair(seed: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    g_q, g_b = torch.randn(2, P, generator=generator, **DOUBLE)
    return g_q, scale * g_b


def test_sum() -> None:
    result = COMBINATIONS["sum"](torch.tensor([1.0, 2.0]), torch.tensor([4.0, 0.0]), 0.5, 0.25, 1.0)
    assert result.gradient.tolist() == [1.5, 1.0]
    # cos = 4 / (sqrt 5 * 4)
    assert result.cosine.item() == pytest.approx(5**-0.5)
    assert result.conflict.item() == 0.0
    assert result.norm_ratio.item() == pytest.approx(4.0 / 5**0.5)


def test_pcgrad_by_hand() -> None:
    g_q, g_b = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    # dot = -2; g_Q+ = (2,0) + 2/2 (-1,1) = (1,1); g_B+ = (-1,1) + 2/4 (2,0) = (0,1)
    result = pcgrad(g_q, g_b, 0.5, 0.5)
    assert result.gradient.tolist() == pytest.approx([0.5, 1.0])
    assert result.conflict.item() == 1.0
    assert result.cosine.item() == pytest.approx(-(0.5**0.5))
    # .25 (1,1) + .75 (0,1)
    assert pcgrad(g_q, g_b, 0.25, 0.75).gradient.tolist() == pytest.approx([0.25, 1.0])


def test_one_way_by_hand() -> None:
    g_q, g_b = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    # g_B+ = (0,1), |g_B+| = 1; cap .25*2 = .5 -> (0,.5); .5 (2,0) + .5 (0,.5)
    assert pcgrad_one_way(g_q, g_b, 0.5, 0.5, 0.25).gradient.tolist() == pytest.approx([1.0, 0.25])
    # A cap of 1*2 = 2 does not bind.
    assert pcgrad_one_way(g_q, g_b, 0.5, 0.5, 1.0).gradient.tolist() == pytest.approx([1.0, 0.5])
    # No conflict: only the cap. |g_B| = 5, cap .5*1 -> g_B/10
    agree = pcgrad_one_way(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 4.0]), 1.0, 1.0, 0.5)
    assert agree.gradient.tolist() == pytest.approx([1.3, 0.4])


def test_over_masks_by_hand() -> None:
    g_1, g_2 = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([-1.0, 1.0, 0.0])
    has_1, has_2 = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    # Projected as above: (1,1,0) and (0,1,0); the first entry is shared and averaged.
    merged = pcgrad_over_masks(g_1, g_2, has_1, has_2)
    assert merged.tolist() == pytest.approx([0.5, 2.0, 0.0])
    merged = pcgrad_over_masks(g_1, g_2, has_1, has_2, reduction="sum")
    assert merged.tolist() == pytest.approx([1.0, 2.0, 0.0])


@settings(deadline=None)
@given(seed=st.integers(0, 9999), scale=st.floats(-1e3, 1e3))
def test_pcgrad_never_conflicts_with_either(seed: int, scale: float) -> None:
    g_q, g_b = _pair(seed, scale)
    gradient = pcgrad(g_q, g_b, 0.5, 0.5).gradient
    size = float(gradient.norm() * (g_q.norm() + g_b.norm())) + 1.0
    assert gradient @ g_q >= -1e-12 * size
    assert gradient @ g_b >= -1e-12 * size


@settings(deadline=None)
@given(
    seed=st.integers(0, 9999),
    scale=st.floats(-1e3, 1e3),
    max_ratio=st.floats(0.0, 10.0),
    beta_b=st.floats(0.0, 1.0),
)
def test_one_way_never_slows_descent_on_the_return(
    seed: int, scale: float, max_ratio: float, beta_b: float
) -> None:
    g_q, g_b = _pair(seed, scale)
    gradient = pcgrad_one_way(g_q, g_b, 0.5, beta_b, max_ratio).gradient
    own = 0.5 * (g_q @ g_q)
    assert gradient @ g_q >= own - 1e-9 * (1.0 + abs(scale))
    if float(g_b.norm()) >= 1e-12:
        added = (gradient - 0.5 * g_q).norm()
        assert added <= beta_b * max_ratio * g_q.norm() * (1 + 1e-9) + 1e-12


@settings(deadline=None)
@given(seed=st.integers(0, 9999))
def test_pcgrad_is_symmetric(seed: int) -> None:
    g_q, g_b = _pair(seed)
    torch.testing.assert_close(
        pcgrad(g_q, g_b, 0.3, 0.7).gradient, pcgrad(g_b, g_q, 0.7, 0.3).gradient
    )


@pytest.mark.parametrize("name", list(COMBINATIONS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_vectors_give_no_nan(name: str, dtype: torch.dtype) -> None:
    zero, some = torch.zeros(P, dtype=dtype), torch.linspace(-1.0, 2.0, P, dtype=dtype)
    for g_q, g_b in ((zero, zero), (zero, some), (some, zero), (some, -some), (some, 1e-30 * some)):
        for max_ratio in (0.0, 0.1, float("inf")):
            result = COMBINATIONS[name](g_q, g_b, 0.5, 0.5, max_ratio)
            assert all(x.isfinite().all() for x in result)


@pytest.mark.parametrize("name", list(COMBINATIONS))
def test_a_vanishing_barrier_gradient_is_added_without_projection(name: str) -> None:
    g_q, g_b = _pair(4)
    g_b = -1e-14 * g_q + 1e-15 * g_b
    gradient = COMBINATIONS[name](g_q, g_b, 0.5, 0.5, 0.1).gradient
    torch.testing.assert_close(gradient, 0.5 * g_q + 0.5 * g_b, rtol=1e-15, atol=0.0)


@pytest.mark.parametrize("name", list(COMBINATIONS))
def test_reports_are_scalar_tensors(name: str) -> None:
    result = COMBINATIONS[name](*_pair(2), 0.5, 0.5, 0.1)
    assert result.gradient.shape == (P,)
    assert all(x.shape == () for x in result[1:])


@pytest.mark.parametrize("name", list(COMBINATIONS))
def test_below_the_threshold_a_negative_cosine_is_no_conflict(name: str) -> None:
    # The cosine is -1 / sqrt 2, about -.707.
    g_q, g_b = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    for threshold, conflict in ((0.7, 1.0), (0.71, 0.0)):
        result = COMBINATIONS[name](g_q, g_b, 0.5, 0.5, threshold=threshold)
        assert result.conflict.item() == conflict
    torch.testing.assert_close(result.gradient, 0.5 * (g_q + g_b))
