"""A team: its namespace for steps and model servers, and the logins of their programs in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pulumi
from mlplatform.blob_store import BlobStore, team_container
from mlplatform.engine_config import JobEngineConfig
from mlplatform.job_namespace import RUN_POLICY, allow_runs
from mlplatform.k8s.namespace import Namespace, Rule, namespace, team_namespace
from mlplatform.k8s.quota import quota
from mlplatform.mlflow import TeamLogins

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from settings.services.s3_settings import DataStoreSettings
from settings.services.team_settings import TeamSettings

LABEL = "mlplatform/team"


class Team(pulumi.ComponentResource):
    """Namespace of a team with a quota, closed to all traffic but that of its runs and model servers.

    Attributes:
        namespace: the namespace.
        engine: the engine that runs the team's pipelines there.
        run_after: resources that each run waits for.
        logins: users of MLflow with rights on what the team owns.
        blobs: the container that only programs of the team read; None without one.
        s3: the S3 store that only programs of the team use; None without one.
    """

    namespace: Namespace
    engine: JobEngineConfig[pulumi.Input[str]]
    run_after: Sequence[pulumi.Resource]
    logins: TeamLogins
    blobs: BlobStore | None
    s3: DataStoreSettings | None

    def __init__(
        self,
        name: str,
        settings: TeamSettings,
        engine: JobEngineConfig[pulumi.Input[str]],
        logins: TeamLogins,
        cluster: Cluster,
        registry: ContainerRegistry,
        egress: Sequence[pulumi.Input[Rule]],
        shared: BlobStore | None = None,
        *,
        notebooks: bool = False,
    ) -> None:
        """Create the namespace, and the container of the team if it has one.

        Args:
            name: the name of the team.
            settings: the settings of the team.
            engine: the engine of shared pipelines.
            logins: users of MLflow for the team's programs.
            cluster: the cluster.
            registry: the registry of images.
            egress: addresses that steps may connect to.
            shared: the container that all pipelines may read, in whose account is that of the team.
            notebooks: whether the namespace has the servers of notebooks, and their volumes.
        """
        super().__init__("mlplatform:platform:Team", name)
        labels = {LABEL: name}
        space = team_namespace(name)
        self.namespace = namespace(space, cluster.under(self), registry, volumes=notebooks, labels=labels)
        policies = allow_runs(self.namespace, f"{self.namespace.name}-{RUN_POLICY}", egress)
        limits = settings.quota.limits if settings.quota else {}
        limited = quota(self.namespace, *([] if notebooks else ["persistentvolumeclaims"]), limits=limits)
        self.engine = replace(engine, namespace=self.namespace.name)
        self.run_after = [*self.namespace.resources, *policies, *limited]
        self.logins = logins
        self.blobs = team_container(shared, name, settings.blobs, self) if shared and settings.blobs else None
        self.s3 = settings.s3
        self.register_outputs({})
