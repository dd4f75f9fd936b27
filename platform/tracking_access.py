"""Access from this computer to an MLflow server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from infra.kubernetes_client.port_forward import PodTarget

Text = TypeVar("Text")
"""`pulumi.Input[str]` in the Pulumi program, `str` in a resource provider."""


@dataclass(frozen=True)
class TrackingAccess(Generic[Text]):
    """Address and credentials of an MLflow server.

    Args:
        url: the address of the server for a person.
        username, password: None for a server without authentication.
        pod: the target of a port-forward; None if this computer reaches `url` itself.
    """

    url: Text
    username: Text | None = None
    password: Text | None = None
    pod: PodTarget[Text] | None = None

    @property
    def login(self) -> tuple[Text, Text] | None:
        """Return username and password; None for a server without authentication."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password

    def inputs(self) -> dict[str, Any]:
        """Return the access as an input of a resource, and as the stack output `tracking_access`."""
        inputs: dict[str, Any] = {"url": self.url}
        if self.login:
            inputs |= {"username": self.username, "password": self.password}
        if self.pod:
            inputs |= {**vars(self.pod), "port": str(self.pod.port)}
        return inputs


def parse_tracking_access(inputs: Mapping[str, str]) -> TrackingAccess[str]:
    """Return the access from the input of a resource or from a stack output."""
    pod = None
    if "kubeconfig" in inputs:
        pod = PodTarget(inputs["kubeconfig"], inputs["namespace"], inputs["selector"], int(inputs["port"]))
    return TrackingAccess(inputs["url"], inputs.get("username"), inputs.get("password"), pod)
