"""What pysc2 raises when the game does not start."""


class SC2LaunchError(Exception):
    pass
