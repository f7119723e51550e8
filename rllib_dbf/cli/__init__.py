"""The `rllib` command; Ray, Torch and JAX are imported inside commands only."""
