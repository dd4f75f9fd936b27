"""A pipeline's package as Kubeflow Pipelines takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from workloads.engines.job.manifests import RESOURCES

STEPS_SECRET = "pipeline-steps"
"""The secret of the namespace with the environment that all steps have in common."""


def uploaded(package: str, secrets: Sequence[str], timeout_minutes: int) -> str:
    """The package (IR YAML) with what it does not say itself about where it runs.

    Every step gets the keys `secrets` of the steps' secret as environment variables, requests and limits of its own; a
    run that takes longer than `timeout_minutes` is ended. The second of the two documents is the one for Kubernetes.
    """
    pipeline, *more = (document for document in yaml.safe_load_all(package) if document)
    platform: dict[str, Any] = more[0] if more else {}
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    steps = kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
    for name, executor in pipeline["deploymentSpec"]["executors"].items():
        if container := executor.get("container"):
            container.setdefault("resources", _resources())
            if secrets:
                steps.setdefault(name, {}).setdefault("secretAsEnv", []).append(_environment(secrets))
    kubernetes.setdefault("pipelineConfig", {}).setdefault("activeDeadlineSeconds", 60 * timeout_minutes)
    return str(yaml.safe_dump_all([pipeline, platform]))


def _resources() -> dict[str, str]:
    return {
        f"resource{what.capitalize()}{kind}": RESOURCES[of][what]
        for of, kind in (("requests", "Request"), ("limits", "Limit"))
        for what in ("cpu", "memory")
    }


def _environment(secrets: Sequence[str]) -> dict[str, Any]:
    return {
        "secretNameParameter": {"runtimeValue": {"constant": STEPS_SECRET}},
        "keyToEnv": [{"secretKey": name, "envVar": name} for name in secrets],
    }
