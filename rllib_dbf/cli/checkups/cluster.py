"""Ray: whether it starts here or lets this machine join, and what its nodes have installed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rllib_dbf.cli.checkups.child import GIVEN_UP, ask
from rllib_dbf.cli.checkups.finding import Finding, brief

_REFUSED = "InvalidAuthToken"
_SILENT = "Failed to connect to GCS"
_TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or ~/.ray/auth_token) to the cluster's token"


def check_ray(limit: float) -> Iterator[Finding]:
    """Start or join, in a process of its own, and ask every node; `limit` seconds for each."""
    address = os.environ.get("RAY_ADDRESS", "")
    joins = address not in ("", "local")
    answer = ask(
        "rllib_dbf.cli.checkups.try_ray",
        2.0 * limit,
        give_up_on=(_SILENT, _REFUSED) if joins else (),
        address=address,
        seconds=limit,
    )
    findings = [Finding(**line["finding"]) for line in answer.told if "finding" in line]
    yield from findings
    if not any(finding.check == "ray cluster" for finding in findings):
        yield _failure(answer.noise, answer.why(), address if joins else "")
    elif answer.end:
        yield Finding("ray nodes", "broken", f"not all were asked: {answer.end}", "ray status")


def _failure(noise: str, why: str, address: str) -> Finding:
    """Why Ray is not to be had, in one line."""
    check = "ray cluster"
    if any(
        sign in f"{noise} {why}" for sign in (_REFUSED, "Unauthenticated", "AuthenticationError")
    ):
        what = f"{address} refuses" if address else "Ray refuses"
        detail = f"{what} this machine: the authentication token is missing or wrong"
        return Finding(check, "broken", detail, _TOKEN)
    if not address:
        detail = f"Ray does not start: {brief(why or 'it ended without a word')}"
        remedy = "see the logs in Ray's temporary folder, /tmp/ray/session_latest/logs"
        return Finding(check, "broken", detail, remedy)
    if why == GIVEN_UP:
        why = "nothing there answers as a cluster of Ray's does"
    detail = f"RAY_ADDRESS={address} cannot be joined: {brief(why)}"
    return Finding(check, "broken", detail, "start that cluster, or unset RAY_ADDRESS")
