"""There is such a folder."""
