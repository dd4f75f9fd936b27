"""Notebooks: JupyterHub in the cluster, which starts a server for each person behind the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlplatform.notebook_hub as program
import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import NOTEBOOKS, Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import DNS, Namespace, Rule, api_server_rule, namespace, tcp_ports
from mlplatform.k8s.program_files import program_files
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.rbac import service_account
from mlplatform.notebooks.hub_pod import (
    KEY,
    SETTINGS_FILE,
    SETTINGS_MAP,
    hub_pod,
    hub_settings,
)
from mlplatform.notebooks.notebook_space import (
    HUB,
    HUB_PODS,
    HUB_PORT,
    NAMESPACE,
    PROXY_PORT,
    SERVER_PODS,
    SERVER_PORT,
    NotebookSpace,
    notebook_space,
    peer_of,
)

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from settings.services.notebook_settings import NotebookSettings


@dataclass(frozen=True)
class NotebookAccess:
    """Values that notebooks share with the door and with the steps of pipelines.

    Args:
        key: the key with which the door proves itself.
        door: the peer of a network rule that is the door.
        egress: what steps of pipelines, and therefore notebooks, may connect to.
    """

    key: pulumi.Output[str]
    door: Rule
    egress: Sequence[pulumi.Input[Rule]]


class Notebooks(pulumi.ComponentResource):
    """JupyterHub with its proxy, and the namespaces of the servers.

    The hub believes the person that a request with its key names, and only the door and the servers connect to it.
    """

    def __init__(
        self,
        settings: NotebookSettings,
        access: NotebookAccess,
        cluster: Cluster,
        registry: ContainerRegistry,
        teams: Mapping[str, Namespace],
        variables: Mapping[str, pulumi.Input[Mapping[str, str]]],
    ) -> None:
        """Create the hub.

        Args:
            settings: the settings.
            access: the key of the door, and network rules.
            cluster: the cluster.
            registry: the registry of images.
            teams: the namespace of each team; without teams, the servers are in the namespace of the hub.
            variables: the environment of servers by team, of all servers at "" without teams.
        """
        super().__init__("mlplatform:platform:Notebooks", HUB)
        inside = cluster.under(self)
        own = namespace(NAMESPACE, inside, registry, volumes=True)
        image = Image(NOTEBOOKS, registry)
        spaces = {team: NotebookSpace(teams[team] if team else own, content) for team, content in variables.items()}
        account = service_account(HUB, NAMESPACE, inside, *own.resources)
        prepared = [resource for space in spaces.values() for resource in notebook_space(space, access.egress)]
        namespaces = {team: space.namespace.name for team, space in spaces.items()}
        servers = [peer_of(name, SERVER_PODS) for name in sorted(namespaces.values())]
        policy = own.allow(
            HUB,
            HUB_PODS,
            ingress=[
                {"from": [access.door], **tcp_ports(PROXY_PORT, HUB_PORT)},
                {"from": servers, **tcp_ports(HUB_PORT)},
            ],
            egress=[DNS, api_server_rule(cluster), {"to": servers, **tcp_ports(SERVER_PORT)}],
        )
        metadata = {"namespace": NAMESPACE, "labels": HUB_PODS}
        secret = kubernetes.core.v1.Secret(
            HUB, metadata={"name": HUB, **metadata}, string_data={KEY: access.key}, opts=own.options()
        )
        content = hub_settings(settings, image.reference, namespaces, cluster.storage_class)
        files = [
            kubernetes.core.v1.ConfigMap(name, metadata={"name": name, **metadata}, data=data, opts=own.options())
            for name, data in ((HUB, program_files(program)), (SETTINGS_MAP, {SETTINGS_FILE: content}))
        ]
        volume = persistent_volume_claim(HUB, own, HUB_PODS, size_gb=1)
        # A SQLite file takes one writer: the old pod ends before the new pod starts.
        pods = deployment(
            HUB,
            own,
            HUB_PODS,
            hub_pod(image.reference),
            volume,
            policy,
            *account,
            *prepared,
            settings=[secret, *files],
        )
        ports = {"proxy": (PROXY_PORT, PROXY_PORT), "hub": (HUB_PORT, HUB_PORT)}
        service(HUB, own, HUB_PODS, HUB_PODS, ports, pods)
        self.register_outputs({})
