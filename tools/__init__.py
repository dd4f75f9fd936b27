"""Programs that `make` and CI run."""
