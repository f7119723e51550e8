"""The environment alone: random legal actions, NumPy in and out."""

from benchmarks.suite import Contestant, Figure, Options


def contestants(o: Options) -> list[Contestant]:
    settings = {"env": o.env, "num_envs": [1, 32], "seconds": o.seconds, "seed": o.seed}
    jax, key = "32 sub-environments, stepped by JAX", "steps_per_second_32"
    alone = "per second inside the environment, 32 sub-environments"
    figures = (
        Figure("1 sub-environment", "steps_per_second_1"),
        Figure("32 sub-environments", key, versus="1 sub-environment"),
        Figure(alone, "in_env_32", versus="32 sub-environments"),
    )
    without = settings | {"num_envs": [32], "compiled": False}
    return [
        Contestant("raw_env", settings, figures),
        Contestant("raw_env", without, (Figure(jax, key, versus="32 sub-environments"),)),
    ]
