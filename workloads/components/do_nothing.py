"""An empty step."""

from workloads.components import component


@component
def do_nothing() -> None:
    """Succeed wherever steps can run."""
