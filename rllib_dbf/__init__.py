"""Cooperative multi-agent reinforcement learning with deaths, for RLlib."""
