"""Engine for Kubeflow Pipelines: versions, runs and recurring runs through its API."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.engine_config import KubeflowEngineConfig
from mlplatform.job_namespace import PODS

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from workloads.engines.base import RunRequest, RunResult, RunState, ScheduleRequest, SchedulingEngine, timeout_error
from workloads.engines.kubeflow.kfp_client import KfpClient, KfpRunState, run_state
from workloads.engines.kubeflow.kubeflow_package import STEPS_SECRET, kubeflow_package
from workloads.engines.kubeflow.metadata import MetadataStore
from workloads.engines.kubeflow.pipeline_versions import (
    find_or_create_pipeline,
    find_version,
    upload_version,
    uploaded_pipeline,
    version_reference,
)
from workloads.engines.kubeflow.run_graph import RunGraph
from workloads.engines.kubeflow.run_markers import RunMarkers
from workloads.engines.kubeflow.run_pods import RUN_LABEL, RunPods
from workloads.engines.kubeflow.run_progress import RunProgress
from workloads.engines.step_progress import StepProgress

POLL_SECONDS = 2
STOP_SECONDS = 300
"""Timeout for Argo to stop a run that exceeded its own timeout."""
MAX_CONCURRENCY = "2"
"""Concurrent runs of a schedule. A finished run counts for a while: with 1, the scheduler would skip the next run."""
WORKFLOWS = ("argoproj.io", "v1alpha1")
CHILD_FAILED = re.compile(r"child '.*' (failed|errored)")


class KubeflowEngine(SchedulingEngine):
    """Engine with versions, runs and schedules in Kubeflow Pipelines, in one experiment for each stack.

    After a killed `up`, the next one resumes the unfinished run by its marker.
    """

    scheduled_run_id = "{{workflow.uid}}"

    def __init__(self, config: KubeflowEngineConfig[str]) -> None:
        self.api = KubernetesClient(config.kubeconfig)
        self.namespace = config.namespace
        self.runs = Path(config.directory) / "runs"
        self._config = config
        self._markers = RunMarkers(self.api, self.namespace)

    def upload(self, pipeline: str, version: str, ir: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        """Upload a package and return `<pipeline id>/<version id>`."""
        package = kubeflow_package(ir, secrets, timeout_minutes)
        name = hashlib.sha256(package.encode()).hexdigest()[:12]
        with self._kfp() as kfp:
            pipeline_id = find_or_create_pipeline(kfp, pipeline)
            version_id = find_version(kfp, pipeline_id, name) or upload_version(kfp, pipeline_id, name, package)
            return f"{pipeline_id}/{version_id}"

    def remove(self, version_id: str) -> None:
        """Delete a version, and the pipeline after its last version."""
        pipeline_id, version = version_id.split("/")
        with self._kfp() as kfp:
            if not self._config.keep_runs:
                experiment = self._experiment_id(kfp)
                for run in kfp.list_all(kfp.runs.run_service_list_runs, "runs", experiment_id=experiment):
                    if (of := run.pipeline_version_reference) and of.pipeline_version_id == version:
                        kfp.call(kfp.runs.run_service_delete_run, run.run_id, allowed_status=404)
            delete = kfp.pipelines.pipeline_service_delete_pipeline_version
            kfp.call(delete, pipeline_id, version, allowed_status=404)
            versions = kfp.pipelines.pipeline_service_list_pipeline_versions
            pipeline = kfp.call(kfp.pipelines.pipeline_service_get_pipeline, pipeline_id, allowed_status=404)
            if pipeline and not kfp.list_all(versions, "pipeline_versions", pipeline_id):
                kfp.call(kfp.pipelines.pipeline_service_delete_pipeline, pipeline_id, allowed_status=404)

    def remove_replaced(self, version_id: str) -> None:
        """Keep the version, whose runs are on the pages of Kubeflow Pipelines."""

    def remove_pipeline(self, version_id: str) -> None:
        """Delete the pipeline of a version with all its versions."""
        pipeline_id, _ = version_id.split("/")
        with self._kfp() as kfp:
            listed = kfp.pipelines.pipeline_service_list_pipeline_versions
            get = kfp.pipelines.pipeline_service_get_pipeline
            exists = kfp.call(get, pipeline_id, allowed_status=404)
            versions = kfp.list_all(listed, "pipeline_versions", pipeline_id) if exists else []
        for version in versions:
            self.remove(f"{pipeline_id}/{version.pipeline_version_id}")

    def find_resumable_run(self, pipeline: str, key: str) -> str | None:
        """Return the id in the marker with this key if its run did not fail."""
        run_id = self._markers.run_id(pipeline, key)
        if run_id is None:
            return None
        with self._kfp() as kfp:
            run = self._find_run(kfp, run_id)
        failed = run and run_state(run) in (KfpRunState.FAILED, KfpRunState.CANCELED)
        return None if failed else run_id

    def run(self, request: RunRequest) -> RunResult:
        """Run a version, or resume its unfinished run. An unfinished run with other parameters or data is stopped."""
        self._write_steps_secret(request.secrets)
        self._markers.write(request.pipeline, request.key, request.run_id)
        with self._kfp() as kfp, self._metadata() as store:
            self._stop_abandoned_runs(kfp, request)
            if self._find_run(kfp, request.run_id):
                pulumi.log.info(f"{request.pipeline}: resuming the run {request.run_id} of an earlier `up`")
            result = self._follow(kfp, store, self._find_or_create_run(kfp, request), request)
        self._markers.delete(request.pipeline, request.key)
        return result

    def _stop_abandoned_runs(self, kfp: KfpClient, request: RunRequest) -> None:
        for marker, run_id in self._markers.others(request.pipeline, request.key).items():
            run = self._find_run(kfp, run_id)
            if run and not run_state(run).ended:
                pulumi.log.info(f"{request.pipeline}: stopping the run {run_id}, which an interrupted `up` left")
                kfp.call(kfp.runs.run_service_terminate_run, run.run_id)
            self._markers.delete_named(marker)

    def schedule(self, request: ScheduleRequest) -> None:
        """Create a recurring run, then delete the old ones: a failure leaves one of them."""
        import kfp_server_api  # type: ignore[import-untyped]

        self._write_steps_secret(request.secrets)
        with self._kfp() as kfp:
            old = self._recurring_runs(kfp, request.pipeline)
            recurring_run = kfp_server_api.V2beta1RecurringRun(
                display_name=request.pipeline,
                experiment_id=self._experiment_id(kfp),
                pipeline_version_reference=version_reference(request.version_id),
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(request.arguments)),
                trigger=kfp_server_api.V2beta1Trigger(
                    cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=request.cron)
                ),
                max_concurrency=MAX_CONCURRENCY,
                no_catchup=True,
                mode=kfp_server_api.RecurringRunMode.ENABLE,
            )
            create = kfp.recurring_runs.recurring_run_service_create_recurring_run
            known = {each.recurring_run_id for each in old}

            def find_or_create(**options: Any) -> Any:
                """Create the recurring run. A lost response is retried, and must not create a second one."""
                found = {each.recurring_run_id for each in self._recurring_runs(kfp, request.pipeline)}
                return found - known or create(recurring_run, **options)

            kfp.call(find_or_create)
            self._delete_recurring_runs(kfp, old)

    def unschedule(self, pipeline: str) -> None:
        """Delete the recurring runs of a pipeline."""
        with self._kfp() as kfp:
            self._delete_recurring_runs(kfp, self._recurring_runs(kfp, pipeline))

    def is_scheduled(self, pipeline: str) -> bool:
        """Return True if the pipeline has one recurring run. A killed `up` may have left two."""
        with self._kfp() as kfp:
            return bool(self._experiments(kfp)) and len(self._recurring_runs(kfp, pipeline)) == 1

    def _delete_recurring_runs(self, kfp: KfpClient, recurring_runs: Sequence[Any]) -> None:
        delete = kfp.recurring_runs.recurring_run_service_delete_recurring_run
        for recurring_run in recurring_runs:
            kfp.call(delete, recurring_run.recurring_run_id, propagation_policy="ORPHAN", allowed_status=404)

    def _find_or_create_run(self, kfp: KfpClient, request: RunRequest) -> str:
        """Return the id of the request's run in Kubeflow Pipelines."""
        import kfp_server_api

        new_run = kfp_server_api.V2beta1Run(
            display_name=request.run_id,
            experiment_id=self._experiment_id(kfp),
            pipeline_version_reference=version_reference(request.version_id),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(request.arguments)),
        )
        create = kfp.runs.run_service_create_run
        # A lost response is retried: the retry must not create a second run.
        run = kfp.call(lambda **options: self._find_run(kfp, request.run_id) or create(new_run, **options))
        return str(run.run_id)

    def _find_run(self, kfp: KfpClient, run_id: str) -> Any:
        """Return the newest run with our id as its name; None without one."""
        runs = kfp.list_all(kfp.runs.run_service_list_runs, "runs", name=run_id, experiment_id=self._experiment_id(kfp))
        return runs[0] if runs else None

    def _recurring_runs(self, kfp: KfpClient, pipeline: str) -> list[Any]:
        return kfp.list_all(
            kfp.recurring_runs.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            name=pipeline,
            experiment_id=self._experiment_id(kfp),
        )

    def _follow(self, kfp: KfpClient, store: MetadataStore, run_id: str, request: RunRequest) -> RunResult:
        """Copy the logs of a run until it ends and return its result."""
        package = uploaded_pipeline(kfp, request.version_id)
        deadline = time.monotonic() + 60 * request.timeout_minutes + STOP_SECONDS
        file = self.runs / request.run_id / "run.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as log, StepProgress(request, self.runs.parent) as steps:
            progress = RunProgress(steps.read)
            pods = RunPods(self.api, self.namespace, run_id, log)
            while True:
                run = kfp.call(kfp.runs.run_service_get_run, run_id)
                graph = RunGraph(package, store.executions(run_id))
                progress.update(graph)
                pods.update({execution.id: graph.step_name(execution) for execution in graph.executions})
                if run_state(run).ended:
                    return self._result(run, graph, store, pods, request.timeout_minutes, str(file))
                reason = pods.pending_reason()
                if time.monotonic() > deadline:
                    reason = f"it exceeded its timeout of {request.timeout_minutes} minutes, and Argo did not stop it"
                if reason:
                    kfp.call(kfp.runs.run_service_terminate_run, run_id)
                    raise UserError(f"the run {request.run_id} was stopped: {reason}")
                time.sleep(POLL_SECONDS)

    def _result(
        self, run: Any, graph: RunGraph, store: MetadataStore, pods: RunPods, timeout_minutes: int, log: str
    ) -> RunResult:
        artifacts = store.outputs(execution for execution in graph.executions if graph.is_step(execution))
        steps = graph.steps(artifacts)
        if run_state(run) == KfpRunState.SUCCEEDED:
            return RunResult(RunState.SUCCEEDED, graph.outputs(artifacts), steps, log)
        failed = graph.failed()
        step_of_driver, lines = pods.failure(failed.id if failed else None)
        if run.finished_at and (run.finished_at - run.created_at).total_seconds() >= 60 * timeout_minutes:
            lines.append(timeout_error(timeout_minutes))
        return RunResult(
            state=RunState.FAILED,
            outputs={},
            steps=steps,
            log=log,
            failed_step=graph.step_name(failed) if failed else step_of_driver,
            error="\n".join([*lines, *self._workflow_errors(run.run_id)] or [f"the run is {run_state(run)}"]),
        )

    def _workflow_errors(self, run_id: str) -> Iterator[str]:
        """Yield Argo's errors of the whole workflow, such as its timeout, without the errors of its children."""
        list_objects = self.api.custom.list_namespaced_custom_object
        selector = {"label_selector": f"{RUN_LABEL}={run_id}"}
        workflows = self.api.retry(lambda: list_objects(*WORKFLOWS, self.namespace, "workflows", **selector))["items"]
        messages = (str(workflow.get("status", {}).get("message", "")) for workflow in workflows)
        yield from (message for message in messages if message and not CHILD_FAILED.match(message))

    def _experiments(self, kfp: KfpClient) -> list[Any]:
        list_experiments = kfp.experiments.experiment_service_list_experiments
        return kfp.list_all(list_experiments, "experiments", name=self._config.experiment)

    def _experiment_id(self, kfp: KfpClient) -> str:
        import kfp_server_api

        name = self._config.experiment
        experiments = self._experiments(kfp)
        if not experiments:
            experiment = kfp_server_api.V2beta1Experiment(display_name=name)
            kfp.call(kfp.experiments.experiment_service_create_experiment, experiment, allowed_status=409)
            experiments = self._experiments(kfp)
        if not experiments:
            raise UserError(
                f"Kubeflow Pipelines does not list the experiment {name}, but it exists; restart its API server"
            )
        return str(experiments[0].experiment_id)

    def _write_steps_secret(self, secrets: Mapping[str, str]) -> None:
        body = {"metadata": {"name": STEPS_SECRET, "labels": PODS}, "stringData": dict(secrets)}
        core = self.api.core
        if self.api.none_if_exists(lambda: core.create_namespaced_secret(self.namespace, body)) is None:
            self.api.retry(lambda: core.replace_namespaced_secret(STEPS_SECRET, self.namespace, body))

    @contextmanager
    def _kfp(self) -> Iterator[KfpClient]:
        with port_forward(self._target(self._config.api_selector, self._config.api_port)) as url:
            yield KfpClient(url)

    @contextmanager
    def _metadata(self) -> Iterator[MetadataStore]:
        target = self._target(self._config.metadata_selector, self._config.metadata_port)
        with port_forward(target) as url, MetadataStore(url.removeprefix("http://")) as store:
            yield store

    def _target(self, selector: str, port: int) -> PodTarget[str]:
        return PodTarget(self._config.kubeconfig, self.namespace, selector, port)
