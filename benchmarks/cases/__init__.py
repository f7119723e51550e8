"""One file per benchmark: its docstring says what it measures, `contestants` who takes part."""
