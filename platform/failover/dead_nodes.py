"""The nodes that are dead, by the results of probes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class DeadNodes:
    """Nodes that have not responded in the last `rounds` rounds of probes.

    A node that has never responded is not among them: a firewall may drop the probes.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._silent_rounds: Counter[str] = Counter()
        self._alive: set[str] = set()
        self.names: set[str] = set()
        """The dead nodes."""

    def observe(self, responded: Mapping[str, bool]) -> None:
        """Add one round of probes: whether each node responded. Nodes that it does not name have left the cluster.

        If most of the nodes that were alive are silent, the fault is near this program. Then the round does not count.
        """
        self._alive &= responded.keys()
        self.names &= responded.keys()
        silent = {name for name in self._alive if not responded[name]}
        if 2 * len(silent) > len(self._alive):
            return
        for name in responded:
            if responded[name]:
                self._alive.add(name)
                self.names.discard(name)
                self._silent_rounds[name] = 0
        self._silent_rounds.update(silent)
        died = {name for name in silent if self._silent_rounds[name] >= self._rounds}
        self._alive -= died
        self.names |= died
