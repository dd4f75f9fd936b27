"""Configuration file of JupyterHub, which defines `c` before it runs this file."""

from mlplatform.notebook_hub.hub_configuration import configure

configure(c)  # type: ignore[name-defined]  # noqa: F821
