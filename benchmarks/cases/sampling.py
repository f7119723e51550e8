"""Sampling with one runner of 32 sub-environments, beside the environment alone and RLlib's runner.

The environment alone is measured as it is, and as JAX steps it: the goal was set for JaxMARL's
SMAX, before there was C code that plays it.

Ours runs a GRU per agent, explores over legal actions and records whole episodes; RLlib's stock
`SingleAgentEnvRunner` runs its default MLP on the same batched environment.
"""

from benchmarks.suite import Contestant, Figure, Goal, Options


def contestants(o: Options) -> list[Contestant]:
    common = {"env": o.env, "seconds": o.seconds, "seed": o.seed}
    batch = common | {"num_envs": [32]}
    raw, qmix, stock = "environment alone", "sampling, QMIX network", "RLlib's stock runner, MLP"
    jax, beside_jax = "environment alone, stepped by JAX", "sampling, beside JAX's environment"
    key = "steps_per_second_32"
    goal = Goal(at_least=0.7, of_ratio=True)
    return [
        Contestant("raw_env", batch, (Figure(raw, key, versus=jax),)),
        Contestant("raw_env", batch | {"compiled": False}, (Figure(jax, key),)),
        Contestant(
            "sampling",
            batch | {"preset": "qmix"},
            (Figure(qmix, key, versus=raw), Figure(beside_jax, key, versus=jax, goal=goal)),
        ),
        Contestant(
            "sampling",
            batch | {"preset": "dbf"},
            (Figure("sampling, DBF network", key, versus=raw),),
        ),
        Contestant(
            "stock_runner",
            common | {"num_envs": 32},
            (Figure(stock, versus=qmix),),
            needs_ray=True,
        ),
    ]
