"""Plan of faults: a seed determines which fault happens to which machine, when, and for how long."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kind of a fault, as the report names it."""

    CRASH = "crash"
    POWER_CUT = "power cut"
    PAUSE = "pause"
    PARTITION = "partition"
    SLOW_NETWORK = "slow network"
    SLOW_DISK = "slow disk"
    FULL_DISK = "full disk"
    LOST_CERTIFICATE = "lost certificate"
    DNS_LOSS = "DNS loss"


DURATIONS = {
    Kind.CRASH: (5, 60),
    Kind.POWER_CUT: (5, 60),
    Kind.PAUSE: (5, 60),
    Kind.PARTITION: (5, 60),
    Kind.SLOW_NETWORK: (20, 60),
    Kind.SLOW_DISK: (20, 60),
    Kind.FULL_DISK: (20, 40),
    Kind.LOST_CERTIFICATE: (1, 1),
    Kind.DNS_LOSS: (10, 30),
}
"""Shortest and longest duration in seconds."""
OF_CLUSTER = {Kind.DNS_LOSS}
"""Kinds that happen to no single machine."""
RECOVERY_SECONDS = 30
"""Shortest time between the end of a fault and the next one. Two machines with copies of the same data must not be lost
together, so that no two faults overlap. The run also waits until everything is Ready."""


@dataclass(frozen=True)
class Fault:
    """A fault. `machine` is "" for a fault of the whole cluster; times are in seconds since the begin of the run."""

    kind: Kind
    machine: str
    begin: float
    seconds: float

    @property
    def end(self) -> float:
        """Time at which the cause of the fault ends."""
        return self.begin + self.seconds

    def __str__(self) -> str:
        return f"{self.kind} of {self.machine}" if self.machine else str(self.kind)


def plan_faults(seed: int, seconds: float, machines: Sequence[str], small_disk: str) -> list[Fault]:
    """Return the faults of a run. Each kind happens before any happens again.

    Args:
        seed: equal seeds give equal plans.
        seconds: duration of the run.
        machines: names of all machines.
        small_disk: the machine whose disk can become full: the others share the disk of this computer.
    """
    generator = random.Random(seed)
    faults: list[Fault] = []
    begin = float(RECOVERY_SECONDS)
    for kind in _kinds(generator):
        duration = float(generator.randint(*DURATIONS[kind]))
        machine = small_disk if kind == Kind.FULL_DISK else generator.choice(machines)
        if begin + duration + RECOVERY_SECONDS > seconds:
            return faults
        faults.append(Fault(kind, "" if kind in OF_CLUSTER else machine, begin, duration))
        begin += duration + RECOVERY_SECONDS
    raise AssertionError("the kinds never end")


def _kinds(generator: random.Random) -> Iterator[Kind]:
    while True:
        yield from generator.sample(list(Kind), len(Kind))
