"""Changes of a model's champion, kept as tags of the registered model in MLflow.

MLflow keeps no history of an alias. Each change is one tag: the time is in the key, the rest in the value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

TAG_PREFIX, CANARY_PREFIX = "champion.", "canary."
"""Beginnings of the keys: of changes of the champion, and of canaries that were taken back."""
TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class ChampionChange:
    """Change of the version with the alias `champion`.

    Args:
        time: the time of the change, in UTC.
        version: the new champion; "" if the model lost its champion.
        reason: the decision that changed it.
        author: the user of `up`, or the pipeline run.
    """

    time: datetime
    version: str
    reason: str
    author: str

    def tag(self, prefix: str = TAG_PREFIX) -> tuple[str, str]:
        """Return key and value of the change's tag."""
        value = {"version": self.version, "reason": self.reason, "author": self.author}
        return prefix + self.time.astimezone(UTC).strftime(TIME_FORMAT), json.dumps(value, ensure_ascii=False)


def champion_changes(tags: Mapping[str, str], prefix: str = TAG_PREFIX) -> list[ChampionChange]:
    """Return the changes among the tags of a registered model, the oldest first. Tags of users are left out."""
    changes = (_read_change(key.removeprefix(prefix), tags[key]) for key in sorted(tags) if key.startswith(prefix))
    return [change for change in changes if change]


def _read_change(time: str, text: str) -> ChampionChange | None:
    try:
        return ChampionChange(datetime.strptime(time, TIME_FORMAT).replace(tzinfo=UTC), **json.loads(text))
    except (ValueError, TypeError):
        return None


def change_to(tags: Mapping[str, str], version: str, reason: str, author: str) -> ChampionChange | None:
    """Return the change to `version`, None if the newest change among the tags names the same version."""
    known = champion_changes(tags)
    if (known[-1].version if known else "") == version:
        return None
    return ChampionChange(datetime.now(UTC), version, reason, author)
