"""A hyper-parameter optimiser that has the name."""
