"""Plan of a retention: the runs and model versions that the rules of the settings do not keep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from settings.services.retention import KeepRuleSettings

Record = TypeVar("Record")


@dataclass(frozen=True)
class Kept:
    """Items that stay whatever the rules say: ids of runs in MLflow or of their pipelines, and names as `iris/3`."""

    runs: Collection[str]
    versions: Collection[str]


@dataclass(frozen=True)
class RunRecord:
    """Run in MLflow.

    Args:
        parent: the id of the run that it is a part of, or "".
        active: True until the run ends.
        hidden: True if a person has deleted it in MLflow, which hides a run and leaves its files.
    """

    id: str
    pipeline: str
    started: datetime
    parent: str = ""
    active: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class VersionRecord:
    """Version of a model, and the run that registered it, or ""."""

    model: str
    version: str
    created: datetime
    run: str = ""
    aliased: bool = False

    @property
    def name(self) -> str:
        """Return the name, as in `iris/3`."""
        return f"{self.model}/{self.version}"


def outdated_versions(
    versions: Iterable[VersionRecord], rule: KeepRuleSettings | None, kept: Kept, now: datetime
) -> list[VersionRecord]:
    """Return the versions to delete; the newest version of a model is always kept."""
    if rule is None:
        return []
    grouped = _newest_first(versions, group=lambda each: each.model, time=lambda each: each.created)
    return [
        each
        for rank, each in grouped
        if rank and not each.aliased and each.name not in kept.versions and _is_outdated(rule, rank, each.created, now)
    ]


def outdated_runs(
    runs: Iterable[RunRecord], rule: KeepRuleSettings | None, kept: Kept, now: datetime
) -> list[RunRecord]:
    """Return the runs to delete; the runs of a parent go and stay with it."""
    if rule is None:
        return []
    records = list(runs)
    needed = {*kept.runs, *(each.id for each in records if each.active)}
    needed |= {each.parent for each in records if each.id in needed}
    known = {each.id for each in records}
    alone = [each for each in records if each.parent not in known]
    grouped = _newest_first(alone, group=lambda each: each.pipeline, time=lambda each: each.started)
    outdated = {
        each.id
        for rank, each in grouped
        if rank and each.id not in needed and _is_outdated(rule, rank, each.started, now)
    }
    return [each for each in records if each.id in outdated or each.parent in outdated]


def _is_outdated(rule: KeepRuleSettings, rank: int, time: datetime, now: datetime) -> bool:
    young = rule.days is not None and now - time <= timedelta(days=rule.days)
    new = rule.newest is not None and rank < rule.newest
    return not young and not new


def _newest_first(
    items: Iterable[Record], group: Callable[[Record], str], time: Callable[[Record], datetime]
) -> Iterator[tuple[int, Record]]:
    """Yield each item with its rank in its group, which is 0 for the newest."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for item in items:
        groups[group(item)].append(item)
    for members in groups.values():
        yield from enumerate(sorted(members, key=time, reverse=True))
