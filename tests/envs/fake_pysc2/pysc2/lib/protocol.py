"""What pysc2 raises while it speaks with the game."""


class ConnectionError(Exception):
    pass


class ProtocolError(Exception):
    pass
