"""Settings of one pipeline: schedule, gate, and search for parameters."""
