"""Beside JAX: SMAX and QMIX compiled as a whole, against ours end to end (3m).

JaxMARL's package has no learners, so "compiled QMIX" is our own pure JAX program at the workload
of JaxMARL's script: 8 environments, GRU 64, one update of 32 × 128 steps per 128 steps. Ours makes
one update of 32 episodes per 8 collected. The goals are meant for JaxMARL's QMIX, for which the
program stands without having been calibrated against it. "Scan" is JaxMARL's environment with
random actions, which bounds every learner in JAX.
"""

from dataclasses import replace

from benchmarks.cases.end_to_end import training
from benchmarks.suite import Contestant, Figure, Goal, Options

COMPILED = "compiled QMIX in JAX (our stand-in)"


def contestants(o: Options) -> list[Contestant]:
    o = replace(o, env="smax/3m")
    common = {"seconds": o.seconds, "seed": o.seed}
    scan = common | {"scenario": "3m", "num_envs": [8, 32]}
    raw = common | {"env": o.env, "num_envs": [8, 32]}
    compiled = {"scenario": "3m", "seconds": 2 * o.seconds, "seed": o.seed}
    return [
        Contestant(
            "jax_env",
            scan,
            tuple(_env("JaxMARL's environment, scan", n) for n in (8, 32)),
            peer="jaxmarl",
        ),
        Contestant(
            "raw_env",
            raw,
            tuple(
                _env("our environment, NumPy", n, "JaxMARL's environment, scan") for n in (8, 32)
            ),
        ),
        Contestant("jax_qmix", compiled, (Figure(COMPILED),), peer="jaxmarl"),
        training(
            o, "qmix", Figure("our QMIX", versus=COMPILED, goal=Goal(at_least=3, of_ratio=True))
        ),
        training(
            o, "dbf", Figure("our DBF", versus=COMPILED, goal=Goal(at_least=1, of_ratio=True))
        ),
    ]


def _env(what: str, n: int, versus: str = "") -> Figure:
    return Figure(
        f"{what}, {n} sub-environments",
        f"steps_per_second_{n}",
        versus=versus and f"{versus}, {n} sub-environments",
    )
