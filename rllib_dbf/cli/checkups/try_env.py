"""In a child of the doctor: plays one step of an environment, and tells how far it came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rllib_dbf.cli.checkups.child import begin
from rllib_dbf.cli.checkups.finding import brief


def main() -> None:
    """Tell the stage before it begins, and lastly `played` or `error`."""
    content, tell = begin()
    try:
        play(content["env"], tell)
    except BaseException as error:  # whatever a stranger's simulator raises, SystemExit included
        tell(error=brief(error))


def play(env_name: str, tell: Callable[..., Any]) -> None:
    """Make it, reset it, step once with legal actions, close it."""
    import numpy as np

    from rllib_dbf.envs import make_env

    start = time.monotonic()
    tell(stage="making it")
    env = make_env(env_name, num_envs=1)
    tell(stage="the reset")
    step = env.reset(np.ones(1, np.bool_), np.zeros(1, np.int64))
    tell(stage="the first step")
    step = env.step(step.avail.argmax(axis=-1))
    took = time.monotonic() - start
    if "crash" in step.outcome:
        tell(error="the simulator crashed")
        return
    if not (np.isfinite(step.obs).all() and np.isfinite(step.state).all()):
        tell(error="it shows numbers that are not finite")
        return
    spec = env.spec
    tell(stage="closing it")
    env.close()
    sizes = f"{spec.n_agents} agents, {spec.n_actions} actions"
    tell(played=f"steps ({sizes}; up in {took:.1f} s)")


if __name__ == "__main__":
    main()
