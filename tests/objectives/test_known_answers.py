"""Games and returns whose answers are known, learned from a fixed batch in seconds."""

import itertools

import pytest
import torch

from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.nets.heads import midpoints
from rllib_dbf.objectives.reading import as_episode, read
from rllib_dbf.packing import pack_episodes
from rllib_dbf.team import TeamBatch
from tests.objectives.team import Team, one_step_batch

pytestmark = pytest.mark.learning

# Son et al. (2019), table 1, with the punishments kept: the best joint action pays 8, but each
# agent by itself does worse with its part of it than with anything else.
PAYOFFS = torch.tensor([[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]])


def game() -> TeamBatch:
    """Every joint action once."""
    actions = torch.tensor(list(itertools.product(range(3), repeat=2)))
    return one_step_batch(actions, PAYOFFS[actions[:, 0], actions[:, 1]], 3)


@pytest.mark.parametrize(
    ("preset", "finds"),
    [
        ("vdn", False),
        ("qmix", False),
        ("qplex", True),
        ("qplex_qatten", True),
        ("qtran_base", True),
        ("qtran_alt", True),
        ("resq", True),
    ],
)
def test_only_some_find_the_best_of_a_game_that_is_not_monotone(preset: str, finds: bool) -> None:
    # With a wide hidden state that says nothing, actions hardly move QTRAN's critic at first.
    spec = TeamSpec(2, 3, 1, 1, 1, 0, reports_deaths=False, has_win=False)
    team = Team(preset, spec, **({"hidden_dim": 4} if preset == "qtran_base" else {}))
    # QPLEX's λ has to outgrow advantages that shrink; an Adam that starts afresh helps it along.
    for steps in {"qplex": [150] * 8, "qplex_qatten": [1_200]}.get(preset, [600]):
        team.train(game(), steps, lr=1e-2 if preset == "qtran_base" else 3e-3)
    played = team.greedy(game())[0]
    assert (played == [0, 0]) is finds


SMALL = {"hidden_dim": 16, "mixing_embed_dim": 8, "mixing_hypernet_dim": 8}
MANY = {"n_quantiles": 16, "n_target_quantiles": 16}
QUANTILES_FIRST = {"objective_options": {"quantile_weight": 1.0}}


@torch.no_grad()
def learned_return(team: Team, batch: TeamBatch) -> torch.Tensor:
    """Quantiles of the return at the midpoints, as the row's own networks say."""
    online, one = team.module.online, TeamBatch(*(x[:1] for x in batch))
    packing = pack_episodes(one.mask)
    count = team.config.n_quantiles
    tau = midpoints(count).expand(2, 1, count)
    reading = read(online.utility, one, packing, tau)
    nobody = torch.zeros(2, 1, dtype=torch.int64)
    if team.config.preset == "drima":
        return online.joint(torch.zeros(2, 1), reading.hidden, nobody, tau)[0, 0]
    utilities = as_episode(reading, nobody)
    if team.config.preset == "rmix":
        return utilities.z[0, 0, 0]
    return online.mixer(utilities, torch.ones(1, 2, 1))[0, 0, 0]


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("diql", MANY),
        ("ddn", MANY),
        ("dmix", MANY),
        ("dplex", MANY),
        ("dbf", MANY),
        ("resz", MANY),
        ("drima", MANY),
        ("riskq", {}),
        ("rmix", QUANTILES_FIRST),
    ],
)
def test_the_spread_of_a_known_return_is_learned(preset: str, settings: dict) -> None:
    """Rewards are uniform on [-8, 12]: mean 2, standard deviation 20/√12 = 5.77.

    Fractions on the target's axis would let all quantiles agree, and the spread be 0.
    """
    reward = (torch.arange(256) + 0.5) / 256 * 20.0 - 8.0
    batch = one_step_batch(torch.zeros(256, 1, dtype=torch.int64), reward, 1)
    spec = TeamSpec(1, 1, 1, 1, 1, 0, reports_deaths=False, has_win=False)
    team = Team(preset, spec, **SMALL, **settings)
    team.train(batch, 600, lr=1e-2)
    z = learned_return(team, batch)
    assert z.std(unbiased=False).item() == pytest.approx(20.0 / 12**0.5, rel=0.1)
    assert z.mean().item() == pytest.approx(2.0, abs=0.6)
