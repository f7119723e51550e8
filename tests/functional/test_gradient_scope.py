import pytest
import torch

from rllib_dbf.functional.gradient_scope import (
    SCOPES,
    Averages,
    Combining,
    RunningGradients,
    merge,
)
from rllib_dbf.functional.gradients import pcgrad

# Two layers (a weight and a bias; another weight), and one parameter of the mixer.
G_Q = [torch.tensor([[2.0, 0.0]]), torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([4.0])]
G_B = [torch.tensor([[-1.0, 1.0]]), torch.tensor([0.0]), torch.tensor([1.0])]
LAYERS = ["gru", "gru", "head"]


def how(method="pcgrad", scope="shared", agreeing=(0.5, 0.5), **changes):
    return Combining(method, scope, 0.5, 0.5, agreeing, 1e9)._replace(**changes)


def flat(tensors):
    return torch.cat([x.flatten() for x in tensors])


def test_shared_projects_over_the_utility_and_halves_the_mixer():
    # Over the shared parameters the dot product is -2 + 3 = 1: no conflict.
    merged = merge(G_Q, G_B, LAYERS, how())
    torch.testing.assert_close(flat(merged.gradients), torch.tensor([0.5, 0.5, 0.5, 2.0, 2.0]))
    assert merged.conflict == 0.0


def test_per_layer_finds_the_conflict_of_one_layer():
    merged = merge(G_Q, G_B, LAYERS, how(scope="per_layer"))
    one = pcgrad(torch.tensor([2.0, 0.0, 1.0]), torch.tensor([-1.0, 1.0, 0.0])).gradient
    torch.testing.assert_close(flat(merged.gradients[:2]), one)
    torch.testing.assert_close(flat(merged.gradients[2:]), torch.tensor([2.0, 2.0]))
    assert merged.conflict == 0.5
    assert [g.shape for g in merged.gradients] == [g.shape for g in G_Q]


def test_all_lets_the_mixer_into_the_norm():
    against = [-g for g in G_Q[:3]]
    merged = merge(G_Q, against, LAYERS, how(scope="all"))
    whole = pcgrad(flat(G_Q), flat([*against, torch.zeros(1)])).gradient
    torch.testing.assert_close(flat(merged.gradients), whole)
    # g_B gains a part along g_Q on the mixer's entries: it is no longer half of it.
    assert not torch.allclose(merged.gradients[3], 0.5 * G_Q[3])


def test_weights_of_conflict_and_agreement():
    agree = merge(G_Q, G_B, LAYERS, how("sum", agreeing=(1.0, 0.0)))
    torch.testing.assert_close(flat(agree.gradients), flat(G_Q))
    against = [-g for g in G_Q[:3]]
    conflict = merge(G_Q, against, LAYERS, how("sum", agreeing=(1.0, 0.0), beta_q=0.25))
    torch.testing.assert_close(flat(conflict.gradients[:3]), -0.25 * flat(G_Q[:3]))
    torch.testing.assert_close(conflict.gradients[3], 0.25 * G_Q[3])
    for method in ("pcgrad", "pcgrad_one_way"):
        merged = merge(G_Q, G_B, LAYERS, how(method, agreeing=(1.0, 0.0)))
        torch.testing.assert_close(flat(merged.gradients), flat(G_Q))


def test_without_a_barrier_gradient_every_scope_takes_the_step_of_the_return():
    none = [torch.zeros_like(g) for g in G_B]
    for scope in SCOPES:
        merged = merge(G_Q, none, LAYERS, how(scope=scope, agreeing=(1.0, 1.0)))
        torch.testing.assert_close(flat(merged.gradients), flat(G_Q))


def test_annealing_takes_the_weight_from_the_barrier_alone():
    half = how("sum", agreeing=(1.0, 0.8)).annealed(0.5)
    assert (half.beta_q, half.beta_b, half.agreeing) == (0.5, 0.25, (1.0, 0.4))


def test_running_means_are_corrected_for_their_start_and_saved():
    running = RunningGradients(0.9)
    first = running.follow(G_Q, G_B)
    torch.testing.assert_close(flat(first.g_q), flat(G_Q))
    torch.testing.assert_close(flat(first.g_b), flat(G_B))
    again = RunningGradients(0.9)
    again.set_state(running.get_state())
    doubled = [2.0 * g for g in G_Q]
    for means in (running.follow(doubled, G_B), again.follow(doubled, G_B)):
        # (.09 g + .1 · 2 g) / .19
        torch.testing.assert_close(flat(means.g_q), 0.29 / 0.19 * flat(G_Q))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_running_means_go_on_without_what_is_not_finite(bad):
    running, spared = RunningGradients(0.9), RunningGradients(0.9)
    for each in (running, spared):
        each.follow(G_Q, G_B)
    spoilt = [g.clone() for g in G_B]
    spoilt[0].view(-1)[0] = bad
    assert not flat(running.follow(G_Q, spoilt).g_b).isfinite().all()
    again = [each.follow(G_Q, [2.0 * g for g in G_B]) for each in (running, spared)]
    torch.testing.assert_close(flat(again[0].g_b), flat(again[1].g_b))


def test_with_averages_of_themselves_every_scope_does_what_it_does_without():
    against = [-g for g in G_B]
    for scope in SCOPES:
        plain = merge(G_Q, against, LAYERS, how(scope=scope))
        same = merge(G_Q, against, LAYERS, how(scope=scope), Averages(G_Q, against))
        torch.testing.assert_close(flat(plain.gradients), flat(same.gradients))


def test_a_conflict_of_the_averages_is_projected_out_whatever_the_gradient_says():
    # Now they agree, on the average they do not: g_Q loses its part along the average of g_B.
    means = Averages([torch.tensor([0.0, -1.0])], [torch.tensor([0.0, 2.0])])
    merged = merge([torch.tensor([3.0, 5.0])], [torch.tensor([1.0, 4.0])], ["l"], how(), means)
    assert merged.conflict == 1.0
    torch.testing.assert_close(merged.gradients[0], torch.tensor([2.0, 0.0]))
