"""A process of its own for `test_another_device`: trains every case on the other device.

    python -m tests.rllib.train_elsewhere FOLDER

writes per case FOLDER/CASE.npz (the weights) or FOLDER/CASE.error, and a checkpoint. Autograd
counts the devices when it first runs in a process, so that none can be added after that.
"""

import sys
import traceback
from pathlib import Path

import numpy as np
import ray
import torch

import rllib_dbf.registration
from benchmarks.probes.team import train_batch
from rllib_dbf.presets import PRESETS
from tests.pytorch_alone import pytorch_alone
from tests.rllib.another_device import (
    DEVICE,
    DevicesMixedError,
    copies_counted,
    learner_elsewhere,
)
from tests.rllib.small import small, weights

CASES: dict[str, dict] = {
    **{preset: {} for preset in PRESETS},
    "cbf-targets": {"correction_in_targets": True},
    "dbf-averaged": {"gradient_combination": "pcgrad", "conflict_decay": 0.9},
    "dbf-critic": {"barrier_estimator": "critic", "input_layer": "hypernet"},
    "dbf-agents": {
        "barrier_estimator": "critic",
        "barrier_critic_target": "agents",
        "barrier_critic_data": "replayed",
    },
    "dbf-gumbel": {"barrier_estimator": "gumbel", "gradient_scope": "per_layer"},
    "dbf-watch": {"barrier_estimator": "watch", "exploration_temperature": 0.1},
    "dbf-constraint": {"barrier_estimator": "constraint"},
    "dbf-baseline": {"barrier_baseline": "best", "gradient_combination": "pcgrad_one_way"},
    "dbf-scaled": {"policy_temperature": "std", "barrier_weights": "to_go"},
}
CHECKPOINT = "dbf-critic"


def trained(case: str, updates: int = 2):
    """A small training of a case after so many updates, the last of which renews the target.

    The processor's own layers would round differently: their tests are in nets/test_compiled.py.
    """
    with pytorch_alone():
        return _trained(case, updates)


def _trained(case: str, updates: int):
    algo = small(case.partition("-")[0], hidden_dim=16, **CASES[case]).build_algo()
    while len(algo.replay) < 16:
        algo.replay.add(algo._prepare()())
    for i in range(updates):
        algo.learner_group.update(
            batches=[train_batch(algo)], timesteps={}, episodes_sampled=40 * i
        )
    return algo


def refuses_mixtures() -> None:
    """The device is one: what a GPU refuses it refuses."""
    x = torch.ones(3, device=DEVICE)
    assert float((x + torch.tensor(1.0)).sum()) == 6.0  # numbers are welcome, as on a GPU
    for mix in (lambda: x + torch.ones(3), lambda: torch.cat([x, torch.ones(3)])):
        try:
            mix()
        except DevicesMixedError:
            continue
        raise AssertionError("the devices were mixed and nothing happened")


def a_batch_goes_there_in_one_copy() -> None:
    """Whatever types and shapes it has; and it arrives as it was."""
    algo = small("dbf", hidden_dim=16).build_algo()
    algo.replay.add(algo._prepare()())
    batch = train_batch(algo)
    with copies_counted() as count:
        moved = batch.to(DEVICE)
    assert count() == 1, count()
    for sent, arrived in zip(batch, moved, strict=True):
        for x, y in zip(sent, arrived, strict=True):
            assert y.device == torch.device(DEVICE) and y.dtype == x.dtype
            assert torch.equal(y.cpu(), x)
    assert batch.to("cpu") is batch
    assert batch._replace(on_policy=None).to(DEVICE).on_policy is None
    algo.stop()


def _train(case: str, folder: Path) -> None:
    algo = trained(case)
    module = algo.learner_group._learner.module["default_policy"]
    assert {str(x.device) for x in module.parameters()} == {DEVICE}
    np.savez(folder / f"{case}.npz", **weights(algo))
    if case == CHECKPOINT:
        algo.save_to_path(folder / "checkpoint")
        results = algo.train()["learners"]["default_policy"]
        assert all(np.isfinite(v) for v in results.values() if isinstance(v, float))
    algo.stop()


def main(folder: Path) -> None:
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    rllib_dbf.registration.register()
    with learner_elsewhere():
        refuses_mixtures()
        a_batch_goes_there_in_one_copy()
        for case in CASES:
            try:
                _train(case, folder)
            except Exception:  # the test of this case shows it
                (folder / f"{case}.error").write_text(traceback.format_exc())
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
