"""Evaluating checkpoints, good and bad, without the Algorithm that wrote them."""

import copy
import pickle
import shutil

import numpy as np
import pyarrow.fs
import pytest
import torch

from rllib_dbf.checkpoint import CheckpointError, load_team
from rllib_dbf.evaluation import evaluate_checkpoint, render_checkpoint
from tests.rllib.small import small, weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    algo = small("dbf").build_algo()
    algo.train()
    path = algo.save_to_path(str(tmp_path_factory.mktemp("run") / "checkpoint_000000"))
    weight = algo.env_runner.module.utility.head.out.weight.detach().numpy().copy()
    algo.stop()
    return path, weight


def test_the_loaded_team_is_the_one_that_was_trained(checkpoint):
    path, weight = checkpoint
    team = load_team(path)
    assert np.array_equal(team.module.utility.head.out.weight.detach().numpy(), weight)
    assert (team.preset, team.env) == ("dbf", "toy/pit_corridor")


def test_evaluation_plays_exactly_the_episodes_asked_for_and_repeats_itself(checkpoint):
    rows = evaluate_checkpoint(checkpoint[0], episodes=37, seed=5)
    assert len(rows) == len({r["seed"] for r in rows}) == 37
    assert rows == evaluate_checkpoint(checkpoint[0], episodes=37, seed=5)
    assert rows != evaluate_checkpoint(checkpoint[0], episodes=37, seed=6)
    assert all(r["illegal_actions"] == 0 for r in rows)
    assert all(r["won"] == (r["outcome"] == "win") for r in rows)


def broken(source: str, target, what: str):
    shutil.copytree(source, target)
    if what == "empty module":
        module = target / "learner_group" / "learner" / "rl_module" / "default_policy"
        (module / "module_state.pkl").write_bytes(b"")
    elif what == "truncated arguments":
        file = target / "class_and_ctor_args.pkl"
        file.write_bytes(file.read_bytes()[:50])
    elif what == "another algorithm":
        with (target / "class_and_ctor_args.pkl").open("wb") as file:
            pickle.dump({"class": dict, "ctor_args_and_kwargs": (({"lr": 1},), {})}, file)
    elif what == "no checkpoint":
        (target / "class_and_ctor_args.pkl").unlink()
    return target


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("empty module", "is damaged: its module cannot be read"),
        ("truncated arguments", "is damaged: class_and_ctor_args.pkl cannot be read"),
        ("another algorithm", "not by a team algorithm"),
        ("no checkpoint", "holds no checkpoint"),
    ],
)
def test_unusable_checkpoints_are_refused_in_words(checkpoint, tmp_path, what, message):
    with pytest.raises(CheckpointError, match=message):
        evaluate_checkpoint(broken(checkpoint[0], tmp_path / "copy", what), episodes=1)


def test_a_missing_path_and_an_impossible_count_are_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_team(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="episodes=0 must be at least 1"):
        evaluate_checkpoint(checkpoint[0], episodes=0)


def test_an_environment_without_pictures_says_so(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="cannot draw itself"):
        render_checkpoint(checkpoint[0], out=tmp_path / "x.gif")
    assert not (tmp_path / "x.gif").exists()


def test_a_smax_episode_becomes_an_animation(tmp_path):
    from PIL import Image

    algo = small("qmix", env="smax/3m").build_algo()
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    algo.stop()
    out = render_checkpoint(path, seed=1, out=tmp_path / "deep" / "battle.gif")
    (row,) = evaluate_checkpoint(path, episodes=1, seed=1)
    with Image.open(out) as picture:
        # Identical neighbouring frames are merged by the writer, so at most one per state.
        assert 2 <= picture.n_frames <= row["length"] + 1


@pytest.mark.parametrize("way", ["uri", "filesystem"])
def test_the_replay_goes_where_the_checkpoint_goes(way, tmp_path, caplog):
    base = tmp_path / "bucket"
    base.mkdir()
    algo = small("qmix").build_algo()
    algo.train()
    if way == "uri":
        path, given = f"file://{base}/checkpoint", {}
    else:
        inside = pyarrow.fs.SubTreeFileSystem(str(base), pyarrow.fs.LocalFileSystem())
        path, given = "checkpoint", {"filesystem": inside}
    algo.save_to_path(path, **given)
    other = small("qmix").build_algo()
    other.restore_from_path(path, **given)
    assert len(other.replay) == len(algo.replay) > 0
    assert (base / "checkpoint" / "replay.npz").is_file() and "no replay" not in caplog.text
    (base / "checkpoint" / "replay.npz").unlink()
    other.restore_from_path(path, **given)
    assert "checkpoint has no replay: updates begin when enough is stored" in caplog.text
    for each in (algo, other):
        each.stop()


