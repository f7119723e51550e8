"""What a task of some size costs: environment, sampling, and updates of 8 episodes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.probes import raw_env, sampling, update

_FEW = {"batch_episodes": 8, "episodes_per_update": 8, "num_envs_per_env_runner": 8}


def prepare(env: str, seconds: float, seed: int) -> Callable[[], dict[str, float | None]]:
    """Measures one after the other: `raw`, `sampling`, `qmix_ms` and `dbf_ms`."""
    raw = raw_env.prepare(env, [32], seconds, seed)
    sample = sampling.prepare(env, "qmix", [32], seconds, seed)
    updates = {p: update.prepare(env, p, seconds, seed, _FEW) for p in ("qmix", "dbf")}

    def measure() -> dict[str, float | None]:
        return {
            "raw": raw()["steps_per_second_32"],
            "sampling": sample()["steps_per_second_32"],
            **{f"{preset}_ms": one()["ms"] for preset, one in updates.items()},
        }

    return measure
