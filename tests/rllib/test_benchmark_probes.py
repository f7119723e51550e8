"""Every probe of `./run bench` that trains, on a toy: what it promises to measure, it measures."""

import importlib

import pytest

TOY = "toy/pit_corridor"
SMALL = {"hidden_dim": 8, "learning_starts": 8, "batch_episodes": 8, "num_env_runners": 0}
TRAINING = {"env": TOY, "preset": "qmix", "seed": 0, "overrides": SMALL}

PROBES = {
    "memory": (TRAINING, {"added_mb", "peak_mb", "ms", "mean_length"}),
    "replay": (
        {"env": TOY, "preset": "qmix", "sizes": [100], "seconds": 0.05, "seed": 0},
        {"sample_ms_100", "update_ms_100", "megabytes_100"},
    ),
    "runners": (TRAINING | {"runners": 1, "seconds": 0.05}, {"sampling", "training"}),
    "sampling": (
        {"env": TOY, "preset": "qmix", "num_envs": [4], "seconds": 0.05, "seed": 0},
        {"steps_per_second_4"},
    ),
    "task": ({"env": TOY, "seconds": 0.05, "seed": 0}, {"raw", "sampling", "qmix_ms", "dbf_ms"}),
    "training": (
        TRAINING | {"seconds": 0.05},
        {"steps_per_second", "updates_per_second", "steps_per_update"},
    ),
    "update": (TRAINING | {"preset": "dbf", "seconds": 0.05}, {"ms"}),
    "win_rate": (TRAINING | {"wins": 0.0, "give_up": 60.0}, {"seconds", "env_steps"}),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_measures_what_it_promises(name):
    settings, promised = PROBES[name]
    measure = importlib.import_module(f"benchmarks.probes.{name}").prepare(**settings)
    for figures in (measure(), measure()):
        assert promised <= set(figures)
        assert all(figures[key] is not None and figures[key] >= 0.0 for key in promised), figures
