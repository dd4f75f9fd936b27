"""PostgreSQL on three machines: Patroni chooses the leader, and a commit is on two of them before it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.deployment import service
from mlplatform.k8s.namespace import DNS, Namespace, Rule, api_server_rule, tcp_ports
from mlplatform.k8s.pod import Container, EnvironmentValue, HttpGet, Pod, PodField, Probe, Probes, Resources, SecretKey
from mlplatform.k8s.rbac import service_account
from mlplatform.k8s.stateful_set import DATA, TOLERATIONS, headless_service, stateful_set
from mlplatform.k8s.volumes import ConfigMapFiles, EmptyDir, Mount

from infra.secrets import RandomPassword
from settings.paths import VERSIONS

NAME = "postgresql"
"""The name of the cluster in patroni.yaml, and of the Service that leads to its leader."""
IMAGE = f"ghcr.io/zalando/spilo-15:{VERSIONS['stores']['postgresql']}"
PORT, PATRONI_PORT = 5432, 8008
LABELS = {"app.kubernetes.io/name": NAME}
SERVER_USER = 101
"""The user `postgres` of the image."""
MEMBERS = 3
DATABASES = ("mlflow", "users", "objects")
"""Databases, each with an owner of the same name."""
ACCOUNTS = {"SUPERUSER": "postgres", "REPLICATION": "replicator", "REWIND": "rewind", "RESTAPI": "patroni"}
"""Users that Patroni needs, by the part of its variables."""
FILES = Path(__file__).parent / "files"
SETTINGS = "/etc/stores"
RULES = [
    # Endpoints have the lock of the leader, the settings, and the names of the members that have each commit.
    {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["create", "get", "list", "patch", "update", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch", "update", "watch"]},
]


@dataclass(frozen=True)
class PostgreSql:
    """A PostgreSQL cluster: the secret password of each database's owner, and resources that clients wait for."""

    host: str
    passwords: Mapping[str, pulumi.Output[str]]
    resources: Sequence[pulumi.Resource]

    def rule(self, namespace: Rule) -> Rule:
        """Return the egress rule of a client; `namespace` is {} for one in the namespace of the stores."""
        return {"to": [{**namespace, "podSelector": {"matchLabels": LABELS}}], **tcp_ports(PORT)}

    def url(self, database: str) -> pulumi.Output[str]:
        """Return the secret address of a database, for clients of libpq.

        A connection to a dead leader fails after some seconds.
        """
        options = "connect_timeout=5&keepalives_idle=5&keepalives_interval=3&keepalives_count=3&tcp_user_timeout=10000"
        login = pulumi.Output.concat(database, ":", self.passwords[database])
        return pulumi.Output.concat("postgresql://", login, f"@{self.host}:{PORT}/{database}?{options}")


def postgresql(
    namespace: Namespace, clients: Sequence[Rule], size_gb: int, options: pulumi.ResourceOptions
) -> PostgreSql:
    """Create the members, and the Service of their leader.

    Args:
        namespace: the namespace of the stores.
        clients: peers of network rules: the pods that connect to the databases.
        size_gb: size of the volume of each member in GiB.
        options: options of the generated passwords.
    """
    passwords = {name: RandomPassword(f"postgresql-{name}-password", options).value for name in DATABASES}
    accounts = {key: RandomPassword(f"postgresql-{user}-password", options).value for key, user in ACCOUNTS.items()}
    variables = {
        **{f"PATRONI_{key}_PASSWORD": password for key, password in accounts.items()},
        **{f"{name.upper()}_PASSWORD": password for name, password in passwords.items()},
    }
    metadata = namespace.metadata(NAME, LABELS)
    secret = kubernetes.core.v1.Secret(NAME, metadata=metadata, string_data=variables, opts=namespace.options())
    files = {name: (FILES / name).read_text() for name in ("patroni.yaml", "create-databases.sh")}
    config = kubernetes.core.v1.ConfigMap(NAME, metadata=metadata, data=files, opts=namespace.options())
    members = {"podSelector": {"matchLabels": LABELS}}
    policy = namespace.allow(
        NAME,
        LABELS,
        ingress=[{"from": list(clients), **tcp_ports(PORT)}, {"from": [members], **tcp_ports(PORT, PATRONI_PORT)}],
        egress=[DNS, {"to": [members], **tcp_ports(PORT, PATRONI_PORT)}, api_server_rule(namespace.cluster)],
    )
    account = service_account(NAME, namespace.name, namespace.cluster, *namespace.resources, namespace_rules=RULES)
    # Kubernetes deletes endpoints that belong to no Service.
    endpoints = [headless_service(f"{NAME}-{part}", namespace, LABELS) for part in ("config", "sync")]
    # Patroni sets the endpoints of this Service, so it has no selector.
    leader = service(NAME, namespace, LABELS, {}, {NAME: (PORT, PORT)})
    servers = stateful_set(
        NAME,
        namespace,
        LABELS,
        _pod(variables),
        *(policy, leader, *account, *endpoints),
        replicas=MEMBERS,
        size_gb=size_gb,
        settings=[secret, config],
    )
    return PostgreSql(f"{NAME}.{namespace.name}.svc", passwords, [servers])


def _pod(variables: Mapping[str, pulumi.Output[str]]) -> Pod:
    address = "$(PATRONI_KUBERNETES_POD_IP)"
    environment: dict[str, EnvironmentValue] = {
        "HOME": "/tmp",
        "DATABASES": " ".join(DATABASES),
        "PATRONI_NAME": PodField("metadata.name"),
        "PATRONI_KUBERNETES_NAMESPACE": PodField("metadata.namespace"),
        "PATRONI_KUBERNETES_POD_IP": PodField("status.podIP"),
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{address}:{PORT}",
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{address}:{PATRONI_PORT}",
        **{f"PATRONI_{key}_USERNAME": user for key, user in ACCOUNTS.items()},
        **{name: SecretKey(NAME, name) for name in variables},
    }
    server = Container(
        NAME,
        IMAGE,
        Resources(cpu=("50m", "1"), memory=("128Mi", "512Mi"), ephemeral_storage=("50Mi", "1Gi")),
        command=["patroni", f"{SETTINGS}/patroni.yaml"],
        environment=environment,
        ports={NAME: PORT, "patroni": PATRONI_PORT},
        probes=Probes(
            readiness=Probe(HttpGet("/readiness", PATRONI_PORT), period=2, timeout=5),
            liveness=Probe(HttpGet("/liveness", PATRONI_PORT), period=10, timeout=5, failures=6),
        ),
        mounts=[
            Mount(DATA, "/var/lib/postgresql/data"),
            Mount("settings", SETTINGS, read_only=True),
            Mount("tmp", "/tmp"),
        ],
    )
    volumes = {"settings": ConfigMapFiles(NAME), "tmp": EmptyDir("100Mi")}
    return Pod([server], volumes=volumes, account=NAME, user=SERVER_USER, tolerations=TOLERATIONS)
