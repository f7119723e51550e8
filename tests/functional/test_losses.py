import pytest
import torch

from rllib_dbf.functional.losses import (
    masked_mean,
    quantile_huber,
    quantile_huber_elements,
    squared_td,
)

B, T, N, K, K2 = 2, 3, 5, 11, 13
MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_masked_mean_divides_by_the_expanded_mask() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 50.0, 60.0]])
    assert masked_mean(x, MASK).item() == pytest.approx(10.0 / 4)
    # Two groups, x and 3x: (10 + 30) / (4 * 2)
    assert masked_mean(torch.stack([x, 3 * x], dim=-1), MASK).item() == pytest.approx(5.0)


def test_masked_mean_survives_infinite_padding_and_an_empty_mask() -> None:
    x = torch.tensor([[1.0, torch.inf]])
    assert masked_mean(x, torch.tensor([[True, False]])).item() == 1.0
    assert masked_mean(x, torch.tensor([[False, False]])).item() == 0.0


def test_squared_td() -> None:
    z = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])[..., None, None].requires_grad_()
    target = torch.tensor([[2.0, 2.0, 5.0], [1.0, 0.0, 0.0]])[..., None, None]
    loss = squared_td(z, target, MASK)
    # Errors 1, 0, 2, -3: (1 + 0 + 4 + 9) / 4
    assert loss.item() == pytest.approx(3.5)
    loss.backward()
    # d/dz = -2 error / 4, nothing from padding
    assert z.grad.flatten().tolist() == pytest.approx([-0.5, 0.0, -1.0, 1.5, 0.0, 0.0])


def test_squared_td_detaches_the_target() -> None:
    target = torch.zeros(B, T, 1, 1, requires_grad=True)
    z = torch.ones(B, T, 1, 1, requires_grad=True)
    squared_td(z, target, MASK).backward()
    assert target.grad is None


def test_quantile_huber_by_hand() -> None:
    z = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    target = torch.tensor([0.5, 3.0, -2.0]).view(1, 1, 1, 3)
    tau = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2)
    # i=0, tau .25: u = .5, 3, -2; huber = .125, 2.5, 1.5; weights .25, .25, .75
    #   mean (.03125 + .625 + 1.125)/3 = 1.78125/3
    # i=1, tau .75: u = -.5, 2, -3; huber = .125, 1.5, 2.5; weights .25, .75, .25
    #   mean (.03125 + 1.125 + .625)/3 = 1.78125/3
    # sum over the predicted quantiles: 3.5625/3 = 1.1875
    element = quantile_huber_elements(z, target, tau)
    assert element.item() == pytest.approx(1.1875)
    # kappa 2: huber(3) = 2(3 - 1) = 4, huber(2) = 2, huber(.5) = .125
    # i=0: (.25*.125 + .25*4 + .75*2)/3;  i=1: (.25*.125 + .75*2 + .25*4)/3
    element = quantile_huber_elements(z, target, tau, kappa=2.0)
    assert element.item() == pytest.approx(2 * 2.53125 / 3)


def test_the_fraction_belongs_to_the_predicted_quantile() -> None:
    # A high fraction must pull its quantile above a low one: the gradient of an underestimate
    # is -tau, of an overestimate 1 - tau.
    z = torch.zeros(1, 1, 1, 3, requires_grad=True)
    tau = torch.tensor([0.1, 0.5, 0.9]).view(1, 1, 1, 3)
    quantile_huber_elements(z, torch.full((1, 1, 1, K2), 5.0), tau).sum().backward()
    assert z.grad.flatten().tolist() == pytest.approx([-0.1, -0.5, -0.9])


@pytest.mark.parametrize("tau_groups", [1, N])
def test_quantile_huber_masks_and_averages_over_groups(tau_groups: int) -> None:
    z, target = torch.randn(B, T, N, K), torch.randn(B, T, N, K2)
    tau = torch.rand(B, T, tau_groups, K)
    loss = quantile_huber(z, target, tau, MASK)
    total = 0.0
    for b, t in MASK.nonzero().tolist():
        for n in range(N):
            for i in range(K):
                fraction = tau[b, t, n if tau_groups > 1 else 0, i]
                u = target[b, t, n] - z[b, t, n, i]
                huber = torch.where(u.abs() < 1, 0.5 * u * u, u.abs() - 0.5)
                total += ((fraction - (u <= 0).float()).abs() * huber).mean().item()
    assert loss.item() == pytest.approx(total / (int(MASK.sum()) * N), rel=1e-5)


def test_quantile_huber_gradient_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    z, target, tau = (
        torch.randn(B, T, 1, k, dtype=torch.float64, generator=generator) for k in (K, K2, K)
    )
    z.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: quantile_huber(x, target, tau.sigmoid(), MASK, 0.7), (z,), eps=1e-7, atol=1e-5
    )


def test_padding_takes_no_part_in_the_loss() -> None:
    z = torch.randn(B, T, 1, K, requires_grad=True)
    target, tau = torch.randn(B, T, 1, K2), torch.rand(B, T, 1, K)
    quantile_huber(z, target, tau, MASK).backward()
    assert (z.grad[~MASK] == 0).all()
    assert (z.grad[MASK] != 0).any(dim=-1).all()


def test_predicted_quantiles_settle_on_the_quantiles_of_the_target() -> None:
    tau = ((torch.arange(5) + 0.5) / 5).view(1, 1, 1, 5)
    target = torch.linspace(0.0, 100.0, 101).view(1, 1, 1, -1)
    z = torch.full((1, 1, 1, 5), 50.0, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    optimiser = torch.optim.SGD([z], lr=20.0)
    for _ in range(400):
        optimiser.zero_grad()
        quantile_huber(z, target, tau, mask).backward()
        optimiser.step()
    assert z.detach().flatten().tolist() == pytest.approx([10.0, 30.0, 50.0, 70.0, 90.0], abs=1.0)


@pytest.mark.parametrize("loss", ["squared", "quantile_huber"])
def test_without_a_mask_all_was_played(loss):
    torch.manual_seed(0)
    z, y = torch.randn(2, 5, 1, 1, requires_grad=True), torch.randn(2, 5, 1, 1)
    more = (torch.full((2, 5, 1, 1), 0.25),) if loss == "quantile_huber" else ()
    function = {"squared": squared_td, "quantile_huber": quantile_huber}[loss]
    found = [function(z, y, *more, m) for m in (None, torch.ones(2, 5, dtype=torch.bool))]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in found))
