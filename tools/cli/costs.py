"""What the resources of a preview would cost, as far as a price list tells."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.toml")


def hints(resources: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Costs a month, and what no price is known of; nothing where no cloud is used.

    A resource is its type without its package, and its states before and after, empty where it is not there.
    """
    prices = tomllib.loads(PRICES.read_text())
    before, after = (
        [_priced(kind, state.get("inputs") or {}, prices) for kind, *states in resources if (state := states[which])]
        for which in (0, 1)
    )
    now, then = (sum(price for price, _ in side) for side in (before, after))
    unpriced = sorted({name for _, missing in after for name in missing})
    if not (now or then or unpriced):
        return []
    change = f" (now ${now:,.0f})" if round(now) not in (0, round(then)) else ""
    missing = [f"without {', '.join(unpriced)}, of which no price is known here"] if unpriced else []
    return [f"about ${then:,.0f} a month{change}", *missing, str(prices["source"])]


def _priced(kind: str, inputs: Mapping[str, Any], prices: Mapping[str, Any]) -> tuple[float, list[str]]:
    """The price a month, and what of it is not in the list."""
    match kind:
        case "compute:VirtualMachine":
            system = _at(inputs, "storageProfile", "osDisk")
            parts = [
                _machines(_at(inputs, "hardwareProfile", "vmSize"), 1, prices),
                _disk(_at(system, "managedDisk", "storageAccountType"), _at(system, "diskSizeGB"), prices),
            ]
        case "containerservice:ManagedCluster":
            pools = _at(inputs, "agentPoolProfiles") or []
            parts = [_machines(_at(pool, "vmSize"), _at(pool, "count"), prices) for pool in pools]
        case "compute:Disk":
            parts = [_disk(_at(inputs, "sku", "name"), _at(inputs, "diskSizeGB"), prices)]
        case _:
            parts = [(prices["others"].get(kind, 0.0), [])]
    return sum(price for price, _ in parts), [name for _, missing in parts for name in missing]


def _machines(size: Any, count: Any, prices: Mapping[str, Any]) -> tuple[float, list[str]]:
    if size not in prices["machines"] or not isinstance(count, int | float):
        return 0.0, [str(size or "a machine of no known size")]
    return count * prices["machines"][size], []


def _disk(sku: Any, gibibytes: Any, prices: Mapping[str, Any]) -> tuple[float, list[str]]:
    """The next size that there is; larger ones cost at least what the largest here does."""
    if sku not in prices["disks"] or not isinstance(gibibytes, int | float):
        return 0.0, [str(sku or "a disk of no known size")]
    sizes = prices["disks"][sku]
    return float(next((price for size, price in sizes if gibibytes <= size), sizes[-1][1])), []


def _at(value: Any, *path: str) -> Any:
    """What is there; None where something on the way is missing or not known yet."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
