"""What pysc2 raises when the game does not answer, and how long it waits."""

from absl import flags

flags.DEFINE_integer("sc2_timeout", 360, "Timeout to connect and wait for rpc responses.")


class ConnectError(Exception):
    pass


class RequestError(Exception):
    pass
