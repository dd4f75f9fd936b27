"""The Prometheus server: behind a password, with its data on a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
import yaml
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Namespace, tcp_ports
from mlplatform.k8s.pod import Command, Container, Pod, Probe, Probes, Resources, TcpConnect
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.rbac import service_account
from mlplatform.k8s.volumes import Claim, ConfigMapFiles, Mount, SecretFiles
from mlplatform.kubeflow.deployment_factory import NAMESPACE as KUBEFLOW
from mlplatform.monitoring import node_exporter
from mlplatform.monitoring.scrape_config import LOGIN, PASSWORD_FILE, USER, configuration
from mlplatform.monitoring.scraping import IMAGES, NAMESPACE, PROMETHEUS, labels, metadata
from mlplatform.monitoring.scraping import PROMETHEUS_PORT as PORT
from mlplatform.start_page.prediction_paths import PREDICTION_PATHS

from infra.secrets import bcrypt_hash
from settings.platform import MonitoringSettings

PAGE = "/consoles/index.html"
FILES = Path(__file__).with_name("files")
DATA = "/prometheus"
CONSTANT_RULES = "constants.rules.yaml"
SETTINGS = "/etc/prometheus"
CLUSTER_RULES = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
]
"""Rights to discover the kubelets, and to read their metrics and those of the API server."""


def prometheus(
    settings: MonitoringSettings,
    namespace: Namespace,
    password: pulumi.Output[str],
    constants: Mapping[str, pulumi.Input[float] | None],
    servers: Sequence[str],
    *,
    kubeflow: bool,
    door: str,
) -> kubernetes.core.v1.Service:
    """Create Prometheus and return its Service.

    Args:
        settings: of monitoring.
        namespace: of Prometheus.
        password: of its pages and its API.
        constants: metrics that Prometheus cannot scrape, by name; None for one that this stack does not have.
        servers: namespaces of model servers.
        kubeflow: whether it scrapes Kubeflow Pipelines.
        door: namespace of the door that it scrapes, "" without one.
    """
    account = service_account(
        PROMETHEUS, namespace.name, namespace.cluster, *namespace.resources, cluster_rules=CLUSTER_RULES
    )
    scraped = _files(settings, namespace, servers, kubeflow, door)
    files_by_name = scraped | {CONSTANT_RULES: _constant_rules(constants)}
    files = kubernetes.core.v1.ConfigMap(
        PROMETHEUS, metadata=metadata(PROMETHEUS), data=files_by_name, opts=namespace.options()
    )
    login = kubernetes.core.v1.Secret(
        PROMETHEUS,
        metadata=metadata(PROMETHEUS),
        string_data={
            Path(PASSWORD_FILE).name: password,
            "web.yaml": password.apply(lambda known: yaml.safe_dump({"basic_auth_users": {USER: bcrypt_hash(known)}})),
            # promtool in the same pod logs in with this file.
            "client.yaml": yaml.safe_dump({"basic_auth": {"username": USER, "password_file": PASSWORD_FILE}}),
        },
        opts=namespace.options(),
    )
    volume = persistent_volume_claim(PROMETHEUS, namespace, labels(PROMETHEUS), settings.size_gb)
    policy = _network_policy(namespace, [*servers, door] if door else servers)
    server = deployment(
        PROMETHEUS, namespace, labels(PROMETHEUS), _pod(), *account, login, volume, policy, settings=[files]
    )
    ports = {"http": (settings.port, PORT)}
    return service(PROMETHEUS, namespace, labels(PROMETHEUS), labels(PROMETHEUS), ports, server, kind=settings.service)


def _files(
    settings: MonitoringSettings, namespace: Namespace, servers: Sequence[str], kubeflow: bool, door: str
) -> dict[str, pulumi.Input[str]]:
    """Return the configuration, the rules and the status page by file name."""
    scraping = configuration(
        settings.size_gb,
        settings.retention_days,
        PORT,
        servers,
        kubeflow=kubeflow,
        door=door,
        alerts=settings.alerts_url is not None,
        verified_kubelets=namespace.cluster.verified_kubelets,
    )
    return {"prometheus.yaml": yaml.safe_dump(scraping, sort_keys=False), **rules_and_page()}


def rules_and_page() -> dict[str, str]:
    """Return the rules and the status page by file name."""
    texts = {file.name: file.read_text() for file in sorted(FILES.iterdir())}
    return {name: text.replace("PREDICTION_PATHS", PREDICTION_PATHS) for name, text in texts.items()}


def _constant_rules(constants: Mapping[str, pulumi.Input[float] | None]) -> pulumi.Output[str]:
    """Return rules that record each constant as a metric."""

    def rules(known: Mapping[str, float | None]) -> str:
        records = [{"record": name, "expr": f"vector({value:.0f})"} for name, value in known.items() if value]
        return yaml.safe_dump({"groups": [{"name": "constants", "rules": records}] if records else []})

    return pulumi.Output.all(**constants).apply(rules)


def _network_policy(namespace: Namespace, scraped: Sequence[str]) -> kubernetes.networking.v1.NetworkPolicy:
    """Allow connections from any address, which need the password, and connections to the scraped targets."""
    targets = [node_exporter.NAMESPACE, NAMESPACE, *scraped, KUBEFLOW]
    return namespace.allow(
        PROMETHEUS,
        labels(PROMETHEUS),
        ingress=[tcp_ports(PORT)],
        egress=[
            DNS,
            # The API server and the kubelets.
            {**ANY_ADDRESS, **tcp_ports(443, 6443, 10250)},
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": each}}} for each in targets]},
        ],
    )


def _pod() -> Pod:
    # Prometheus accepts connections before it has replayed its write-ahead log, so only its own check shows that it is
    # ready. promtool alone can log in.
    ready = ["/bin/promtool", "check", "ready", f"--url=http://localhost:{PORT}"]
    connects = TcpConnect(PORT)
    server = Container(
        PROMETHEUS,
        IMAGES[PROMETHEUS],
        Resources(cpu=("50m", "1"), memory=("256Mi", "1Gi"), ephemeral_storage=("10Mi", "100Mi")),
        args=[
            f"--config.file={SETTINGS}/prometheus.yaml",
            f"--web.config.file={LOGIN}/web.yaml",
            f"--web.listen-address=:{PORT}",
            f"--web.console.templates={SETTINGS}/consoles",
            f"--storage.tsdb.path={DATA}",
        ],
        working_directory=DATA,
        ports={"http": PORT},
        probes=Probes(
            startup=Probe(
                Command([*ready, f"--http.config.file={LOGIN}/client.yaml"]), period=3, timeout=5, failures=200
            ),
            readiness=Probe(connects, period=5, timeout=3),
            liveness=Probe(connects, period=20, timeout=3, failures=6),
        ),
        mounts=[
            Mount("data", DATA),
            Mount("settings", SETTINGS, read_only=True),
            Mount("login", LOGIN, read_only=True),
        ],
    )
    rules = [file.name for file in sorted(FILES.glob("*.yaml"))]
    paths = {name: name for name in ("prometheus.yaml", CONSTANT_RULES, *rules)} | {"index.html": "consoles/index.html"}
    volumes = {
        "data": Claim(PROMETHEUS),
        "settings": ConfigMapFiles(PROMETHEUS, paths),
        "login": SecretFiles(PROMETHEUS),
    }
    # On SIGTERM, Prometheus writes its memory to the volume.
    return Pod([server], volumes=volumes, account=PROMETHEUS, grace_seconds=60)
