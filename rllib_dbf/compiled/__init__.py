"""Code in C: built on the machine it runs on, and called through ctypes."""
