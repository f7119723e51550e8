"""Stands for oxwhirl's package."""
