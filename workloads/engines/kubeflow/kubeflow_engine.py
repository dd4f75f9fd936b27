"""The engine `kubeflow`: versions, runs and recurring runs by the API of Kubeflow Pipelines."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.job_namespace import PODS

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import reachable_url
from workloads.engines.base import RunRequest, RunResult
from workloads.engines.kubeflow.kfp_client import KfpClient
from workloads.engines.kubeflow.kubeflow_package import STEPS_SECRET, uploaded
from workloads.engines.kubeflow.metadata import MetadataStore
from workloads.engines.kubeflow.progress import Progress
from workloads.engines.kubeflow.run_graph import RunGraph
from workloads.engines.kubeflow.run_pods import RUN_LABEL, RunPods

POLL_SECONDS = 2
ENDING_SECONDS = 300
"""How long a run that has taken too long may take to be ended."""
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
AT_ONCE = "2"
"""Runs of a schedule. With one, a run that has just ended still counts for a while, and the next is left out."""
OWN_RUN_ID = "{{workflow.uid}}"
"""As an argument of a run: its id in Kubeflow Pipelines, which puts it there when the run begins."""
WORKFLOWS = ("argoproj.io", "v1alpha1")
OF_A_PART = re.compile(r"child '.*' (failed|errored)")


class KubeflowEngine:
    """Versions and runs are those of Kubeflow Pipelines, in the experiment of the stack.

    Properties: `kubeconfig`; `namespace` of Kubeflow Pipelines; `api_selector`, `api_port`, `metadata_selector`,
    `metadata_port`, where its API server and its metadata are; `experiment`; `keep_runs`, `true` or `false`, whether
    runs outlive the version that they are of; and `directory`, where logs are kept on this computer.

    While a run is followed, a ConfigMap of the namespace has its id: an `up` that was killed leaves it there.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.api = KubernetesClient(properties["kubeconfig"])
        self.namespace, self.experiment = properties["namespace"], properties["experiment"]
        self.keep_runs = properties["keep_runs"] == "true"
        self.runs = Path(properties["directory"]) / "runs"
        self._properties = properties

    def upload(self, pipeline: str, version: str, package: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        text = uploaded(package, secrets, timeout_minutes)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        with self._server() as server:
            pipeline_id = _pipeline_id(server, pipeline)
            there = _version_id(server, pipeline_id, name)
            return f"{pipeline_id}/{there or _uploaded_version_id(server, pipeline_id, name, text)}"

    def remove(self, version_id: str) -> None:
        pipeline_id, version = version_id.split("/")
        with self._server() as server:
            if not self.keep_runs:
                experiment = self._experiment_id(server)
                for run in server.listed(server.runs.run_service_list_runs, "runs", experiment_id=experiment):
                    if (of := run.pipeline_version_reference) and of.pipeline_version_id == version:
                        server.ask(server.runs.run_service_delete_run, run.run_id, unless=404)
            delete = server.pipelines.pipeline_service_delete_pipeline_version
            server.ask(delete, pipeline_id, version, unless=404)
            versions = server.pipelines.pipeline_service_list_pipeline_versions
            gone = server.ask(server.pipelines.pipeline_service_get_pipeline, pipeline_id, unless=404) is None
            if not gone and not server.listed(versions, "pipeline_versions", pipeline_id):
                server.ask(server.pipelines.pipeline_service_delete_pipeline, pipeline_id, unless=404)

    def left_behind(self, pipeline: str, key: str) -> str | None:
        read = self.api.core.read_namespaced_config_map
        mark = self.api.none_if_missing(lambda: read(_mark_name(pipeline, key), self.namespace))
        if mark is None:
            return None
        run_id = str(mark.data["run_id"])
        with self._server() as server:
            run = self._run(server, run_id)
        return None if run and run.state in ("FAILED", "CANCELED") else run_id

    def run(self, request: RunRequest) -> RunResult:
        self._put_secret(request.secrets)
        mark = _mark_name(request.pipeline, request.key)
        self._put("config_map", {"metadata": {"name": mark, "labels": PODS}, "data": {"run_id": request.run_id}})
        with self._server() as server, self._metadata() as store:
            if self._run(server, request.run_id):
                pulumi.log.info(f"{request.pipeline}: following the run {request.run_id}, which an earlier `up` began")
            result = self._followed(server, store, self._begun(server, request), request)
        self.api.none_if_missing(lambda: self.api.core.delete_namespaced_config_map(mark, self.namespace))
        return result

    def schedule(
        self, pipeline: str, version_id: str, arguments: Mapping[str, Any], cron: str, secrets: Mapping[str, str]
    ) -> None:
        """Run a version again and again, with these arguments, by cron's six fields, instead of as it was scheduled."""
        import kfp_server_api as kfp  # type: ignore[import-untyped]

        self._put_secret(secrets)
        self.unschedule(pipeline)
        with self._server() as server:
            wanted = kfp.V2beta1RecurringRun(
                display_name=pipeline,
                experiment_id=self._experiment_id(server),
                pipeline_version_reference=_reference(version_id),
                runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(arguments)),
                trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=cron)),
                max_concurrency=AT_ONCE,
                no_catchup=True,
                mode=kfp.RecurringRunMode.ENABLE,
            )
            create = server.recurring_runs.recurring_run_service_create_recurring_run
            server.ask(lambda **options: self._recurring_runs(server, pipeline) or create(wanted, **options))

    def unschedule(self, pipeline: str) -> None:
        """Let it run no more by itself; a run that has begun goes on."""
        with self._server() as server:
            for there in self._recurring_runs(server, pipeline):
                delete = server.recurring_runs.recurring_run_service_delete_recurring_run
                server.ask(delete, there.recurring_run_id, propagation_policy="ORPHAN", unless=404)

    def _begun(self, server: KfpClient, request: RunRequest) -> str:
        """The run's id in Kubeflow Pipelines. A run whose making was not answered for is not made twice."""
        import kfp_server_api as kfp

        wanted = kfp.V2beta1Run(
            display_name=request.run_id,
            experiment_id=self._experiment_id(server),
            pipeline_version_reference=_reference(request.version_id),
            runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(request.arguments)),
        )
        create = server.runs.run_service_create_run
        run = server.ask(lambda **options: self._run(server, request.run_id) or create(wanted, **options))
        return str(run.run_id)

    def _run(self, server: KfpClient, run_id: str) -> Any:
        """The newest run that has our id as its name; None where there is none."""
        runs = server.listed(
            server.runs.run_service_list_runs, "runs", name=run_id, experiment_id=self._experiment_id(server)
        )
        return runs[0] if runs else None

    def _recurring_runs(self, server: KfpClient, pipeline: str) -> list[Any]:
        return server.listed(
            server.recurring_runs.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            name=pipeline,
            experiment_id=self._experiment_id(server),
        )

    def _followed(self, server: KfpClient, store: MetadataStore, run_id: str, request: RunRequest) -> RunResult:
        package = _package(server, request.version_id)
        deadline = time.monotonic() + 60 * request.timeout_minutes + ENDING_SECONDS
        progress = Progress(lambda line: pulumi.log.info(f"{request.pipeline}: {line}"))
        file = self.runs / request.run_id / "run.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as log:
            pods = RunPods(self.api, self.namespace, run_id, log)
            while True:
                run = server.ask(server.runs.run_service_get_run, run_id)
                record = RunGraph(package, store.executions(run_id))
                progress.update(record)
                pods.look({execution.id: record.name(execution) for execution in record.executions})
                if run.state in ENDED:
                    return self._result(run, record, store, pods, request.timeout_minutes, str(file))
                why = pods.why_stuck()
                if time.monotonic() > deadline:
                    why = f"it has taken more than {request.timeout_minutes} minutes, and Argo has not ended it"
                if why:
                    server.ask(server.runs.run_service_terminate_run, run_id)
                    raise UserError(f"the run {request.run_id} does not go on: {why}")
                time.sleep(POLL_SECONDS)

    def _result(
        self, run: Any, record: RunGraph, store: MetadataStore, pods: RunPods, timeout_minutes: int, log: str
    ) -> RunResult:
        artifacts = store.outputs(execution for execution in record.executions if record.is_step(execution))
        steps = record.steps(artifacts)
        if run.state == "SUCCEEDED":
            return RunResult("SUCCEEDED", record.outputs(artifacts), steps, log)
        failed = record.failed()
        unprepared, lines = pods.why_failed(failed.id if failed else None)
        if run.finished_at and (run.finished_at - run.created_at).total_seconds() >= 60 * timeout_minutes:
            lines.append(f"the run has taken more than {timeout_minutes} minutes, and was ended")
        return RunResult(
            state="FAILED",
            outputs={},
            steps=steps,
            log=log,
            failed_step=record.name(failed) if failed else unprepared,
            error="\n".join([*lines, *self._workflow_messages(run.run_id)] or [f"the run is {run.state}"]),
        )

    def _workflow_messages(self, run_id: str) -> Iterator[str]:
        """What Argo says about the whole run, as that it took too long; not that a part of it failed."""
        listed = self.api.custom.list_namespaced_custom_object
        select = {"label_selector": f"{RUN_LABEL}={run_id}"}
        found = self.api.retry(lambda: listed(*WORKFLOWS, self.namespace, "workflows", **select))["items"]
        messages = (str(workflow.get("status", {}).get("message", "")) for workflow in found)
        yield from (message for message in messages if message and not OF_A_PART.match(message))

    def _experiment_id(self, server: KfpClient) -> str:
        import kfp_server_api as kfp

        list_all = server.experiments.experiment_service_list_experiments
        wanted = kfp.V2beta1Experiment(display_name=self.experiment)
        found = server.listed(list_all, "experiments", name=self.experiment)
        if not found:
            server.ask(server.experiments.experiment_service_create_experiment, wanted, unless=409)
            found = server.listed(list_all, "experiments", name=self.experiment)
        if not found:
            raise UserError(f"Kubeflow Pipelines has an experiment {self.experiment} already, and does not show it")
        return str(found[0].experiment_id)

    def _put_secret(self, secrets: Mapping[str, str]) -> None:
        self._put("secret", {"metadata": {"name": STEPS_SECRET, "labels": PODS}, "stringData": dict(secrets)})

    def _put(self, kind: str, body: dict[str, Any]) -> None:
        create = getattr(self.api.core, f"create_namespaced_{kind}")
        replace = getattr(self.api.core, f"replace_namespaced_{kind}")
        if self.api.none_if_exists(lambda: create(self.namespace, body)) is None:
            self.api.retry(lambda: replace(body["metadata"]["name"], self.namespace, body))

    @contextmanager
    def _server(self) -> Iterator[KfpClient]:
        with reachable_url("", self._access("api")) as url:
            yield KfpClient(url)

    @contextmanager
    def _metadata(self) -> Iterator[MetadataStore]:
        with reachable_url("", self._access("metadata")) as url, MetadataStore(url.removeprefix("http://")) as store:
            yield store

    def _access(self, part: str) -> dict[str, str]:
        own = {what: self._properties[f"{part}_{what}"] for what in ("selector", "port")}
        return {"kubeconfig": self._properties["kubeconfig"], "namespace": self.namespace, **own}


