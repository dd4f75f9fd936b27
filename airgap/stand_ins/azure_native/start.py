"""Starts the provider; its modules are a package, so that none of their names hides one of a library."""

import runpy

runpy.run_module("resource_azure_native.server", run_name="__main__", alter_sys=True)
