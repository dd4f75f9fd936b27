"""Pipelines and their versions in Kubeflow Pipelines."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from workloads.engines.kubeflow.kfp_client import KfpClient


def find_or_create_pipeline(kfp: KfpClient, name: str) -> str:
    """Return the id of the pipeline with this name."""
    import kfp_server_api  # type: ignore[import-untyped]

    get_by_name = kfp.pipelines.pipeline_service_get_pipeline_by_name
    pipeline = kfp.call(get_by_name, name, allowed_status=404)
    if pipeline is None:
        new_pipeline = kfp_server_api.V2beta1Pipeline(name=name, display_name=name)
        # 409: a concurrent `up` created it first.
        create = kfp.pipelines.pipeline_service_create_pipeline
        pipeline = kfp.call(create, new_pipeline, allowed_status=409)
    return str((pipeline or kfp.call(get_by_name, name)).pipeline_id)


def find_version(kfp: KfpClient, pipeline_id: str, name: str) -> str | None:
    """Return the id of the version of a pipeline with this name; None without one."""
    list_versions = kfp.pipelines.pipeline_service_list_pipeline_versions
    versions = kfp.list_all(list_versions, "pipeline_versions", pipeline_id, name=name)
    return str(versions[0].pipeline_version_id) if versions else None


def upload_version(kfp: KfpClient, pipeline_id: str, name: str, package: str) -> str | None:
    """Upload a package as a version of a pipeline, and return its id."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(package)
        file.flush()
        names = {"name": name, "display_name": name, "pipelineid": pipeline_id}
        version = kfp.call(kfp.uploads.upload_pipeline_version, file.name, **names, allowed_status=409)
    return str(version.pipeline_version_id) if version else find_version(kfp, pipeline_id, name)


def uploaded_pipeline(kfp: KfpClient, version_id: str) -> Mapping[str, Any]:
    """Return the pipeline (IR) of a version, without its document for Kubernetes."""
    version = kfp.call(kfp.pipelines.pipeline_service_get_pipeline_version, *version_id.split("/"))
    return dict(version.pipeline_spec.get("pipeline_spec", version.pipeline_spec))


def version_reference(version_id: str) -> Any:
    """Return the reference to a version, `<pipeline id>/<version id>`, for a run or a schedule."""
    from kfp_server_api import V2beta1PipelineVersionReference

    pipeline_id, version = version_id.split("/")
    return V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version)
