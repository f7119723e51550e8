"""A process of its own for `test_another_device`: trains every case on the other device.

    python -m tests.rllib.train_elsewhere FOLDER

writes per case FOLDER/CASE.npz (the weights) or FOLDER/CASE.error, and a checkpoint. Autograd
counts the devices when it first runs in a process, so that none can be added after that.
"""

import contextlib
import sys
import traceback
from pathlib import Path
from unittest.mock import patch

import numpy as np
import ray
import torch

import rllib_dbf.registration
from benchmarks.probes.team import train_batch
from rllib_dbf.device_rows import DeviceRows, RowsBatch
from rllib_dbf.functional import devices
from rllib_dbf.learner import NonFiniteUpdateError
from rllib_dbf.presets import PRESETS
from tests.pytorch_alone import pytorch_alone
from tests.rllib.another_device import (
    DEVICE,
    NAME,
    DevicesMixedError,
    copies_counted,
    learner_elsewhere,
    waits_counted,
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
    "dbf-gumbel": {
        "barrier_estimator": "gumbel",
        "gradient_combination": "pcgrad",
        "gradient_scope": "per_layer",
    },
    "dbf-watch": {"barrier_estimator": "watch", "exploration_temperature": 0.1},
    "dbf-constraint": {"barrier_estimator": "constraint"},
    "dbf-baseline": {"barrier_baseline": "best", "gradient_combination": "pcgrad_one_way"},
    "dbf-scaled": {"policy_temperature": "std", "barrier_weights": "to_go"},
}
CHECKPOINT = "dbf-critic"
WIDE = (*PRESETS, "dbf-critic", "dbf-gumbel")


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


def a_batch_goes_there_in_a_copy_for_each_part() -> None:
    """Whatever types and shapes it has; and it arrives as it was."""
    algo = small("dbf", hidden_dim=16).build_algo()
    algo.replay.add(algo._prepare()())
    batch = train_batch(algo)
    with copies_counted() as count:
        moved = batch.to(DEVICE)
    assert count() == 2, count()
    for sent, arrived in zip(batch, moved, strict=True):
        for x, y in zip(sent, arrived, strict=True):
            assert y.device == torch.device(DEVICE) and y.dtype == x.dtype
            assert torch.equal(y.cpu(), x)
    assert batch.to("cpu") is batch
    assert batch._replace(on_policy=None).to(DEVICE).on_policy is None
    algo.stop()


@contextlib.contextmanager
def as_on_a_gpu():
    """The other device computes as a GPU does, and has the replay's rows."""

    def rows(layout: np.dtype, count: int, device: torch.device) -> DeviceRows:
        return DeviceRows(layout, count, device)

    with patch.object(devices, "WIDE", {NAME}), patch.object(DeviceRows, "of", rows):
        yield


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


def an_update_that_is_not_finite_moves_nothing(optimizer: str) -> None:
    """Nor does any after it, until somebody asks; then the error says which one it was."""
    algo = small("dbf", hidden_dim=16, optimizer_name=optimizer).build_algo()
    while len(algo.replay) < 16:
        algo.replay.add(algo._prepare()())
    good = train_batch(algo)
    bad = good._replace(replay=good.replay._replace(reward=good.replay.reward * torch.nan))

    def update(batch, last: bool) -> None:
        algo.learner_group.update(
            batches=[batch], timesteps={}, episodes_sampled=0, reduce_metrics=last
        )

    update(good, True)
    update(good, False)
    before = weights(algo)
    for batch in (bad, good):
        update(batch, False)
    for name, x in weights(algo).items():
        np.testing.assert_array_equal(x, before[name])
    try:
        update(good, True)
    except NonFiniteUpdateError as error:
        assert "update 3: the gradient norm is nan" in str(error), error
    else:
        raise AssertionError("nobody was told")
    update(good, True)
    assert any((x != before[name]).any() for name, x in weights(algo).items())
    algo.stop()


def _train_as_on_a_gpu(case: str, folder: Path) -> None:
    """Padded episodes, whose rows are there already; and nothing waits for the device.

    What is sent there beside row numbers could not be recorded: it would be sent once.
    """
    algo = trained(case)
    np.savez(folder / f"wide-{case}.npz", **weights(algo))
    step, told = algo.learner_group._learner._gradient_step, algo._batches()[0]
    assert step.recordable and isinstance(told, RowsBatch)
    with waits_counted() as waits, copies_counted() as copies:
        step(told, 0)
    assert waits() == 0, f"an update waited {waits()} times"
    assert copies() == 1, f"{copies()} copies were made, and row numbers are one"
    assert step.trouble() is None
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
        a_batch_goes_there_in_a_copy_for_each_part()
        for optimizer in ("adam", "rmsprop"):
            an_update_that_is_not_finite_moves_nothing(optimizer)
        for case in CASES:
            try:
                _train(case, folder)
            except Exception:  # the test of this case shows it
                (folder / f"{case}.error").write_text(traceback.format_exc())
        with as_on_a_gpu():
            for case in WIDE:
                try:
                    _train_as_on_a_gpu(case, folder)
                except Exception:
                    (folder / f"wide-{case}.error").write_text(traceback.format_exc())
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