def acting_weights(runner) -> dict:
    return {name: x.numpy().copy() for name, x in runner.module.utility.state_dict().items()}


def assert_plays_by(found: dict, learnt: dict) -> None:
    for name, x in found.items():
        np.testing.assert_array_equal(x, learnt[f"utility.{name}"], err_msg=name)


@pytest.mark.parametrize("runners", [0, 1])
@pytest.mark.parametrize("by", ["path", "state"])
def test_going_back_restores_the_weights_of_all(by, runners, tmp_path):
    """As population-based training does within one process."""
    algo = small("qmix").env_runners(num_env_runners=runners).build_algo()
    algo.train()
    before = weights(algo)
    state = algo.save_to_path(tmp_path) if by == "path" else algo.get_state()
    for _ in range(2):
        algo.train()
    assert any((x != before[name]).any() for name, x in weights(algo).items())
    algo.restore_from_path(state) if by == "path" else algo.set_state(state)
    for name, x in weights(algo).items():
        np.testing.assert_array_equal(x, before[name], err_msg=name)
    algo.evaluate()
    assert_plays_by(acting_weights(algo.eval_env_runner), before)
    algo.train()
    group = algo.env_runner_group
    for found in group.foreach_env_runner(acting_weights, local_env_runner=runners == 0):
        assert_plays_by(found, weights(algo))
    algo.stop()


def test_a_state_is_not_written_into_by_those_who_took_it():
    algo = small("qmix").build_algo()
    algo.train()
    state = algo.get_state()
    kept = copy.deepcopy(state["learner_group"])
    others = [small("qmix").build_algo() for _ in range(2)]
    for other in others:
        other.set_state(state)
        other.train()
    check_same(state["learner_group"], kept)
    for each in (algo, *others):
        each.stop()


def test_a_state_from_before_episodes_were_counted_in_it_is_taken():
    algo = small("qmix").build_algo()
    algo.train()
    state, episodes = algo.get_state(), algo.replay.episodes_added
    del state["team"]["episodes_added"]
    other = small("qmix").build_algo()
    other.set_state(state)
    assert 0 <= episodes - other.replay.episodes_added < 8
    updates = other._updates_made
    other.train()
    assert other._updates_made > updates
    for each in (algo, other):
        each.stop()


def check_same(found, expected, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, x in expected.items():
            check_same(found[name], x, f"{where}/{name}")
    elif isinstance(expected, np.ndarray | torch.Tensor):
        np.testing.assert_array_equal(found, expected, err_msg=where)


def test_evaluation_that_explores_does_so_as_training_does():
    config = small("qmix", epsilon=[(0, 1.0), (100, 0.0)])
    config.evaluation(evaluation_config={"explore": True})
    algo = config.build_algo()
    for _ in range(2):
        algo.train()
    runner = algo.eval_env_runner
    assert runner._epsilon_of_now()(0.0) == 0.0
    probabilities = [e.behaviour_prob for e in runner.sample(num_episodes=6)]
    assert all((prob == 1.0).all() for prob in probabilities), "an agent explored"
    algo.stop()


def test_the_documented_way_to_act_plays_what_evaluation_plays(checkpoint, root):
    text = (root / "docs" / "environments.md").read_text(encoding="utf-8")
    code = text.split("## Acting with a trained team")[1].split("```python\n")[1].split("```")[0]
    row = evaluate_checkpoint(checkpoint[0], episodes=1, seed=5)[0]
    scope = {"checkpoint": checkpoint[0], "seed": row["seed"], "rewards": []}
    step = "step = env.step(last.numpy())"
    code = code.replace("[7]", "[seed]").replace(step, f"{step}; rewards.append(step.reward[0])")
    exec(code, scope)
    assert len(scope["rewards"]) == row["length"]
    assert sum(scope["rewards"]) == pytest.approx(row["return"])


def test_who_asks_for_weights_gets_nothing_else_of_the_learner():
    algo = small("dbf", gradient_combination="pcgrad", conflict_decay=0.9).build_algo()
    algo.train()
    learner = algo.learner_group._learner
    assert "running_gradients" in learner.get_state()["team_learner"]
    assert "team_learner" not in learner.get_state(components="rl_module")
    assert "team_learner" not in learner.get_state(not_components="team_learner")
    algo.stop()
