"""Scaling in agents, from 3 to 27: environment, sampling and updates of 8 episodes."""

from benchmarks.suite import Contestant, Figure, Options

MAPS = {3: "3m", 8: "8m", 10: "10m_vs_11m", 27: "27m_vs_30m"}


def contestants(o: Options) -> list[Contestant]:
    return [_map(o, agents, name) for agents, name in MAPS.items()]


def _map(o: Options, agents: int, name: str) -> Contestant:
    settings = {"env": f"smax/{name}", "seconds": o.seconds / 2, "seed": o.seed}
    figures = (
        Figure(f"environment alone, {agents} agents", "raw"),
        Figure(f"sampling, QMIX, {agents} agents", "sampling"),
        Figure(f"update, QMIX, {agents} agents", "qmix_ms", "ms"),
        Figure(f"update, DBF, {agents} agents", "dbf_ms", "ms"),
    )
    first = next(iter(MAPS))
    if agents != first:
        of_first = [f.label.replace(f"{agents} agents", f"{first} agents") for f in figures]
        figures = tuple(f._replace(versus=v) for f, v in zip(figures, of_first, strict=True))
    return Contestant("task", settings, figures, needs_ray=True)
