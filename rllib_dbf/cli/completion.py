"""What the shell offers after TAB; nothing here may import Ray, which takes seconds."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import typer

from rllib_dbf.cli.names import DEFAULT_ALGORITHM, RAY_PREFIX, algorithm_names, find_algorithm

_OURS = Path(__file__).resolve().parents[1]


def algorithms(incomplete: str) -> list[str]:
    """Names of algorithms, whatever the case typed."""
    return _starting(algorithm_names(), incomplete)


def environments(incomplete: str) -> list[str]:
    """Names of team environments, and of other packages'."""
    from rllib_dbf.envs import list_envs
    from rllib_dbf.plugins import environment_names

    return _starting([*list_envs(), *environment_names()], incomplete)


def assignments(ctx: typer.Context, incomplete: str) -> list[str]:
    """`setting=` for the settings of the algorithm named so far."""
    section, dot, name = incomplete.rpartition(".")
    algorithm = find_algorithm(str(ctx.params.get("algo") or DEFAULT_ALGORITHM))
    found = _settings(algorithm.title.removeprefix(RAY_PREFIX), algorithm.is_team)
    return [
        f"{where}.{key}=" if dot else f"{key}="
        for key, where in sorted(found.items())
        if key.startswith(name) and section in ("", where)
    ]


def schedulers(incomplete: str) -> list[str]:
    """Names of schedulers."""
    from rllib_dbf.cli.tuning import SCHEDULERS

    return _starting(SCHEDULERS, incomplete)


def searchers(incomplete: str) -> list[str]:
    """Names of searchers."""
    from rllib_dbf.cli.tuning import SEARCHERS

    return _starting(SEARCHERS, incomplete)


def examples(incomplete: str) -> list[str]:
    """Names of packaged experiments and programs."""
    from rllib_dbf.cli.examples import find_examples

    return _starting(find_examples(), incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    found = [name for name in names if name.lower().startswith(incomplete.lower())]
    # A shell drops what does not begin as typed.
    return [name if name.startswith(incomplete) else name.lower() for name in found]


def _settings(title: str, is_team: bool) -> dict[str, str]:
    """Setting → section, read from the sources: importing them would import Ray."""
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:
        return {}
    algorithms = Path(spec.origin).parent / "rllib" / "algorithms"
    files = [algorithms / "algorithm_config.py"]
    if is_team:
        files += [_OURS / "config.py", _OURS / "barrier_config.py"]
    else:
        files.append(algorithms / title.lower() / f"{title.lower()}.py")
    found: dict[str, str] = {}
    for file in files:
        if file.is_file():
            found |= {k: v for k, v in _fluent_keywords(file).items() if k not in found}
    return found


def _fluent_keywords(file: Path) -> dict[str, str]:
    """Keywords whose default is `NotProvided`, with their method's name."""
    found: dict[str, str] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
                for argument, default in pairs:
                    if isinstance(default, ast.Name) and default.id == "NotProvided":
                        found.setdefault(argument.arg, method.name)
    return found
