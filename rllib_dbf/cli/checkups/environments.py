"""Whether environments can be played here: each is, for one step, in a process of its own."""

from __future__ import annotations

from rllib_dbf.cli.checkups.child import LATE, Answer, ask
from rllib_dbf.cli.checkups.finding import Finding, brief
from rllib_dbf.cli.checkups.simulators import (
    Simulator,
    describe,
    missing_modules,
    remedy,
    simulator_of,
    wrong_version,
)
from rllib_dbf.cli.errors import CommandError


def require_known(env: str) -> None:
    """Refuse the name of an environment that there is not; a path is left to the check.

    Raises:
        CommandError: With a suggestion.
    """
    from rllib_dbf.envs.naming import find_env
    from rllib_dbf.named_object import is_path
    from rllib_dbf.registry import UnknownNameError

    if is_path(env):
        return
    try:
        find_env(env)
    except UnknownNameError as error:
        raise CommandError(str(error)) from error


def check_env(env: str, limit: float, asked_for: bool) -> Finding:
    """Make an environment, reset it, play one step.

    Without its simulator it is absent; the default one is missed even if nobody asked for it.
    """
    simulator = simulator_of(env)
    if simulator is None:
        return _judge(env, None, _play(env, limit))
    missing = missing_modules(simulator)
    if missing:
        detail = f"{simulator.title} is not installed"
        if len(missing) < len(simulator.modules):
            detail = f"{simulator.title} lacks {' and '.join(missing)}"
        status = "warning" if simulator.default and not asked_for else "absent"
        return Finding(env, status, detail, remedy(simulator))
    wrong = _not_the_right_one(simulator)
    if wrong:
        what, _, how = wrong.partition(": ")
        # A package of the same name may be there on purpose.
        status = "warning" if "another project" in what and not asked_for else "broken"
        return Finding(env, status, f"{simulator.title}: {what}", how or remedy(simulator))
    return _judge(env, simulator, _play(env, limit))


def _play(env: str, limit: float) -> Answer:
    return ask("rllib_dbf.cli.checkups.try_env", limit, env=env)


def _not_the_right_one(simulator: Simulator) -> str:
    """What StarCraft II's simulators can say without being imported; "" if nothing is wrong."""
    from rllib_dbf.envs.smac_packages import PACKAGES, require_installed

    if simulator.modules[0] not in PACKAGES:
        return ""
    try:
        require_installed(simulator.modules[0])
    except (ImportError, FileNotFoundError) as error:
        return str(error)
    return ""


def _judge(env: str, simulator: Simulator | None, answer: Answer) -> Finding:
    about = f"{simulator.title} ({describe(simulator)}); " if simulator else ""
    played = answer.last("played")
    if not played:
        stage = answer.last("stage", "starting its process")
        why = brief(answer.why() or "its process ended too early")
        how = _what_to_do(answer, remedy(simulator) if simulator else "")
        return Finding(env, "broken", f"{about}{stage} failed: {why}", how)
    asked = wrong_version(simulator) if simulator else ""
    if simulator and asked:
        return Finding(env, "warning", f"{about}{played}, but {asked}", remedy(simulator))
    return Finding(env, "ok", f"{about}{played}")


def _what_to_do(answer: Answer, install: str) -> str:
    from rllib_dbf.envs.smac_packages import PROTOBUF

    why = answer.why()
    if "pip install" in why or PROTOBUF in why:  # the error itself says it
        return ""
    if why.startswith(LATE):
        slow = "--timeout N, if the machine is busy"
        return f"{slow}; otherwise reinstall it: {install}" if install else slow
    return f"reinstall it: {install}" if install else ""
