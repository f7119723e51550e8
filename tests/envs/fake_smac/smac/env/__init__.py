"""Has what SMAC has here, and protobuf's trouble with pysc2's message definitions."""

from google.protobuf.internal import api_implementation

from tests.envs.sc2_stub import StarCraft2Env

if api_implementation.Type() != "python":
    raise TypeError("Descriptors cannot be created directly.")

__all__ = ["StarCraft2Env"]
