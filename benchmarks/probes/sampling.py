"""Env-steps per second of our sampler: network, exploration, recording of whole episodes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.probes.team import make_sampler, steps_per_second


def prepare(
    env: str, preset: str, num_envs: list[int], seconds: float, seed: int = 0
) -> Callable[[], dict[str, float | None]]:
    """Measures batches of several sizes, one after the other: `steps_per_second_B`."""
    samplers = {n: make_sampler(env, preset, n, seed) for n in num_envs}
    for sampler in samplers.values():
        for _ in range(100):
            sampler.step()

    def measure() -> dict[str, float | None]:
        figures: dict[str, float | None] = {}
        for n, sampler in samplers.items():
            figures[f"steps_per_second_{n}"] = steps_per_second(sampler.step, seconds)
            sampler.take_finished()
        return figures

    return measure