def _pipeline_id(server: KfpClient, name: str) -> str:
    import kfp_server_api as kfp

    by_name = server.pipelines.pipeline_service_get_pipeline_by_name
    found = server.ask(by_name, name, unless=404)
    if found is None:
        wanted = kfp.V2beta1Pipeline(name=name, display_name=name)
        # Somebody else may have been faster.
        found = server.ask(server.pipelines.pipeline_service_create_pipeline, wanted, unless=409)
    return str((found or server.ask(by_name, name)).pipeline_id)


def _version_id(server: KfpClient, pipeline_id: str, name: str) -> str | None:
    versions = server.listed(
        server.pipelines.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline_id, name=name
    )
    return str(versions[0].pipeline_version_id) if versions else None


def _uploaded_version_id(server: KfpClient, pipeline_id: str, name: str, text: str) -> str | None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        upload = server.uploads.upload_pipeline_version
        made = server.ask(upload, file.name, name=name, display_name=name, pipelineid=pipeline_id, unless=409)
    return str(made.pipeline_version_id) if made else _version_id(server, pipeline_id, name)


def _package(server: KfpClient, version_id: str) -> Mapping[str, Any]:
    """The pipeline (IR) of a version, without what is for Kubernetes."""
    version = server.ask(server.pipelines.pipeline_service_get_pipeline_version, *version_id.split("/"))
    return dict(version.pipeline_spec.get("pipeline_spec", version.pipeline_spec))


def _reference(version_id: str) -> Any:
    from kfp_server_api import V2beta1PipelineVersionReference

    pipeline_id, version = version_id.split("/")
    return V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version)


def _mark_name(pipeline: str, key: str) -> str:
    return f"run-{pipeline[:40]}-{key[:16]}"
