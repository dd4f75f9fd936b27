"""Selection of the pipeline engine by its configuration."""

from __future__ import annotations

from mlplatform.engine_config import EmbeddedEngineConfig, EngineConfig, JobEngineConfig

from infra.dynamic_provider import UserError
from workloads.engines.base import Engine, SchedulingEngine


def create_engine(config: EngineConfig[str]) -> Engine:
    """Return the engine with this configuration."""
    if isinstance(config, EmbeddedEngineConfig):
        from workloads.engines.local_engine import EmbeddedEngine

        return EmbeddedEngine(config)
    if isinstance(config, JobEngineConfig):
        from workloads.engines.job.job_engine import JobEngine

        return JobEngine(config)
    from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine

    return KubeflowEngine(config)


def create_scheduling_engine(config: EngineConfig[str]) -> SchedulingEngine:
    """Return the engine with this configuration.

    Raises:
        UserError: the engine has no scheduler.
    """
    engine = create_engine(config)
    if not isinstance(engine, SchedulingEngine):
        raise UserError(
            f"the pipeline engine {config.kind} has no scheduler; set platform:pipelines: kubeflow, or remove the "
            "setting `schedule` of the pipeline"
        )
    return engine
