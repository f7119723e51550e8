"""Figures of updates, added up on their device, and what stops them."""

import math

import pytest
import torch

from rllib_dbf.figures import DeviceFigures, Figures, HostFigures, figures_of


def number(x: float) -> torch.Tensor:
    return torch.tensor(x)


@pytest.fixture(params=[HostFigures, lambda: DeviceFigures(torch.device("cpu"))])
def empty(request) -> Figures:
    return request.param()


def filled(figures: Figures, *norms: float) -> Figures:
    for i, norm in enumerate(norms):
        figures.add({"loss": number(float(i)), "twice": number(2.0 * i)}, number(norm))
    return figures


def test_means_are_of_the_updates_since_the_last_call(empty):
    figures = filled(empty, 1.0, 1.0, 1.0)
    assert figures.means() == {"loss": 1.0, "twice": 2.0}
    assert figures.means() == {}
    figures.add({"loss": number(7.0)}, number(1.0))  # another kind of update
    figures.add({"loss": number(3.0), "twice": number(5.0)}, number(1.0))
    assert figures.means() == {"loss": 5.0, "twice": 5.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_halts_and_is_told_once(empty, bad):
    figures = filled(empty, 1.0, 2.0)
    figures.means()
    figures.add({"loss": number(9.0)}, number(1.0))
    figures.add({"loss": number(bad)}, number(bad))
    figures.add({"loss": number(11.0)}, number(1.0))
    assert float(figures.halted) == 1.0
    assert figures.means() == {"loss": 9.0}
    trouble = figures.trouble()
    assert trouble is not None and trouble.update == 4
    assert not math.isfinite(trouble.norm) and trouble.figures == f"loss={bad:g}"
    assert figures.trouble() is None and float(figures.halted) == 0.0
    figures.add({"loss": number(2.0)}, number(1.0))
    assert figures.means() == {"loss": 2.0}


def test_figures_may_be_finite_where_the_norm_is_not(empty):
    figures = filled(empty, math.nan)
    trouble = figures.trouble()
    assert trouble is not None and trouble.update == 1 and trouble.figures == "loss=0, twice=0"


def test_a_loss_that_is_not_finite_halts_whatever_the_norm(empty):
    figures = filled(empty, 1.0)
    figures.add({"td_loss": number(math.inf), "loss": number(3.0)}, number(2.0))
    assert float(figures.halted) == 1.0
    trouble = figures.trouble()
    assert trouble == (2, 2.0, "td_loss=inf, loss=3")


def test_a_processor_is_not_asked_in_vain():
    assert isinstance(figures_of(torch.device("cpu")), HostFigures)
    assert isinstance(figures_of(torch.device("meta")), DeviceFigures)
