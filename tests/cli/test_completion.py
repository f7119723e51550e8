"""What the shell offers after TAB."""

from __future__ import annotations

import time

import pytest

from tests.cli.command import rllib

OFFERED = {
    "rllib tr": ["train"],
    "rllib train --algo qm": ["qmix"],
    "rllib train --env smax/2s": ["smax/2s3z"],
    "rllib train --set gamma": ["gamma=", "gamma_b="],
    "rllib train --set training.beta_q_": ["training.beta_q_agreeing="],
    "rllib train --algo PPO --set lambd": ["lambda_="],
    "rllib train --sweep hidden_d": ["hidden_dim="],
    "rllib train --scheduler a": ["asha"],
    "rllib train --search op": ["optuna"],
    "rllib list settings --algo ddn": ["ddn"],
    "rllib example get tune/barrier": ["tune/barrier_3m"],
}


@pytest.mark.parametrize("line", OFFERED)
def test_offered(line: str) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    start = time.perf_counter()
    done = rllib(**words, _RLLIB_COMPLETE="complete_bash")
    assert done.stdout.split() == OFFERED[line], done.stderr
    assert time.perf_counter() - start < 5  # Ray alone takes longer to import on a busy machine
