"""Which forms of the barrier earn their place: the study's criterion, form by form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Compare = Callable[[str, str, str], dict[str, float]]  # environment, form, measure

RULE = """\
A form earns its place if it is worse than `zero` nowhere and better somewhere, by 95 % intervals of
Student's t, paired by seed. Where winning is the task: worse with fewer **wins** or
**wins_first_half**, better with more **wins_first_half**. On MetaDrive and KAZ: worse with a lower
**return** or more **deaths**, better with at least a fifth fewer **deaths** at a return that is not
lower. The bootstrap of the tables below is narrower than it says: around nothing at all it leaves
zero out once in seven times with five seeds, and oftener with three. Many comparisons turn up some
differences by chance either way."""

FEWER = 0.8  # of the reference's deaths, at most, where that is what "better" means


def verdict(compare: Compare, environment: str, form: str, by_deaths: bool = False) -> str:
    """What a form does in an environment: "worse: …", "better: …" or "–", or empty if not played.

    Args:
        compare: Gives a measure's "mean", its "low" and "high" (95 % interval of the difference to
            the reference) and its "difference".
        environment: One of the study's.
        form: One of the study's.
        by_deaths: Judge by deaths and return even if something can be won.
    """
    wins = compare(environment, form, "wins")
    if not by_deaths and not np.isnan(wins["mean"]):
        first = compare(environment, form, "wins_first_half")
        worse = [n for n, f in (("wins", wins), ("wins_first_half", first)) if f["high"] < 0]
        better = ["wins_first_half"] if first["low"] > 0 else []
    else:
        gain, deaths = (compare(environment, form, name) for name in ("return", "deaths"))
        if np.isnan(gain["mean"]):
            return ""
        worse = ["return"] if gain["high"] < 0 else []
        worse += ["deaths"] if deaths["low"] > 0 else []
        enough = deaths["mean"] <= FEWER * (deaths["mean"] - deaths["difference"])
        better = ["deaths"] if deaths["high"] < 0 and enough and not worse else []
    if worse:
        return f"worse: {', '.join(worse)}"
    return f"better: {', '.join(better)}" if better else "–"


def verdict_lines(
    study: dict[str, Any], played: list[str], reference: str, compare: Compare
) -> list[str]:
    """The section of the report: forms × environments, and what follows.

    Args:
        study: What was to be played.
        played: Environments of which the reference has been played.
        reference: The form that all are compared with.
        compare: See `verdict`.
    """
    lines = ["", "## Who earns its place", "", *RULE.splitlines(), ""]
    lines += [f"| form | {' | '.join(played)} | earns it |", "|" + "---|" * (2 + len(played))]
    for form in study["forms"]:
        if form == reference:
            continue
        found = [
            verdict(compare, e, form, study["environments"][e].get("judged_by") == "deaths")
            for e in played
        ]
        if any(found):
            lines += [f"| {form} | {' | '.join(found)} | {_earns(found, study)} |"]
    return lines


def _earns(found: list[str], study: dict[str, Any]) -> str:
    if any(each.startswith("worse") for each in found):
        return "no"
    if len(found) < len(study["environments"]) or not all(found):
        return "not all played"
    return "yes" if any(each.startswith("better") for each in found) else "no"
