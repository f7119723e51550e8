"""QMIX on PettingZoo's simple_spread (3 agents, 25 steps): ours, BenchMARL's and xuance's.

All: 8 games in the learner's process, GRU 64 shared by the agents, one update of 32 episodes per 8
collected, no evaluation. The game itself is slow Python and the same for all.
"""

from benchmarks.suite import Contestant, Figure, Options


def contestants(o: Options) -> list[Contestant]:
    settings = {"seconds": o.seconds, "seed": o.seed, "num_envs": 8}
    ours, theirs = "our QMIX", {"benchmarl": "BenchMARL's QMIX", "xuance": "xuance's QMIX"}
    figures = (Figure(ours), Figure("the game alone, random actions", "alone", versus=ours))
    mine = Contestant("spread_ours", settings, figures, packages="simple_spread", needs_ray=True)
    peers = [
        Contestant(f"spread_{peer}", settings, (Figure(label, versus=ours),), peer=peer)
        for peer, label in theirs.items()
    ]
    return [mine, *peers]
