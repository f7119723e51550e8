import math

import pytest
import torch

from rllib_dbf.functional.risk import cvar
from rllib_dbf.nets.heads import ImplicitQuantileHead, midpoints
from rllib_dbf.nets.utility import HEADS

B, T, N, A, K, H = 2, 3, 5, 7, 11, 13


def test_midpoints() -> None:
    assert midpoints(4).tolist() == [0.125, 0.375, 0.625, 0.875]


def test_iqn_by_hand() -> None:
    head = ImplicitQuantileHead(hidden_dim=2, n_actions=1, n_cosines=2)
    with torch.no_grad():
        head.phi.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        head.phi.bias.zero_()
        head.out.weight.copy_(torch.tensor([[1.0, 10.0]]))
        head.out.bias.fill_(0.5)
    # tau 1/3: cos 0 = 1, cos(pi/3) = .5 -> phi (1, 1); tau 1: cos pi = -1 -> phi (1, 0)
    # Z = 3*1*1 + 4*1*10 + .5 = 43.5 and 3 + .5 = 3.5
    tau = torch.tensor([[1.0 / 3.0, 1.0]])
    z = head.all(torch.tensor([[3.0, 4.0]]), tau)
    torch.testing.assert_close(z, torch.tensor([[[43.5, 3.5]]]))


@pytest.mark.parametrize("rows", [1, N])
@pytest.mark.parametrize("name", list(HEADS))
def test_shortcuts_agree_with_the_full_tensor(name: str, rows: int) -> None:
    head = HEADS[name](H, A, n_quantiles=K).double()
    hidden = torch.randn(B, T, N, H, dtype=torch.float64)
    tau = torch.rand(B, T, rows, K, dtype=torch.float64)
    actions = torch.randint(0, A, (B, T, N))
    z = head.all(hidden, tau)
    assert z.shape == (B, T, N, A, K if head.distributional else 1)
    if name != "cvar_qr":  # judged by less than the mean
        torch.testing.assert_close(head.mean(hidden, tau), z.mean(dim=-1))
    index = actions[..., None, None].expand(B, T, N, 1, z.shape[-1])
    torch.testing.assert_close(head.at(hidden, actions, tau), z.gather(3, index).squeeze(3))


def test_fixed_quantiles_are_sorted() -> None:
    z = HEADS["qr"](H, A, n_quantiles=K).all(torch.randn(B, N, H))
    assert (z.diff(dim=-1) >= 0).all()


def test_a_learned_level_mixes_cvars_and_has_a_gradient() -> None:
    head = HEADS["cvar_qr"](H, A, n_quantiles=K).double()
    hidden = torch.randn(B, N, H, dtype=torch.float64)
    z = head.all(hidden)
    p = head.level_probabilities(hidden, z)
    levels = torch.stack([cvar(z, (k + 1) / 10) for k in range(10)], dim=-1)
    value = head.mean(hidden)
    torch.testing.assert_close(value, (levels * p.unsqueeze(-2)).sum(dim=-1))
    value.square().sum().backward()
    assert all((p.grad != 0).any() for p in head.parameters())


def test_acting_mean_averages_over_the_midpoints() -> None:
    head = ImplicitQuantileHead(H, A)
    hidden = torch.randn(B, N, H)
    expected = head.mean(hidden, midpoints(32).expand(B, 1, 32))
    torch.testing.assert_close(head.acting_mean(hidden), expected)


def test_gradients_of_the_shortcuts_are_those_of_the_full_tensor() -> None:
    head = ImplicitQuantileHead(H, A).double()
    hidden = torch.randn(B, T, N, H, dtype=torch.float64, requires_grad=True)
    tau = torch.rand(B, T, 1, K, dtype=torch.float64)
    actions = torch.randint(0, A, (B, T, N))
    index = actions[..., None, None].expand(B, T, N, 1, K)
    wanted = [hidden, *head.parameters()]
    full = head.all(hidden, tau).gather(3, index).square().sum()
    short = head.at(hidden, actions, tau).square().sum()
    for ours, theirs in zip(
        torch.autograd.grad(short, wanted), torch.autograd.grad(full, wanted), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_first_cosine_feature_is_constant() -> None:
    head = ImplicitQuantileHead(H, A, n_cosines=3)
    tau = torch.tensor([[0.5]])
    with torch.no_grad():
        head.phi.weight.fill_(0.0)
        head.phi.weight[:, 2] = -1.0  # cos(2 pi / 2) = -1
        head.phi.bias.zero_()
    torch.testing.assert_close(head.embed(tau), torch.full((1, 1, H), -math.cos(math.pi)))
