"""A step for its own sake."""

from workloads.components import component


@component
def do_nothing() -> None:
    """Ends well wherever steps can be run."""
