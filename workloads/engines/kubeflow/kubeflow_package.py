"""Package of a pipeline in the form that Kubeflow Pipelines runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from workloads.engines.job.job_manifests import RESOURCES

STEPS_SECRET = "pipeline-steps"
"""Secret of the namespace with the environment variables of all steps."""


def kubeflow_package(ir: str, secrets: Sequence[str], timeout_minutes: int) -> str:
    """Return a package (IR YAML) with the settings that only Kubeflow Pipelines needs.

    Each step gets environment variables from the keys `secrets` of the steps' secret. Steps and runs without requests,
    limits or a timeout in the package get the defaults. The second document of the result is for Kubernetes.
    """
    pipeline, *more = (document for document in yaml.safe_load_all(ir) if document)
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
        f"resource{resource.capitalize()}{suffix}": RESOURCES[kind][resource]
        for kind, suffix in (("requests", "Request"), ("limits", "Limit"))
        for resource in ("cpu", "memory")
    }


def _environment(secrets: Sequence[str]) -> dict[str, Any]:
    return {
        "secretNameParameter": {"runtimeValue": {"constant": STEPS_SECRET}},
        "keyToEnv": [{"secretKey": name, "envVar": name} for name in secrets],
    }
