"""The benchmark runs and its random players only take legal actions."""

import numpy as np

from benchmarks.probes.raw_env import prepare, random_legal_actions


def test_random_actions_are_legal_and_uniform():
    generator = np.random.default_rng(0)
    avail = np.array([[[0, 1, 0, 1], [1, 0, 0, 0]]], np.bool_).repeat(20_000, axis=0)
    actions = random_legal_actions(avail, generator)
    assert np.take_along_axis(avail, actions[..., None], axis=-1).all()
    assert abs((actions[:, 0] == 3).mean() - 0.5) < 0.02


def test_measure_reports_speeds():
    report = prepare("toy/pit_corridor", [2, 8], 0.05)()
    assert report["steps_per_second_2"] > 0
    assert report["in_env_8"] > report["steps_per_second_8"] > 0
