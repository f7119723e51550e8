"""The `rllib` command (placeholder)."""


def main() -> None:
    """Run it."""
    raise SystemExit("rllib: under construction")
