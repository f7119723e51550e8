"""Every row of the table: what its loss reaches, and what it must not see."""

import pytest
import torch

from rllib_dbf.config import DBFConfig
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.objectives import OBJECTIVES, make_options
from rllib_dbf.presets import PRESETS
from rllib_dbf.registry import UnknownNameError
from rllib_dbf.team import TeamBatch
from tests.objectives.team import Team

B, T, N, A, O, S = 2, 3, 5, 7, 4, 17
SPEC = TeamSpec(N, A, O, S, T, 0, reports_deaths=True, has_win=False)
SMALL = {"hidden_dim": 8, "mixing_embed_dim": 8, "mixing_hypernet_dim": 8}


def batch(seed: int = 0) -> TeamBatch:
    """Two random episodes of three and two transitions; some actions are not available."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    actions = torch.randint(A, (B, T, N), generator=g)
    avail = torch.rand(B, T + 1, N, A, generator=g) < 0.5
    avail[:, :-1].scatter_(-1, actions[..., None], True)
    avail[..., 0] = True
    return TeamBatch(
        obs=torch.randn(B, T + 1, N, O, generator=g),
        state=torch.randn(B, T + 1, S, generator=g),
        avail=avail,
        alive=torch.ones(B, T + 1, N, dtype=torch.bool),
        deaths=torch.zeros(B, T + 1),
        actions=actions,
        behaviour_prob=torch.full((B, T, N), 1.0 / A),
        reward=torch.randn(B, T, generator=g) * mask,
        terminated=torch.tensor([[False, False, False], [False, True, False]]),
        mask=mask,
    )


def team(preset: str, **training) -> Team:
    return Team(preset, SPEC, **SMALL, **training)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_reaches_every_network_and_no_target(preset: str) -> None:
    made = team(preset)
    loss, stats = made.loss(batch())
    gradients = torch.autograd.grad(loss, made.parameters)  # raises if one is out of reach
    assert all(g.isfinite().all() for g in gradients)
    for part in made.module.online:
        mine = {id(p) for p in part.parameters()}
        reached = [g for p, g in zip(made.parameters, gradients, strict=True) if id(p) in mine]
        assert not reached or any((g != 0).any() for g in reached)
    assert not any(p.requires_grad for part in made.module.target for p in part.parameters())
    assert {"q_taken_mean", "target_mean"} <= set(stats)


@pytest.mark.parametrize("preset", PRESETS)
def test_padding_changes_nothing(preset: str) -> None:
    made, data = team(preset), batch()
    taus = made.taus(data)

    def value_and_gradients(given: TeamBatch) -> list[torch.Tensor]:
        loss, _ = made.loss(given, taus)
        return [loss, *torch.autograd.grad(loss, made.parameters)]

    plain = value_and_gradients(data)
    obs, state, reward = data.obs.clone(), data.state.clone(), data.reward.clone()
    obs[1, 3], state[1, 3], reward[1, 2] = 100.0, -100.0, 1e6
    padded = value_and_gradients(data._replace(obs=obs, state=state, reward=reward))
    for before, after in zip(plain, padded, strict=True):
        torch.testing.assert_close(before, after)


def test_unknown_and_mistyped_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'opt_weight'"):
        make_options("qtran_base", {"opt_weigth": 1.0})
    with pytest.raises(UnknownNameError, match="it has none"):
        make_options("td", {"width": 3})
    with pytest.raises(ValueError, match=r"width='wide' must be a int, such as 128"):
        make_options("resq", {"width": "wide"})
    assert make_options("qtran_alt", {"opt_weight": 2}).opt_weight == 2
    with pytest.raises(UnknownNameError, match="Did you mean 'qtran_base'"):
        DBFConfig(preset="vdn").training(objective="qtran_bas").validate()


def test_unknown_choices_of_an_objective_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'cvr' is unknown; .* team, cvar. Did you mean"):
        make_options("rmix", {"local_reward": "cvr"})


def test_the_objective_of_a_row_is_a_setting() -> None:
    config = DBFConfig(preset="qtran_base").training(objective_options={"nopt_weight": 0.5})
    config.validate()
    assert make_options(config.objective, config.objective_options).nopt_weight == 0.5
    assert DBFConfig(preset="qmix").objective == "td"
    assert set(OBJECTIVES) >= {row.objective for row in PRESETS.values()}
