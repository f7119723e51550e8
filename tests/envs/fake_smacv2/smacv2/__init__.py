"""Stands for SMACv2."""
