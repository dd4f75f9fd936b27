"""Settings of the temporary stack of a drill: it reads and changes nothing that the original has."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from infra.local.free_ports import free_ports
from tools.cli.rehearsal.rehearsal_settings import OWN_FIELDS, PIPELINES, TEAMS, keep_pipelines

BLOBS, S3 = "platform:blobs", "platform:s3"
OWN = ("platform:backup", "platform:backup_identity", "platform:keep", "workloads:models_from")
"""Settings of a stack on this computer that its drill does not have: nothing of it is kept."""


def local_drill_settings(written: Mapping[str, Any], grpc: bool) -> dict[str, Any]:
    """Return the settings of a stack on this computer, on free ports and with an emulator in place of its account.

    Args:
        written: the settings of the original by `namespace:name`.
        grpc: True if the original serves gRPC.
    """
    settings = {name: copy.deepcopy(value) for name, value in written.items() if name not in OWN}
    pipelines = settings.get(PIPELINES) or {}
    with_ports = [pipeline for pipeline in pipelines.values() if pipeline and pipeline.get("port")]
    tracking, blobs, serving, grpc_port, *ports = free_ports(4 + len(with_ports))
    settings["platform:tracking"] = {**(settings.get("platform:tracking") or {}), "port": tracking}
    if settings.get(BLOBS) is not None:
        kept = {name: value for name, value in settings[BLOBS].items() if name not in OWN_FIELDS[BLOBS]}
        settings[BLOBS] = {**kept, "port": blobs}
    settings["serving:port"] = serving
    if grpc:
        settings["serving:grpc_port"] = grpc_port
    for pipeline, port in zip(with_ports, ports, strict=True):
        pipeline["port"] = port
    return settings


def without_runs(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without schedules, S3 stores, and the pipelines that serve no model.

    A restored stack serves the champions of its backup. Other pipelines would run, and could replace what the original
    has written outside of it.
    """
    settings = {name: copy.deepcopy(value) for name, value in written.items() if name != S3}
    for team in (settings.get(TEAMS) or {}).values():
        team.pop("s3", None)
    keep_pipelines(settings, _serves)
    for pipeline in (settings.get(PIPELINES) or {}).values():
        pipeline.pop("schedule", None)
    return settings


def _serves(pipeline: Mapping[str, Any] | None) -> bool:
    return bool(pipeline and pipeline.get("serve"))
