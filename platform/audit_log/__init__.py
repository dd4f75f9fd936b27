"""The audit log of a stack: a program in its pod, with Python's standard library alone."""
