"""The suite's side of a contestant's process."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import venvs
from benchmarks.child import BrokeDown, NotMeasured
from benchmarks.suite import ROOT, Contestant

READY_WITHIN = 600  # seconds: imports, compilation and warm-up of everything at once
MEASURED_WITHIN = 600


class Worker:
    """Starts a contestant's process, asks it for measurements and ends it.

    Args:
        contestant: What to run.
        log: Where the process's own output goes.
        ray_address: The Ray that contestants share, if one is running.
        threads: Torch threads (None: as Torch chooses).
    """

    def __init__(
        self, contestant: Contestant, log: Path, ray_address: str | None, threads: int | None
    ) -> None:
        self.contestant, self._log = contestant, log
        self._see = f"see {log.relative_to(ROOT) if log.is_relative_to(ROOT) else log}"
        self.versions: dict[str, str] = {}
        self.torch_threads: int | None = None
        self.peak_rss_mb: float | None = None
        peer, packages = contestant.peer, contestant.packages
        python = str(venvs.interpreter(peer)) if peer else sys.executable
        env = os.environ | {"PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        folders = [str(ROOT), *([str(venvs.package_folder(packages))] if packages else [])]
        env["PYTHONPATH"] = os.pathsep.join(folders)
        if peer:
            env.setdefault("JAX_COMPILATION_CACHE_DIR", str(venvs.WHERE / peer / "jax-cache"))
        env |= {"RAY_ADDRESS": ray_address} if ray_address else {}
        env |= {"BENCH_THREADS": str(threads)} if threads else {}
        command = [python, "-W", "ignore", "-m", "benchmarks.child", contestant.probe]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, json.dumps(contestant.settings)],
                cwd=ROOT,
                env=env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def wait_until_ready(self) -> None:
        """Wait for the warm-up to end.

        Raises:
            NotMeasured: If the process cannot measure; says why.
            BrokeDown: If it failed or did not answer; says how.
        """
        answer = self._read(READY_WITHIN)
        self.versions, self.torch_threads = answer["versions"], answer["torch_threads"]

    def measure(self) -> dict[str, float | None]:
        """One measurement.

        Raises:
            NotMeasured: If the process cannot measure; says why.
            BrokeDown: If it failed or did not answer; says how.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self._read(MEASURED_WITHIN)
        self.peak_rss_mb = answer["peak_rss_mb"]
        return answer["figures"]

    def end(self) -> None:
        """Let the process finish, or end it."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()

    def _read(self, seconds: int) -> dict[str, Any]:
        assert self._process.stdout is not None
        selector = selectors.DefaultSelector()
        selector.register(self._process.stdout, selectors.EVENT_READ)
        # Second by second: a suite that was suspended together with its processes is not late.
        if not any(selector.select(1.0) for _ in range(seconds)):
            self.kill()
            raise BrokeDown(f"no answer within {seconds} s; {self._see}")
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace").split("\n")
            last = next((text for text in reversed(said) if text.strip()), "it said nothing")
            raise BrokeDown(f"{last.strip()} (exit code {self._process.wait()}; {self._see})")
        answer = json.loads(line)
        if "not_measured" in answer:
            raise NotMeasured(answer["not_measured"])
        return answer
