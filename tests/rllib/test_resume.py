"""Training, saving and going on in another process is the same as never having stopped."""

import json
import subprocess
import sys

import pytest

from tests.rllib.small import small, weights

SCRIPT = """
import json, sys, hashlib, os
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray
quiet = {"log_to_driver": False, "logging_level": "ERROR"}
ray.init(address="local", num_cpus=2, include_dashboard=False, **quiet)
import rllib_dbf.registration; rllib_dbf.registration.register()
from ray.rllib.algorithms.algorithm import Algorithm
from tests.rllib.test_resume import figures, digest
algo = Algorithm.from_checkpoint(sys.argv[1])
rows = [figures(algo.train()) for _ in range(5)]
print("RESULT" + json.dumps([rows, digest(algo)]))
"""


def figures(results: dict) -> list:
    """Numbers that would differ if anything at all were not restored."""
    runner, learner = results["env_runners"], results["learners"]["default_policy"]
    evaluation = results.get("evaluation", {}).get("env_runners", {})
    numbers = [
        results["training_iteration"],
        runner["num_env_steps_sampled_lifetime"],
        runner["num_episodes_lifetime"],
        runner["episode_return_mean"],
        runner["epsilon"],
        learner["td_loss"],
        learner["num_updates_lifetime"],
        evaluation.get("episode_return_mean"),
    ]
    return [None if x is None else float(x) for x in numbers]


def digest(algo) -> str:
    """Fingerprint of every weight."""
    import hashlib

    total = hashlib.sha256()
    for name, array in sorted(weights(algo).items()):
        total.update(name.encode() + array.tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(
    ("preset", "env", "runners"),
    [("dbf", "smax/3m", 0), ("qmix", "toy/pit_corridor", 0), ("qbf", "toy/pit_corridor", 1)],
)
def test_ten_iterations_equal_five_a_checkpoint_and_five_more_in_a_new_process(
    preset, env, runners, tmp_path
):
    """Also where sampling overlaps learning in another process."""
    config = small(preset, env).env_runners(num_env_runners=runners)
    straight = config.copy().build_algo()
    expected = [figures(straight.train()) for _ in range(10)]
    final = digest(straight)
    straight.stop()

    first_half = config.copy().build_algo()
    assert [figures(first_half.train()) for _ in range(5)] == expected[:5]
    first_half.save_to_path(str(tmp_path / "checkpoint"))
    first_half.stop()

    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "checkpoint")],
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))
    rows, resumed = json.loads(line.removeprefix("RESULT"))
    assert rows == expected[5:]
    assert resumed == final


def test_without_the_replay_a_checkpoint_goes_on_when_there_is_enough_to_learn_from(tmp_path):
    """What could not be learnt meanwhile is not made up for at once."""
    algo = small("qmix", checkpoint_replay=False, learning_starts=80).build_algo()
    while algo._updates_made < 5:
        algo.train()
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    episodes = algo.replay.episodes_added
    algo.stop()
    assert not (tmp_path / "checkpoint" / "replay.npz").exists()
    from ray.rllib.algorithms.algorithm import Algorithm

    restored = Algorithm.from_checkpoint(path)
    assert len(restored.replay) == 0 and restored.replay.episodes_added == episodes
    stored, update = [], restored.learner_group.update

    def counted(**kwargs):
        stored.append(len(restored.replay))
        return update(**kwargs)

    restored.learner_group.update = counted
    while len(stored) < 6:
        restored.train()
    assert stored[0] >= 80 and len(set(stored)) == len(stored), "an update a collection"
    assert restored.learner_group._learner._episodes_at_target_update > episodes
    restored.stop()
