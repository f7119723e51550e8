import pytest
import torch

from rllib_dbf.functional.cbf import cbf_loss, danger_labels, safe_actions

# Two agents over four transitions; the second arrives dead in s_3. The second episode has two
# transitions, and its first agent dies on the last of them.
ALIVE = torch.tensor(
    [[[1, 1], [1, 1], [1, 1], [1, 0], [1, 0]], [[1, 1], [1, 1], [0, 1], [0, 0], [0, 0]]]
).bool()
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
DIED = torch.zeros(2, 5, 2, dtype=torch.bool)
DIED[0, 3, 1] = DIED[1, 2, 0] = True
ONE = torch.ones(1, 1, dtype=torch.bool)


def test_danger_reaches_horizon_steps_before_a_death():
    one = danger_labels(DIED, 1)
    assert one[0, :, 0].tolist() == [False] * 5
    assert one[0, :, 1].tolist() == [False, False, True, True, True]
    assert one[1, :3, 0].tolist() == [False, True, True]
    assert one[1, :3, 1].tolist() == [False] * 3, "what follows the end kills nobody"
    assert danger_labels(DIED, 2)[0, :, 1].tolist() == [False, True, True, True, True]
    assert danger_labels(DIED, 9)[0, :, 1].all()


def test_loss_by_hand():
    # One agent, one transition that kills it: both states are dangerous (K = 1).
    alive = torch.tensor([[[True], [False]]])
    h = torch.tensor([[[0.5], [-0.5]]], requires_grad=True)
    d = torch.tensor([[[0.25]]], requires_grad=True)
    best = torch.tensor([[[-0.15]]], requires_grad=True)
    loss = cbf_loss(h, d, best, alive, ~alive, ONE, 0.1, 1)
    # 2 mean(1.5, .5) + 2 (.9 * .5 + .15) + (.25 + .5)²
    assert loss.item() == pytest.approx(2.0 + 1.2 + 0.5625)
    loss.backward()
    assert d.grad.item() == pytest.approx(1.5)
    # What is predicted and what is best do not move: -.5 is in the first mean only.
    assert h.grad[0, :, 0].tolist() == pytest.approx([1.0 + 1.8, 1.0])
    assert best.grad is None


def test_safe_and_dangerous_states_share_one_mean():
    alive = torch.tensor([[[True, True], [True, False]]])
    h = torch.tensor([[[0.5, 0.5], [0.5, -0.5]]])
    d = h[:, 1:]
    loss = cbf_loss(h, d, torch.ones(1, 1, 2), alive, ~alive, ONE, 0.1, 1)
    # Safe: .5 twice. Dangerous, twice the weight: 1.5 before and .5 on arrival.
    assert loss.item() == pytest.approx((0.5 + 0.5 + 3.0 + 1.0) / 4)


def test_who_leaves_at_a_goal_is_safe():
    # The first agent leaves in s_1 and the second stays; what the first sees there is nothing.
    alive = torch.tensor([[[True, True], [False, True]]])
    h = torch.tensor([[[0.5, 0.5], [9.0, 0.25]]], requires_grad=True)
    d = torch.tensor([[[0.25, 0.5]]])
    loss = cbf_loss(h, d, torch.ones(1, 1, 2), alive, torch.zeros_like(alive), ONE, 0.1, 1)
    # Safe: .5 twice, .75. Predicted: 1 for the one, .25 for the other.
    assert loss.item() == pytest.approx((0.5 + 0.5 + 0.75) / 3 + (0.75**2 + 0.25**2) / 2)
    loss.backward()
    assert h.grad[0, 1, 0] == 0.0


def test_padding_and_the_dead_do_not_count():
    h, d, best = torch.randn(2, 5, 2), torch.randn(2, 4, 2), torch.randn(2, 4, 2)
    loss = cbf_loss(h, d, best, ALIVE, DIED, MASK, 0.1, 2)
    for x in (h[:, 1:], d, best):
        x[1, 2:], x[0, 3, 1] = 99.0, 99.0  # padding; after the arrival in death
    torch.testing.assert_close(cbf_loss(h, d, best, ALIVE, DIED, MASK, 0.1, 2), loss)


def test_safe_actions():
    h = torch.tensor([1.0, 1.0, -1.0])
    d = torch.tensor([[0.95, 0.8, 1.0], [0.1, 0.3, 0.9], [-2.0, -0.95, -0.5]])
    avail = torch.tensor([[True, True, True], [True, True, False], [True, True, True]])
    # At least .9; none of the available ones, so the greatest; at least -.9.
    expected = [[True, False, True], [False, True, False], [False, False, True]]
    assert safe_actions(h, d, avail, 0.1).tolist() == expected
