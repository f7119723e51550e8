"""The compiled code, which needs a C compiler."""

from __future__ import annotations

from rllib_dbf.cli.checkups.child import ask
from rllib_dbf.cli.checkups.finding import Finding, brief

_CHECK = "compiled code"


def check_compiled(limit: float) -> Finding:
    """Whether it is there; without it PyTorch and JAX do the work, two to four times as slowly."""
    answer = ask("rllib_dbf.cli.checkups.try_compiled", limit)
    found, reason = answer.last("found", None), answer.last("reason", "")
    if answer.end or found is None:
        remedy = "unset RLLIB_DBF_COMPILED, or set it to 0 or 1"
        return Finding(_CHECK, "broken", f"it could not be tried: {brief(answer.why())}", remedy)
    if found:
        return Finding(_CHECK, "ok", reason)
    if "switched off" in reason:
        return Finding(_CHECK, "warning", reason, "unset RLLIB_DBF_COMPILED")
    remedy = "install gcc or clang (Debian: apt install gcc libc6-dev), or name one in CC"
    return Finding(_CHECK, "warning", reason, remedy)
