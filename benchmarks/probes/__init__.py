"""What is measured, each in a process of its own; see `benchmarks/child.py` for the interface."""
