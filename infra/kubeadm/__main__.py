"""Local steps: `python -m infra.kubeadm ACTION`, with a request as JSON on standard input.

pulumi-command runs it on the computer that runs Pulumi; `infra.kubeadm.step` defines the requests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from infra.errors import UserError
from infra.kubeadm.init import find
from infra.kubeadm.join import join, join_control_plane_now, leave
from infra.kubeadm.ready import ready
from infra.kubeadm.reconcile import reconcile
from infra.kubeadm.reset import reset
from infra.kubeadm.step import (
    AddressRequest,
    ControlPlaneRequest,
    MachineRequest,
    NodeRequest,
    ReconcileRequest,
    VersionRequest,
)
from infra.kubeadm.upgrade import upgrade
from infra.kubeadm.virtual_address import give_up, hold

R = TypeVar("R", bound=MachineRequest)


@dataclass(frozen=True)
class Action(Generic[R]):
    """A function and the type of its request."""

    run: Callable[[R], None]
    request: type[R]

    def __call__(self, json: str) -> None:
        """Parse the request and run the function."""
        self.run(TypeAdapter(self.request).validate_json(json))


ACTIONS: dict[str, Callable[[str], None]] = {
    "hold-address": Action(hold, AddressRequest),
    "give-address-up": Action(give_up, AddressRequest),
    "find-cluster": Action(find, NodeRequest),
    "upgrade": Action(upgrade, VersionRequest),
    "reconcile": Action(reconcile, ReconcileRequest),
    "join": Action(join, NodeRequest),
    "join-control-plane": Action(join_control_plane_now, ControlPlaneRequest),
    "leave": Action(leave, NodeRequest),
    "ready": Action(ready, VersionRequest),
    "reset": Action(reset, MachineRequest),
}


def main() -> int:
    """Run one action; return the exit code."""
    try:
        ACTIONS[sys.argv[1]](sys.stdin.read())
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
