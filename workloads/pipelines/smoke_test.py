"""Whether pipelines can be run at all, before any that is of use."""

from kfp import dsl

from workloads.components import load

do_nothing = load("do_nothing")


@dsl.pipeline(name="smoke-test", description="Can pipelines be run here?")
def smoke_test() -> None:
    do_nothing().set_caching_options(False)
