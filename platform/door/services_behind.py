"""Services behind the door: pages with their logins, served models, schedules, teams and the trial of a canary."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from mlplatform.door.door_routes import PublishedModel
from mlplatform.monitoring.canary_trial import CanaryTrial

from settings.services.team_settings import TeamSettings


@dataclass(frozen=True)
class Page:
    """A service with pages behind the door.

    Args:
        namespace: its namespace.
        address: `host:port` for pods.
        username, password: its login; None for MLflow, which gets the name and role of the caller instead.
        path: the path of its first page.
    """

    namespace: str
    address: str
    username: str = ""
    password: pulumi.Output[str] | None = None
    path: str = "/"

    @property
    def login(self) -> pulumi.Output[str]:
        """Return the header Authorization of a request."""
        password = self.password or pulumi.Output.from_input("")
        return password.apply(lambda word: "Basic " + base64.b64encode(f"{self.username}:{word}".encode()).decode())


@dataclass(frozen=True)
class Behind:
    """Services behind a door: pages by area, served models, schedules by pipeline, and the teams that own them.

    `trial` is the measured trial of a canary.
    """

    pages: Mapping[str, Page]
    models: Mapping[str, PublishedModel]
    schedules: Mapping[str, str]
    teams: Mapping[str, TeamSettings] = field(default_factory=dict)
    trial: CanaryTrial | None = None
