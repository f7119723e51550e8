"""Which terminations are deaths, where the environment does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rllib_dbf.envs.agents_task import Ending
from rllib_dbf.named_object import is_path, load_object

DEATHS = {
    "game_goes_on": "who terminates while the game goes on for others died",
    "all": "every termination is a death, also at the end of the game",
    "none": "nobody dies",
}
"""Words for `deaths`; "module:function" names a function(agent, info, game_over, env) -> bool."""

Died = Callable[[Any, Mapping[str, Any], bool, Any], bool]


class TerminationRules:
    """Deaths by a word or a function; nothing is won.

    Args:
        deaths: A word of `DEATHS`, "module:function", or the function itself.

    Raises:
        ValueError: If it is none of these.
    """

    has_win = False

    def __init__(self, deaths: str | Died) -> None:
        if isinstance(deaths, str) and not is_path(deaths) and deaths not in DEATHS:
            raise ValueError(
                f"deaths={deaths!r} is unknown; choose from {', '.join(DEATHS)}, or name a "
                "function(agent, info, game_over, env) -> bool as module:function"
            )
        self.reports_deaths = deaths != "none"
        self._word = deaths if isinstance(deaths, str) else ""
        self._ask: Died | None = None if isinstance(deaths, str) else deaths
        if is_path(self._word):
            self._ask = load_object(self._word)

    def died(self, agent: Any, info: Mapping[str, Any], game_over: bool, env: Any) -> bool:
        """Whether the agent's termination is a death."""
        if self._ask is not None:
            return bool(self._ask(agent, info, game_over, env))
        return self._word == "all" or (self._word == "game_goes_on" and not game_over)

    def outcome(self, ending: Ending) -> str:
        """The end of the game, or nothing."""
        return "end" if ending.over else ""
