"""Scaling in sub-environments, from 1 to 256: the environment alone and sampling with QMIX."""

from benchmarks.suite import Contestant, Figure, Options


def contestants(o: Options) -> list[Contestant]:
    sizes = [1, 4, 16, 32, 64, 128, 256] if o.full else [1, 4, 16, 64, 256]
    common = {"env": o.env, "num_envs": sizes, "seconds": o.seconds / 2, "seed": o.seed}
    return [
        Contestant("raw_env", common, _figures("environment alone", sizes)),
        Contestant("sampling", common | {"preset": "qmix"}, _figures("sampling, QMIX", sizes)),
    ]


def _figures(what: str, sizes: list[int]) -> tuple[Figure, ...]:
    one = f"{what}, {sizes[0]}"
    return tuple(
        Figure(f"{what}, {n}", f"steps_per_second_{n}", versus="" if n == sizes[0] else one)
        for n in sizes
    )
