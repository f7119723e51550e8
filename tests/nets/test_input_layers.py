import pytest
import torch
import torch.nn.functional as F

from rllib_dbf.nets.input_layers import INPUT_LAYERS, AgentInputs

B, T, N, A, OBS, H, M = 2, 3, 5, 7, 11, 13, 17
INPUT = OBS + A + N


def _layer(name: str, in_dim: int = INPUT, hidden: int = H, quantiles: int = M) -> torch.nn.Module:
    return INPUT_LAYERS[name](in_dim, hidden, quantiles, hypernet_dim=19, n_bases=4)


def test_inputs_are_observation_last_action_and_agent() -> None:
    inputs = AgentInputs(2, 3, use_last_action=True, use_agent_id=True)
    obs = torch.tensor([[[5.0], [6.0]]])
    assert inputs(obs, torch.tensor([[-1, 2]])).tolist() == [
        [[5, 0, 0, 0, 1, 0], [6, 0, 0, 1, 0, 1]]
    ]
    assert inputs.extra_dim == 5
    bare = AgentInputs(2, 3, use_last_action=False, use_agent_id=False)
    assert torch.equal(bare(obs, torch.tensor([[-1, 2]])), obs)


@pytest.mark.parametrize("name", list(INPUT_LAYERS))
def test_shapes_and_gradients(name: str) -> None:
    layer = _layer(name)
    x, z = torch.randn(B, T, N, INPUT), torch.randn(B, T, N, M)
    y = layer.finish(layer.prepare(x), z)
    assert y.shape == (B, T, N, H)
    y.square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


@pytest.mark.parametrize("name", ["hypernet", "hypernet_factored"])
def test_generated_weights_are_never_negative(name: str) -> None:
    layer = _layer(name)
    with torch.no_grad():
        layer.bias.zero_()
        x, z = torch.rand(B, T, N, INPUT), 5.0 * torch.randn(B, T, N, M)
        assert (layer.finish(layer.prepare(x), z) >= 0).all()


def test_hypernet_by_the_formula_in_whole_and_in_chunks() -> None:
    layer = _layer("hypernet").double()
    x = torch.randn(29, INPUT, dtype=torch.float64, requires_grad=True)
    z = torch.randn(29, M, dtype=torch.float64)
    weights = F.relu(layer.generator(z.asinh())).view(29, INPUT, H)
    expected = torch.einsum("ri,rih->rh", x, weights) + layer.bias
    wanted = [x, *layer.parameters()]
    reference = torch.autograd.grad(expected.square().sum(), wanted)
    for rows in (4, 29, 256):
        layer.chunk_rows = rows
        y = layer.finish(layer.prepare(x), z)
        torch.testing.assert_close(y, expected)
        for ours, theirs in zip(
            torch.autograd.grad(y.square().sum(), wanted), reference, strict=True
        ):
            torch.testing.assert_close(ours, theirs)


def test_factored_hypernet_by_the_formula() -> None:
    layer = _layer("hypernet_factored").double()
    x, z = torch.randn(29, INPUT, dtype=torch.float64), torch.randn(29, M, dtype=torch.float64)
    bases = F.relu(layer.bases).view(4, H, INPUT)
    weights = torch.einsum("rc,chi->rhi", F.relu(layer.coefficients(z.asinh())), bases)
    expected = torch.einsum("ri,rhi->rh", x, weights) + layer.bias
    torch.testing.assert_close(layer.finish(layer.prepare(x), z), expected)


def test_second_layer_hypernet_by_the_formula() -> None:
    layer = _layer("hypernet_second").double()
    x, z = torch.randn(29, INPUT, dtype=torch.float64), torch.randn(29, M, dtype=torch.float64)
    weights = layer.generator(z.asinh()).view(29, H, H)
    expected = torch.einsum("ri,rih->rh", F.relu(layer.first(x)), weights) + layer.bias
    torch.testing.assert_close(layer.finish(layer.prepare(x), z), expected)


@pytest.mark.parametrize("name", ["hypernet", "hypernet_factored", "hypernet_second"])
def test_returns_of_tens_do_not_blow_the_layer_up(name: str) -> None:
    layer = _layer(name)
    x, z = torch.randn(257, INPUT), torch.randn(257, M) + 2.0
    with torch.no_grad():
        small, large = (layer.finish(layer.prepare(x), z * scale).std() for scale in (1.0, 10.0))
    assert large < 3.0 * small


@pytest.mark.parametrize("name", ["hypernet", "hypernet_factored"])
def test_initial_pre_activations_vary_like_those_of_a_linear_layer(name: str) -> None:
    torch.manual_seed(0)
    x, z = torch.randn(257, 64), torch.randn(257, 32)

    def spread(name: str) -> float:
        squares = []
        for _ in range(12):
            layer = INPUT_LAYERS[name](64, 64, 32, hypernet_dim=32, n_bases=4)
            with torch.no_grad():
                squares.append(layer.finish(layer.prepare(x), z).square().mean())
        return torch.stack(squares).mean().sqrt().item()

    assert spread(name) == pytest.approx(spread("linear"), rel=0.15)
