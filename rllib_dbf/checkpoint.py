"""Reading a team's policy back from a checkpoint, without starting Ray."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rllib_dbf.module import TeamRLModule

_MODULE = Path("learner_group", "learner", "rl_module", "default_policy")
_ARGUMENTS = "class_and_ctor_args.pkl"


class CheckpointError(ValueError):
    """A path that is no usable team checkpoint; the message says why and what to do."""


class TrainedTeam(NamedTuple):
    """What a checkpoint says about acting: the module, and the task it was trained on."""

    module: TeamRLModule
    preset: str
    env: str
    env_options: dict[str, Any]


def load_team(path: str | Path) -> TrainedTeam:
    """Load the acting part of a checkpoint written by any preset.

    Raises:
        CheckpointError: If the path does not exist, holds no checkpoint, is damaged, or was
            written by another algorithm.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a checkpoint or a run directory")
    if not (path / _ARGUMENTS).is_file():
        raise CheckpointError(
            f"{path} holds no checkpoint (no {_ARGUMENTS}); give a directory such as "
            "RUN/…/checkpoint_000000"
        )
    from rllib_dbf.module import TeamRLModule

    config = read_config(path)
    if "preset" not in config:
        name = config.get("algo_class", "another algorithm")
        raise CheckpointError(f"{path} was written by {name}, not by a team algorithm")
    try:
        module = TeamRLModule.from_checkpoint((path / _MODULE).absolute())
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} is damaged: its module cannot be read ({type(error).__name__}: {error}); "
            "use an earlier checkpoint of the run"
        ) from error
    assert isinstance(module, TeamRLModule)
    return TrainedTeam(
        module, config["preset"], config["env"], dict(config.get("env_config") or {})
    )


def read_config(path: Path) -> dict[str, Any]:
    """The configuration, as a dictionary, that any RLlib checkpoint was written with.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with (path / _ARGUMENTS).open("rb") as file:
            content = pickle.load(file)
        (state, *_), _ = content["ctor_args_and_kwargs"]
        return dict(state)
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} is damaged: {_ARGUMENTS} cannot be read ({type(error).__name__}: {error}); "
            "use an earlier checkpoint of the run"
        ) from error


# Whatever unpickling and loading a truncated or foreign file may raise.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    RuntimeError,
    pickle.UnpicklingError,
    json.JSONDecodeError,
)
