"""The learner where a GPU would be: everything it touches has to be moved there and back."""

import subprocess
import sys

import numpy as np
import pytest

from tests.rllib.small import weights
from tests.rllib.train_elsewhere import CASES, CHECKPOINT, trained


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What the other process left."""
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "tests.rllib.train_elsewhere", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def check_same(found, expected) -> None:
    assert set(found) == set(expected)
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_an_update_stays_where_the_learner_is_and_comes_out_the_same(case, elsewhere):
    error = elsewhere / f"{case}.error"
    assert not error.exists(), error.read_text()
    here = trained(case)
    with np.load(elsewhere / f"{case}.npz") as there:
        check_same(dict(there), weights(here))
    here.stop()


def test_what_was_learnt_on_another_device_goes_on_without_it(elsewhere):
    algo = trained(CHECKPOINT, updates=0)
    algo.restore_from_path(elsewhere / "checkpoint")
    with np.load(elsewhere / f"{CHECKPOINT}.npz") as there:
        check_same(weights(algo), dict(there))
    algo.train()
    algo.stop()
