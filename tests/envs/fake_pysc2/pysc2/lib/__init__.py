"""Stands for pysc2."""
