"""Large arrays of one update are made of those of the one before."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from rllib_dbf.memory import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
ARRAYS = """
import resource
import torch
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = []
for _ in range(24):  # holes have to fit first
    before = faults()
    torch.empty(25_000_000).fill_(1.0)
    found.append(faults() - before)
print(min(found))
"""
UPDATES = """
from rllib_dbf import DBFConfig
config = DBFConfig().environment("toy/pit_corridor")
algo = config.env_runners(num_envs_per_env_runner=1).build_algo()
"""


def page_faults(before: str, **environment: str) -> int:
    """Fewest pages that arrays of 100 MB, one after the other, ask the system for."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", ARRAYS.format(before=before)],
        env=given | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(not GLIBC, reason="other C libraries than glibc are left as they are")
def test_a_process_that_learns_keeps_large_arrays() -> None:
    assert page_faults("") > 1_000
    assert page_faults(UPDATES) < 100


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("MALLOC_TRIM_THRESHOLD_", "1000000"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1000000"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not keep_freed_memory.__wrapped__()


def test_glibc_takes_it_and_other_libraries_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [*os.environ]:
        if name.startswith(("MALLOC_", "GLIBC_")):
            monkeypatch.delenv(name)
    assert keep_freed_memory.__wrapped__() == GLIBC
