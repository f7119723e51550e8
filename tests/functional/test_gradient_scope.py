import torch

from rllib_dbf.functional.gradient_scope import SCOPES, Combining, merge
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
