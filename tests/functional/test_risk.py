import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.functional.risk import (
    RISKS,
    cpw_density,
    cvar,
    cvar_weights,
    distortion_weights,
    mean,
    power_density,
    wang_density,
)

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


@pytest.mark.parametrize(
    ("name", "level"),
    [("cvar", 0.0), ("cvar", 1.01), ("cvar", -1.01), ("var", 0.0), ("var", -0.1), ("var", 1.1),
     ("cpw", 0.1), ("cpw", -1.5), ("wang", float("inf")), ("power", float("nan"))],
)  # fmt: skip
def test_an_impossible_level_is_refused(name: str, level: float) -> None:
    with pytest.raises(ValueError, match=f"risk_level=.*risk='{name}': must lie"):
        RISKS[name](torch.zeros(K), level)


SCALING = [name for name in RISKS if name != "mean_variance"]


@pytest.mark.parametrize("name", SCALING)
def test_every_measure_shifts_and_scales_with_the_return(name: str) -> None:
    z = torch.randn(B, N, A, K, dtype=torch.float64)
    measure = RISKS[name]
    torch.testing.assert_close(measure(3.0 * z + 2.0, 0.3), 3.0 * measure(z, 0.3) + 2.0)
    torch.testing.assert_close(measure(z.flip(-1), 0.3), measure(z, 0.3))


@pytest.mark.parametrize("name", list(RISKS))
def test_unequal_shares_are_repeated_quantiles(name: str) -> None:
    z = torch.tensor([5.0, 1.0, 3.0], dtype=torch.float64)
    shares = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    if name in ("wang", "cpw", "power"):  # the midpoint rule depends on the partition
        weights = RISKS[name](torch.ones(2, 3, dtype=torch.float64), 0.5, shares)
        torch.testing.assert_close(weights, torch.ones_like(weights))
        return
    repeated = torch.tensor([1.0, 1.0, 3.0, 5.0], dtype=torch.float64)
    for level in (0.3, 0.5, 1.0):
        torch.testing.assert_close(RISKS[name](z, level, shares), RISKS[name](repeated, level))


@pytest.mark.parametrize("density", [wang_density, cpw_density, power_density])
@pytest.mark.parametrize("level", [-0.9, -0.4, 0.4, 0.9])
def test_distortions_are_densities(density, level: float) -> None:
    """∫ g' = 1, and the weights of any number of quantiles sum to 1 exactly."""
    n = 200_000
    tau = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    assert density(tau, level).mean().item() == pytest.approx(1.0, abs=0.02)
    for k in (1, 7, 32):
        weights = distortion_weights(torch.full((k,), 1 / k, dtype=torch.float64), level, density)
        assert weights.sum().item() == pytest.approx(1.0, abs=1e-12)
        assert (weights > 0).all()


def test_measures_by_hand() -> None:
    z = torch.tensor([10.0, 0.0, 2.0, 4.0], dtype=torch.float64)
    assert RISKS["var"](z, 0.25).item() == 0.0
    assert RISKS["var"](z, 0.26).item() == 2.0
    assert RISKS["var"](z, 1.0).item() == 10.0
    assert cvar(z, -0.25).item() == 10.0
    assert cvar(z, -0.375).item() == pytest.approx((10 + 0.5 * 4) / 1.5)
    # Mean 4, variance (36 + 16 + 4 + 0) / 4 = 14.
    assert RISKS["mean_variance"](z, 0.5).item() == pytest.approx(-3.0)
    # Level 1: g' = 2 (1 - τ), so the weights are 7, 5, 3, 1 sixteenths.
    assert RISKS["power"](z, 1.0).item() == pytest.approx((5 * 2 + 3 * 4 + 10) / 16)
    assert RISKS["power"](z, -1.0).item() == pytest.approx((3 * 2 + 5 * 4 + 7 * 10) / 16)
    # φ(x + a) / φ(x) at τ = 1/4 and 3/4 of two quantiles, x = ∓.6745: e^{.3372}, e^{-.3372}.
    two = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert RISKS["wang"](two, 0.5).item() == pytest.approx(
        1 / (1 + math.exp(2 * 0.33724)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("name", "averse", "seeking"),
    [("cvar", 0.25, -0.25), ("var", 0.1, 0.9), ("wang", 0.75, -0.75), ("power", 2.0, -2.0),
     ("mean_variance", 0.2, -0.2)],
)  # fmt: skip
def test_averse_levels_lower_the_value_of_a_gamble_and_seeking_ones_raise_it(
    name: str, averse: float, seeking: float
) -> None:
    z = torch.randn(B, N, A, K, dtype=torch.float64)
    assert (RISKS[name](z, averse) <= mean(z) + 1e-12).all()
    assert (RISKS[name](z, seeking) >= mean(z) - 1e-12).all()


@pytest.mark.parametrize(
    ("name", "level", "gambles"),
    [("mean", 1.0, True), ("cvar", 0.25, False), ("cvar", -0.25, True), ("var", 0.05, False),
     ("var", 0.5, True), ("wang", 0.75, False), ("wang", -0.75, True), ("cpw", 0.5, False),
     ("cpw", 1.0, True), ("power", 2.0, False), ("power", -2.0, True),
     ("mean_variance", 0.2, False), ("mean_variance", -0.2, True)],
)  # fmt: skip
def test_the_exact_risky_bandit(name: str, level: float, gambles: bool) -> None:
    """The risky arm pays 2.5 nine times in ten and -8 once, 1.45 on average; the safe arm 1."""
    safe, risky = torch.ones(20), torch.tensor([-8.0] * 2 + [2.5] * 18)
    assert bool(RISKS[name](risky, level) > RISKS[name](safe, level)) is gambles
