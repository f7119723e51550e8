"""SMAX's compiled steps against XLA's, which another test compares with JaxMARL's."""

import pickle

import numpy as np
import pytest

from rllib_dbf.compiled import library
from rllib_dbf.envs import make_env
from rllib_dbf.envs.smax_battles import CompiledBattles, JaxBattles
from tests.envs.smax_policies import attack
from tests.pytorch_alone import pytorch_alone

# There is none on the PATH of some small images; XLA then does the work, as other tests show.
pytestmark = pytest.mark.skipif(
    library.library().functions is None, reason=f"nothing to test: {library.library().reason}"
)

CASES = [
    ("3m", 33, {}),
    ("2s3z", 1, {"attack_mode": "random", "walls_cause_death": False}),
    ("8m_vs_9m", 17, {"see_enemy_actions": False}),
    ("27m_vs_30m", 3, {}),
    ("smacv2_5_units", 33, {"attack_mode": "random"}),
]
FLOATS = {"x", "y", "health", "cooldown", "goal_x", "goal_y", "obs", "state", "reward"}


def both(map_name, num_envs, **options):
    """The same task twice, stepped by C code and by XLA."""
    compiled = make_env(f"smax/{map_name}", num_envs, **options)
    with pytorch_alone():
        traced = make_env(f"smax/{map_name}", num_envs, **options)
    assert isinstance(compiled._battles, CompiledBattles)
    assert isinstance(traced._battles, JaxBattles)
    return compiled, traced


def test_where_jax_was_sent_to_a_gpu_it_steps(monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert isinstance(make_env("smax/3m", 1)._battles, JaxBattles)


def restart(envs, mask, seeds):
    return [env.reset(np.asarray(mask), np.asarray(seeds)) for env in envs]


def random_actions(rng, avail):
    """Legal ones, shots three times as likely as moves."""
    chance = rng.random(avail.shape) * avail
    chance[..., 5:] *= 3
    return chance.argmax(-1)


def numbers(env, shown):
    """All that a battle is and shows, batch first, by name."""
    from rllib_dbf.envs.smax_kernels import unpack

    packed = env._battles.packed()  # [K, W, BLOCK]
    columns = np.moveaxis(packed, 1, 0).reshape(packed.shape[1], -1)[:, : env.num_envs]
    battles = unpack(env._task.shapes, np.ascontiguousarray(columns))._asdict()
    found = {name: field.T for name, field in battles.items()}
    return found | shown._replace(outcome=np.array(shown.outcome))._asdict()


def apart(actual, expected):
    """In which battles a decision fell otherwise; elsewhere numbers must be close."""
    differs = np.zeros(len(expected["reward"]), np.bool_)
    for name in expected.keys() - FLOATS:
        assert actual[name].dtype == expected[name].dtype
        differs |= (actual[name] != expected[name]).reshape(len(differs), -1).any(axis=1)
    for name in FLOATS:
        assert actual[name].dtype == np.float32
        pair = actual[name][~differs], expected[name][~differs]
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-4, err_msg=name)
    return differs


@pytest.mark.parametrize(("map_name", "num_envs", "options"), CASES)
def test_steps_are_those_of_xla(map_name, num_envs, options):
    envs = compiled, traced = both(map_name, num_envs, **options)
    rng, rows = np.random.default_rng(0), np.arange(num_envs)
    shown = restart(envs, np.ones(num_envs, np.bool_), rows)
    ended, decided, battle_steps = np.zeros(num_envs, np.bool_), 0, 0
    while not ended.all():
        actions = random_actions(rng, shown[0].avail & shown[1].avail)
        over = shown[1].terminated | shown[1].truncated
        actions[over] = np.array([10**6, -7])[rows[over] % 2, None]  # nobody looks at them
        compiled._battles.restore(traced._battles.packed())
        compiled._outcome[:] = traced._outcome
        shown = [env.step(actions) for env in envs]
        decided += apart(*map(numbers, envs, shown)).sum()
        battle_steps += num_envs
        over = shown[1].terminated | shown[1].truncated
        ended |= over
        again = over & (rows % 2 == 0)  # the others stay as they are
        if again.any():
            shown = restart(envs, again, rows + 100 + battle_steps)
    assert decided <= 2  # by the last bit of a distance, of thousands


@pytest.mark.parametrize("first", ["compiled", "traced"])
def test_a_state_of_one_continues_in_the_other(first):
    envs = both("3m", 33)
    before, after = envs if first == "compiled" else envs[::-1]
    shown = before.reset(np.ones(33, np.bool_), np.arange(33))
    for _ in range(6):
        shown = before.step(attack(shown))
    shown = before.reset(np.arange(33) % 5 == 0, np.arange(33) + 50)  # not yet installed
    after.set_state(pickle.loads(pickle.dumps(before.get_state())))
    for _ in range(4):
        actions = attack(shown)
        shown, other = before.step(actions), after.step(actions)
        assert not apart(numbers(after, other), numbers(before, shown)).any()
    assert (after.draw() == before.draw()).all()


def test_columns_beyond_the_batch_are_left_alone():
    env = make_env("smax/3m", 17)
    env.reset(np.ones(17, np.bool_), np.arange(17))
    env.step(np.full((17, 3), 4))
    packed = env._battles.packed()
    assert (packed[:, :, :17] != 0).any(axis=1).all() and not packed[:, :, 17:].any()


def test_a_state_of_another_shape_is_refused():
    env = make_env("smax/3m", 2)
    env.reset(np.ones(2, np.bool_), np.arange(2))
    state = env.get_state()
    with pytest.raises(ValueError, match="shape"):
        env.set_state(state | {"packed": state["packed"][:, :-1]})


def test_steps_shown_earlier_stay_as_they_were():
    env = make_env("smax/3m", 4)
    shown = env.reset(np.ones(4, np.bool_), np.arange(4))
    kept = []
    for mask in (np.arange(4) == 1, np.ones(4, np.bool_)):
        shown = env.step(attack(shown))
        kept.append((shown, pickle.loads(pickle.dumps(shown))))
        shown = env.reset(mask, np.arange(4) + 9)
        kept.append((shown, pickle.loads(pickle.dumps(shown))))
    env.step(attack(shown))
    for now, then in kept:
        for part, copy in zip(now, then, strict=True):
            np.testing.assert_array_equal(part, copy)
