"""Compiled norms and steps against PyTorch's optimisers."""

import copy

import pytest
import torch
from torch import nn

from rllib_dbf.compiled import library
from rllib_dbf.functional import steps
from rllib_dbf.optimizers import OPTIMIZERS, Stepper, total_norm
from tests.pytorch_alone import pytorch_alone

CPU = torch.device("cpu")
SIZES = [(3, 5), (1,), (70, 64), (), (4097,), (100, 100)]  # pieces are of 4096 numbers

compiled_only = pytest.mark.skipif(
    library.library().functions is None, reason=f"nothing to test: {library.library().reason}"
)


def tensors(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(size, generator=generator) for size in SIZES]


class Net:
    """Parameters and what steps them."""

    def __init__(self, name: str = "adam", **options) -> None:
        self.parameters = [nn.Parameter(x) for x in tensors(0)]
        self.optimizer = OPTIMIZERS[name](self.parameters, lr=3e-3, **options)
        self.stepper = Stepper(self.optimizer, CPU)

    def step(self, seed: int, scale: float | None = None) -> None:
        factor = None if scale is None else torch.tensor(scale)
        self.stepper.step(self.parameters, tensors(seed, 0.1), factor)


def assert_alike(ours: Net, theirs: Net, **tolerances: float) -> None:
    for x, y in zip(ours.parameters, theirs.parameters, strict=True):
        torch.testing.assert_close(x, y, **tolerances)
        mine, other = ours.optimizer.state[x], theirs.optimizer.state[y]
        assert mine.keys() == other.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], other[name], **tolerances)


@compiled_only
@pytest.mark.parametrize("scale", [None, 0.25])
def test_steps_are_those_of_pytorch(scale) -> None:
    ours, theirs = Net(eps=1e-5), Net(eps=1e-5)
    for seed in range(1, 30):
        ours.step(seed, scale)
        with pytorch_alone():
            theirs.step(seed, scale)
    assert steps.has_adam(ours.optimizer, ours.parameters)
    assert_alike(ours, theirs, rtol=2e-6, atol=2e-7)


@compiled_only
def test_steps_do_not_depend_on_the_number_of_threads() -> None:
    nets, before = [Net(), Net()], torch.get_num_threads()
    try:
        for threads, net in enumerate(nets, start=1):
            torch.set_num_threads(threads)
            for seed in range(1, 4):
                net.step(seed)
    finally:
        torch.set_num_threads(before)
    assert_alike(*nets, rtol=0, atol=0)


@compiled_only
def test_steps_go_on_from_a_state_that_was_loaded() -> None:
    ours = Net()
    for seed in (1, 2):
        ours.step(seed)
    saved, theirs = copy.deepcopy(ours.optimizer.state_dict()), Net()
    for mine, kept in zip(theirs.parameters, ours.parameters, strict=True):
        mine.data.copy_(kept.data)
    theirs.optimizer.load_state_dict(saved)
    theirs.stepper.settle()
    for net in (ours, theirs):
        net.step(3)
    assert_alike(ours, theirs, rtol=0, atol=0)
    assert int(ours.optimizer.state[ours.parameters[0]]["step"]) == 3


@compiled_only
def test_who_keeps_what_follows_from_weights_sees_a_step() -> None:
    net = Net()
    net.step(1)
    before = [p._version for p in net.parameters]
    net.step(2)
    assert all(p._version > b for p, b in zip(net.parameters, before, strict=True))


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_gradients_that_lie_in_another_order_move_the_weights_they_are_of(name: str) -> None:
    ours, theirs = Net(name), Net(name)
    for seed in (1, 2):  # the first by PyTorch, the second perhaps by compiled code
        turned = [x.t().contiguous().t() if x.dim() == 2 else x for x in tensors(seed, 0.1)]
        assert not turned[0].is_contiguous()
        ours.stepper.step(ours.parameters, turned)
        theirs.step(seed)
        assert_alike(ours, theirs, rtol=1e-6, atol=1e-7)


@compiled_only
def test_a_gradient_of_another_shape_is_refused() -> None:
    net, gradients = Net(), tensors(2)
    net.step(1)
    gradients[2] = gradients[2][:5]
    with pytest.raises(ValueError, match="gradient has shape"):
        net.stepper.step(net.parameters, gradients)


@compiled_only
@pytest.mark.parametrize("option", [{"weight_decay": 0.1}, {"amsgrad": True}, {"maximize": True}])
def test_other_forms_of_adam_are_left_to_pytorch(option) -> None:
    net = Net(**option)
    net.step(1)
    assert not steps.has_adam(net.optimizer, net.parameters)


@compiled_only
def test_rmsprop_is_left_to_pytorch() -> None:
    net = Net("rmsprop")
    net.step(1)
    assert not steps.has_adam(net.optimizer, net.parameters)


@compiled_only
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_norms_are_those_of_pytorch(scale: float) -> None:
    of = tensors(5, scale)
    ours = total_norm(of)
    with pytorch_alone():
        torch.testing.assert_close(ours, total_norm(of), rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_norms_tell_what_is_not_finite(bad: float) -> None:
    of = tensors(5)
    of[2][3, 4] = bad
    assert not torch.isfinite(total_norm(of))
