"""The number of control planes of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

NUMBERS = (1, 3, 5)
REASON = "set 1, 3 or 5: etcd needs more than half of its members, so an even number survives no more failures"


def _check_number(number: int) -> int:
    if number not in NUMBERS:
        raise ValueError(REASON)
    return number


ControlPlanes = Annotated[int, AfterValidator(_check_number)]
"""Number of machines with a control plane."""


def check_control_planes(names: Sequence[str]) -> None:
    """Check the number of machines that have the role control-plane.

    Raises:
        ValueError: the number is not allowed.
    """
    if len(names) not in NUMBERS:
        raise ValueError(f"machines: {len(names)} have role: control-plane ({', '.join(names) or 'none'}); {REASON}")
