"""In a child of the doctor: whether the compiled code can be built and loaded."""

from __future__ import annotations

import warnings

from rllib_dbf.cli.checkups.child import begin
from rllib_dbf.cli.checkups.finding import brief


def main() -> None:
    """Tell it as `found` and `reason`."""
    _, tell = begin()
    try:
        from rllib_dbf.compiled.library import library

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            functions, reason = library()
    except Exception as error:  # a switch of another value, a broken Torch
        tell(error=brief(error))
        return
    tell(found=functions is not None, reason=reason)


if __name__ == "__main__":
    main()
