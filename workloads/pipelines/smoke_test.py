"""The smallest pipeline: it fails only where no pipeline can run."""

from kfp import dsl

from workloads.components import load_component

do_nothing = load_component("do_nothing")


@dsl.pipeline(name="smoke-test")
def smoke_test() -> None:
    """Run one step that does nothing."""
    do_nothing().set_caching_options(False)
