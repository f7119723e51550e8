"""Whether what is installed is what the installed package asks for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rllib_dbf.cli.checkups.finding import Finding

OWN = "rllib-dbf"
_SHOWN = ("ray", "torch", "numpy", "gymnasium")


class Wish(NamedTuple):
    """A distribution, the versions of it that somebody asks for, and who asks."""

    name: str
    versions: Any  # a SpecifierSet
    by: str


def check_versions() -> Iterator[Finding]:
    """Python, this package, what it stands on, and the rest of its requirements in one line."""
    yield _python()
    yield _own()
    wishes = _all_wishes()
    for name in _SHOWN:
        yield _judge(name, [wish for wish in wishes if wish.name == name])
    yield _others([wish for wish in wishes if wish.name not in _SHOWN])


def installed_version(distribution: str) -> str | None:
    """Its version, or None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def wishes_of(distribution: str, extra: str = "") -> list[Wish]:
    """What an installed distribution asks for, here, with one of its extras or without any.

    Nothing where neither it nor `packaging` (which comes with Ray) is installed.
    """
    return [Wish(r.name.lower(), r.specifier, distribution) for r in _asked(distribution, extra)]


def suits(version: str, wish: Wish) -> bool:
    """Whether a version is one of those asked for."""
    return wish.versions.contains(version, prereleases=True)


def _asked(distribution: str, extra: str) -> list[Any]:
    try:
        from packaging.requirements import Requirement

        texts = importlib.metadata.requires(distribution) or []
    except ImportError:  # PackageNotFoundError is one, too
        return []
    found = [Requirement(text) for text in texts]
    here = [r for r in found if r.marker is None or r.marker.evaluate({"extra": extra})]
    if not extra:
        return here
    return [r for r in here if r.marker and not r.marker.evaluate({"extra": ""})]


def _all_wishes() -> list[Wish]:
    """Of this package, and of those it asks for with extras (Ray)."""
    found = wishes_of(OWN)
    for requirement in _asked(OWN, ""):
        for extra in sorted(requirement.extras):
            found += wishes_of(requirement.name, extra)
    return found


def _python() -> Finding:
    version, wanted = platform.python_version(), ">=3.11"
    try:
        from packaging.specifiers import SpecifierSet

        wanted = importlib.metadata.metadata(OWN)["Requires-Python"] or wanted
        fits = SpecifierSet(wanted).contains(version, prereleases=True)
    except ImportError:
        fits = tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 11)
    if fits:
        return Finding("python", "ok", version)
    return Finding("python", "broken", f"{version}, but {OWN} asks for {wanted}", "install another")


def _own() -> Finding:
    version = installed_version(OWN)
    spec = importlib.util.find_spec("rllib_dbf")
    place = Path(spec.origin or "").parent if spec else "?"
    if version is None:
        detail = f"imported from {place}, but not installed: its requirements are not known"
        return Finding(OWN, "warning", detail, f"pip install -e {Path(str(place)).parent}")
    return Finding(OWN, "ok", f"{version} in {place}")


def _judge(name: str, wishes: list[Wish]) -> Finding:
    """A clash with what this package asks for is fatal; one with what Ray asks for need not be."""
    version = installed_version(name)
    asked = ", ".join(f"{wish.by} asks for {wish.versions}" for wish in wishes if wish.versions)
    unmet = [wish for wish in wishes if version and not suits(version, wish)]
    remedy = _remedy(unmet or wishes, name)
    if version is None:
        return Finding(name, "broken", f"not installed ({asked})" if asked else "missing", remedy)
    if unmet:
        wanted = ", ".join(f"{wish.by} asks for {wish.versions}" for wish in unmet)
        fatal = any(wish.by == OWN for wish in unmet)
        return Finding(name, "broken" if fatal else "warning", f"{version}, but {wanted}", remedy)
    return Finding(name, "ok", version)


def _remedy(wishes: list[Wish], name: str) -> str:
    wanted = ",".join(sorted({str(wish.versions) for wish in wishes if wish.versions}))
    return f'pip install "{name}{wanted}"'


def _others(wishes: list[Wish]) -> Finding:
    names = sorted({wish.name for wish in wishes})
    if not names:
        remedy = f"pip install {OWN}"
        return Finding("requirements", "warning", "they are not known", remedy)
    found = [_judge(name, [w for w in wishes if w.name == name]) for name in names]
    wrong = [finding for finding in found if finding.status != "ok"]
    if not wrong:
        return Finding("requirements", "ok", f"{len(names)} further ones are met")
    status = "broken" if any(f.status == "broken" for f in wrong) else "warning"
    detail = "; ".join(f"{finding.check} {finding.detail}" for finding in wrong)
    wanted = " ".join(finding.remedy.removeprefix("pip install ") for finding in wrong)
    return Finding("requirements", status, detail, f"pip install {wanted}")
