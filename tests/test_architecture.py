"""Who may import what; which names may stand where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rllib_dbf"
SIMULATORS = {"jax", "jaxlib", "jaxmarl", "metadrive", "pettingzoo", "pysc2", "flax"}
SIMULATORS |= {"smac", "smacv2", "smaclite", "absl"}


def files_in(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool) -> set[str]:
    """First names of the modules a file imports (type checking blocks do not count)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


KERNELS = {f"nets/fused/{name}.py" for name in ("products", "walks", "backwards")}


@pytest.mark.parametrize("path", files_in("functional", "nets"), ids=relative)
def test_mathematics_needs_torch_only(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"torch", "jaxtyping", "numpy", "rllib_dbf"}
    if relative(path) in KERNELS:  # imported where PyTorch has brought Triton along
        allowed.add("triton")
    assert imports(path, top_level_only=False) <= allowed


# A file whose name starts with its simulator's is that simulator's own: it is imported by the
# door's constructor, never by the table of environments.
@pytest.mark.parametrize("path", files_in("envs"), ids=relative)
def test_environments_do_not_need_ray(path: Path) -> None:
    if path.stem != "rllib":
        assert "ray" not in imports(path, top_level_only=False)


def loaded_by(statement: str) -> set[str]:
    """Modules that are loaded after a statement in a fresh `rllib` process."""
    code = f"import sys; sys.argv = ['rllib']; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_command_starts_without_heavy_libraries() -> None:
    loaded = loaded_by("import rllib_dbf.cli.app")
    assert not loaded & ({"ray", "torch", "gymnasium", "pandas", "matplotlib"} | SIMULATORS)


def test_naming_environments_loads_no_simulator() -> None:
    loaded = loaded_by("import rllib_dbf.envs; rllib_dbf.envs.list_envs()")
    assert not loaded & ({"ray", "torch"} | SIMULATORS)


def test_import_registers_presets_with_tune() -> None:
    code = (
        "import rllib_dbf; from ray.tune.registry import get_trainable_cls as get;"
        "print(get('DBF') is rllib_dbf.DBF, rllib_dbf.DBFConfig().algo_class is rllib_dbf.DBF)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def named_presets(path: Path) -> set[str]:
    """Preset names that stand as string constants in code (docstrings do not count).

    The default preset belongs to `DBFConfig`; a mixer, an objective or a correction may be called
    as the preset that made it known, so names of parts in registrations are not preset names.
    """
    from rllib_dbf.nets.corrections import ACTION_CORRECTIONS
    from rllib_dbf.nets.mixers import MIXERS
    from rllib_dbf.objectives import OBJECTIVES
    from rllib_dbf.presets import PRESETS

    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {*MIXERS, *OBJECTIVES, *ACTION_CORRECTIONS}
    names = {n for n in PRESETS if n not in parts} | {row.title for row in PRESETS.values()}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in docstrings and node.value in names
    }


DEFAULTS = {
    "config.py": {"dbf"},  # what DBFConfig() is
    "algorithm.py": {"dbf"},
    "envs/jax_threefry.py": {"dbf"},  # a tag that stands for this package
    "registration.py": {"IQL"},  # a name that RLlib has taken
    "cli/names.py": {"IQL", "DBF"},  # RLlib's own list; what `rllib train` trains
}


@pytest.mark.parametrize("path", files_in("."), ids=relative)
def test_presets_are_named_in_their_table_only(path: Path) -> None:
    if path.name != "presets.py":
        extra = {"__init__.py": {"DBF"}}.get(relative(path), set())
        assert named_presets(path) <= DEFAULTS.get(relative(path), set()) | extra


def test_constraints_name_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    pattern = r"[a-z0-9._-]+==[A-Za-z0-9.]+( ; .+)?"
    assert [line for line in pins if not re.fullmatch(pattern, line)] == []
    assert "torch==2.13.0" in pins
