"""One update of 32 played episodes, by preset."""

from benchmarks.suite import Contestant, Figure, Options


def contestants(o: Options) -> list[Contestant]:
    presets = {"qmix": "QMIX", "dmix": "DMIX", "dbf": "DBF"}
    return [
        Contestant(
            "update",
            {
                "env": o.env,
                "preset": preset,
                "seconds": o.seconds,
                "seed": o.seed,
                "overrides": o.overrides,
            },
            (Figure(title, "ms", "ms per update", versus="" if preset == "qmix" else "QMIX"),),
            needs_ray=True,
        )
        for preset, title in presets.items()
    ]
