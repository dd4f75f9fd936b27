"""The UI of Kubeflow Pipelines; NGINX in the same pod requires a password for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pod import Container, HttpGet, Probe, Probes, Resources, SecretKey, TcpConnect, server_probes
from mlplatform.k8s.volumes import ConfigMapFiles, EmptyDir, Mount, SecretFiles
from mlplatform.kubeflow.api_server import HTTP
from mlplatform.kubeflow.api_server import NAME as API
from mlplatform.kubeflow.argo import LOGS
from mlplatform.kubeflow.deployment_factory import DeploymentFactory, egress_outside, pod
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import SECRET, ObjectStore
from mlplatform.kubeflow.stores import METADATA_PORT, METADATA_SERVICE

from infra.secrets import RandomPassword
from settings.platform import KubeflowSettings

NAME = "ml-pipeline-ui"
PAGES, GATE = 3000, 8080
ENVOY = "metadata-envoy"
ENVOY_PORT = 9090
USER = "kubeflow"
NGINX = f"""worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_max_body_size 32m;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server {{
    listen {GATE};
    location = /ready {{ auth_basic off; return 204; }}
    location / {{
      auth_basic "Kubeflow Pipelines";
      auth_basic_user_file /etc/gate/users;
      proxy_pass http://127.0.0.1:{PAGES};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Authorization "";
    }}
  }}
}}
"""


def ui(
    factory: DeploymentFactory, store: ObjectStore, settings: KubeflowSettings
) -> tuple[kubernetes.core.v1.Service, Mapping[str, pulumi.Output[str]]]:
    """Create the UI behind NGINX. Returns its Service, and the login as `username` and `password`."""
    _envoy(factory)
    password = RandomPassword("kubeflow-ui-password").value
    gate = factory.secret(f"{NAME}-gate", {"users": password.apply(_htpasswd_line), "nginx.conf": NGINX})
    volumes = {"gate": SecretFiles(f"{NAME}-gate"), "tmp": EmptyDir("100Mi"), "gate-tmp": EmptyDir("100Mi")}
    factory.deployment(
        NAME,
        pod([_frontend(factory.namespace.name, store), _gate()], volumes, account=NAME),
        *factory.service_account(NAME, RULES),
        factory.allow_ingress(NAME, GATE, sources=(), egress=[factory.api_server_rule, egress_outside(store.port)]),
        wait_for=[f"{API}:{HTTP}"],
        settings=[gate, store.secret],
    )
    service = factory.service(NAME, NAME, {"http": (settings.port, GATE)}, settings.service)
    return service, {"username": pulumi.Output.from_input(USER), "password": password}


def _frontend(namespace: str, store: ObjectStore) -> Container:
    return Container(
        "ui",
        IMAGES["frontend"],
        Resources(cpu=("20m", "500m"), memory=("96Mi", "384Mi"), ephemeral_storage=("10Mi", "500Mi")),
        environment={
            "ML_PIPELINE_SERVICE_HOST": API,
            "ML_PIPELINE_SERVICE_PORT": str(HTTP),
            "METADATA_ENVOY_SERVICE_SERVICE_HOST": ENVOY,
            "METADATA_ENVOY_SERVICE_SERVICE_PORT": str(ENVOY_PORT),
            "FRONTEND_SERVER_NAMESPACE": namespace,
            "MINIO_HOST": store.host,
            "MINIO_NAMESPACE": "",
            "MINIO_PORT": str(store.port),
            "MINIO_SSL": "true" if store.secure else "false",
            "ARGO_ARCHIVE_LOGS": "true",
            "ARGO_ARCHIVE_BUCKETNAME": store.bucket,
            "ARGO_KEYFORMAT": LOGS,
            "ARTIFACT_NAMESPACE_OWNERSHIP_MODE": "mlmd-then-prefix",
            "ALLOW_CUSTOM_VISUALIZATIONS": "false",
            "DISABLE_GKE_METADATA": "true",
            "MINIO_ACCESS_KEY": SecretKey(SECRET, "accesskey"),
            "MINIO_SECRET_KEY": SecretKey(SECRET, "secretkey"),
        },
        probes=server_probes(HttpGet("/apis/v2beta1/healthz", PAGES)),
        mounts=[Mount("tmp", "/tmp")],
    )


def _gate() -> Container:
    return Container(
        "gate",
        IMAGES["gate"],
        Resources(cpu=("10m", "500m"), memory=("16Mi", "64Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["nginx", "-c", "/etc/gate/nginx.conf", "-g", "daemon off;"],
        ports={"http": GATE},
        probes=server_probes(HttpGet("/ready", GATE)),
        mounts=[Mount("gate", "/etc/gate", read_only=True), Mount("gate-tmp", "/tmp")],
    )


def _htpasswd_line(password: str) -> str:
    """Return the line that `htpasswd` writes. Salted SHA-1 is enough for a password of 256 random bits."""
    salt = hashlib.sha256(password.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + salt).digest()
    return f"{USER}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n"


def _envoy(factory: DeploymentFactory) -> None:
    """Create Envoy, which translates the browser's gRPC-Web to the gRPC of the metadata server."""
    settings = factory.config_map(ENVOY, {"envoy.yaml": pulumi.Output.json_dumps(_envoy_settings())})
    connects = TcpConnect(ENVOY_PORT)
    envoy = Container(
        "envoy",
        IMAGES["metadata-envoy"],
        Resources(cpu=("10m", "500m"), memory=("32Mi", "128Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["/usr/local/bin/envoy", "-c", "/etc/envoy/envoy.yaml", "--concurrency", "1", "--log-level", "warn"],
        ports={"http": ENVOY_PORT},
        probes=Probes(
            startup=Probe(connects, period=1, failures=120),
            readiness=Probe(connects, period=10),
        ),
        mounts=[Mount("settings", "/etc/envoy", read_only=True), Mount("tmp", "/tmp")],
    )
    factory.service(ENVOY, ENVOY, {"http": (ENVOY_PORT, ENVOY_PORT)})
    factory.deployment(
        ENVOY,
        pod([envoy], {"settings": ConfigMapFiles(ENVOY), "tmp": EmptyDir("50Mi")}),
        factory.allow_ingress(ENVOY, ENVOY_PORT),
        settings=[settings],
    )


def _envoy_settings() -> dict[str, object]:
    extension = "type.googleapis.com/envoy.extensions"
    route = {"cluster": "metadata", "max_stream_duration": {"grpc_timeout_header_max": "0s"}}
    manager = {
        "@type": f"{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "metadata",
        "route_config": {
            "virtual_hosts": [
                {"name": "metadata", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.grpc_web",
                "typed_config": {"@type": f"{extension}.filters.http.grpc_web.v3.GrpcWeb"},
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extension}.filters.http.router.v3.Router"},
            },
        ],
    }
    http2 = {
        "@type": f"{extension}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "browsers",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": ENVOY_PORT}},
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "metadata",
                    "type": "LOGICAL_DNS",
                    "connect_timeout": "5s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                    },
                    "load_assignment": {
                        "cluster_name": "metadata",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {
                                        "endpoint": {
                                            "address": {
                                                "socket_address": {
                                                    "address": METADATA_SERVICE,
                                                    "port_value": METADATA_PORT,
                                                }
                                            }
                                        }
                                    }
                                ]
                            }
                        ],
                    },
                }
            ],
        }
    }


RULES = [
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list"]},
]
