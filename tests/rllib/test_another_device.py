"""The learner where a GPU would be: everything it touches has to be moved there and back."""

import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest

from rllib_dbf.functional import devices
from rllib_dbf.team import padded_length
from tests.rllib.small import weights
from tests.rllib.train_elsewhere import CASES, CHECKPOINT, WIDE, trained


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


DRAWS_NOTHING = "iql", "qmix", "qplex_qatten", "qtran_base", "resq"


@pytest.mark.parametrize(
    ("case", "length"),
    [
        *((case, lambda steps: steps) for case in CASES),  # more padding would draw more fractions
        *((case, padded_length) for case in DRAWS_NOTHING),
    ],
)
def test_padded_episodes_are_learnt_from_like_packed_ones(case, length):
    """What suits a GPU gives the same weights as what suits a processor, but for rounding."""
    packed = trained(case)
    with (
        patch.object(devices, "WIDE", {"cpu"}),
        patch("rllib_dbf.replay.padded_length", length),
        patch("rllib_dbf.team.padded_length", length),
    ):
        padded = trained(case)
    for (name, x), y in zip(weights(packed).items(), weights(padded).values(), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-6, err_msg=name)
    packed.stop()
    padded.stop()


@pytest.mark.parametrize("case", WIDE)
def test_an_update_as_on_a_gpu_waits_for_nothing_and_comes_out_the_same(case, elsewhere):
    error = elsewhere / f"wide-{case}.error"
    assert not error.exists(), error.read_text()
    with patch.object(devices, "WIDE", {"cpu"}):
        here = trained(case)
    with np.load(elsewhere / f"wide-{case}.npz") as there:
        check_same(dict(there), weights(here))
    here.stop()


def test_what_was_learnt_on_another_device_goes_on_without_it(elsewhere):
    algo = trained(CHECKPOINT, updates=0)
    algo.restore_from_path(elsewhere / "checkpoint")
    with np.load(elsewhere / f"{CHECKPOINT}.npz") as there:
        check_same(weights(algo), dict(there))
    algo.train()
    algo.stop()
