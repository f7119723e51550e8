import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.functional.risk import RISKS, cvar, cvar_weights, mean

B, N, A, K = 2, 5, 7, 11


def test_cvar_by_hand() -> None:
    z = torch.tensor([4.0, 1.0, 3.0, 2.0, 10.0])
    assert cvar(z, 0.2).item() == pytest.approx(1.0)
    assert cvar(z, 0.4).item() == pytest.approx(1.5)
    # .5 * 5 = 2.5 quantiles: (1 + 2 + .5*3) / 2.5
    assert cvar(z, 0.5).item() == pytest.approx(1.8)
    # Less than one quantile: the lowest
    assert cvar(z, 0.05).item() == pytest.approx(1.0)
    assert mean(z).item() == pytest.approx(4.0) == cvar(z, 1.0).item()


@settings(deadline=None)
@given(n=st.integers(1, 64), level=st.floats(0.01, 1.0))
def test_weights_sum_to_one_and_fall(n: int, level: float) -> None:
    weights = cvar_weights(n, level, torch.float64)
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert (weights >= 0).all()
    assert (weights.diff() <= 1e-15).all()


@settings(deadline=None, max_examples=30)
@given(level=st.floats(0.01, 1.0), seed=st.integers(0, 999))
def test_cvar_is_at_most_the_mean_and_grows_with_the_level(level: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(B, N, A, K, generator=generator, dtype=torch.float64)
    assert cvar(z, level).shape == (B, N, A)
    assert (cvar(z, level) <= mean(z) + 1e-12).all()
    assert (cvar(z, 0.5 * level) <= cvar(z, level) + 1e-12).all()
    torch.testing.assert_close(cvar(z, 1.0), mean(z))


@pytest.mark.parametrize("level", [0.0, -0.1, 1.01])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match=r"risk_level=.*\(0, 1\]"):
        cvar_weights(K, level)


@pytest.mark.parametrize("name", list(RISKS))
def test_every_measure_shifts_and_scales_with_the_return(name: str) -> None:
    z = torch.randn(B, N, A, K, dtype=torch.float64)
    measure = RISKS[name]
    torch.testing.assert_close(measure(3.0 * z + 2.0, 0.3), 3.0 * measure(z, 0.3) + 2.0)
    torch.testing.assert_close(measure(z.flip(-1), 0.3), measure(z, 0.3))
