"""The pages of Kubeflow Pipelines, behind a password: NGINX asks for it in front of them, in the same pod."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.kubeflow.api_server import HTTP
from mlplatform.kubeflow.api_server import NAME as API
from mlplatform.kubeflow.argo import LOGS
from mlplatform.kubeflow.deployment_factory import (
    API_SERVER,
    DeploymentFactory,
    egress_outside,
    env_vars,
    from_secret,
    http_probes,
)
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import SECRET, Objects
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
    part: DeploymentFactory, files: Objects, settings: KubeflowSettings
) -> tuple[kubernetes.core.v1.Service, Mapping[str, pulumi.Output[str]]]:
    """The Service of the pages, and the user and password that they take."""
    _envoy(part)
    password = RandomPassword("kubeflow-ui-password").value
    gate = part.secret(f"{NAME}-gate", {"users": password.apply(_entry), "nginx.conf": NGINX})
    pages = {
        "name": "ui",
        "image": IMAGES["frontend"],
        "env": [
            *env_vars(
                {
                    "ML_PIPELINE_SERVICE_HOST": API,
                    "ML_PIPELINE_SERVICE_PORT": str(HTTP),
                    "METADATA_ENVOY_SERVICE_SERVICE_HOST": ENVOY,
                    "METADATA_ENVOY_SERVICE_SERVICE_PORT": str(ENVOY_PORT),
                    "FRONTEND_SERVER_NAMESPACE": part.room.name,
                    "MINIO_HOST": files.host,
                    "MINIO_NAMESPACE": "",
                    "MINIO_PORT": str(files.port),
                    "MINIO_SSL": "true" if files.secure else "false",
                    "ARGO_ARCHIVE_LOGS": "true",
                    "ARGO_ARCHIVE_BUCKETNAME": files.bucket,
                    "ARGO_KEYFORMAT": LOGS,
                    "ARTIFACT_NAMESPACE_OWNERSHIP_MODE": "mlmd-then-prefix",
                    "ALLOW_CUSTOM_VISUALIZATIONS": "false",
                    "DISABLE_GKE_METADATA": "true",
                }
            ),
            from_secret("MINIO_ACCESS_KEY", SECRET, "accesskey"),
            from_secret("MINIO_SECRET_KEY", SECRET, "secretkey"),
        ],
        **http_probes("/apis/v2beta1/healthz", PAGES),
        "resources": {
            "requests": {"cpu": "20m", "memory": "96Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "384Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    door = {
        "name": "gate",
        "image": IMAGES["gate"],
        "command": ["nginx", "-c", "/etc/gate/nginx.conf", "-g", "daemon off;"],
        "ports": [{"name": "http", "containerPort": GATE}],
        **http_probes("/ready", GATE),
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "64Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [
            {"name": "gate", "mountPath": "/etc/gate", "readOnly": True},
            {"name": "gate-tmp", "mountPath": "/tmp"},
        ],
    }
    part.deployment(
        NAME,
        [pages, door],
        *part.account(NAME, RULES),
        part.admit(NAME, GATE, sources=(), egress=[API_SERVER, egress_outside(files.port)]),
        wait_for=[f"{API}:{HTTP}"],
        settings=[gate],
        account=NAME,
        volumes={
            "gate": {"secret": {"secretName": f"{NAME}-gate"}},
            "tmp": {"emptyDir": {"sizeLimit": "100Mi"}},
            "gate-tmp": {"emptyDir": {"sizeLimit": "100Mi"}},
        },
    )
    service = part.service(NAME, NAME, {"http": (settings.port, GATE)}, settings.service)
    return service, {"username": pulumi.Output.from_input(USER), "password": password}


def _entry(password: str) -> str:
    """A line as `htpasswd` writes it. Salted SHA-1 is enough for a password of 256 random bits."""
    salt = hashlib.sha256(password.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + salt).digest()
    return f"{USER}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n"


def _envoy(part: DeploymentFactory) -> None:
    """The way for a browser to the metadata server, which speaks gRPC: in between stands what knows gRPC-Web."""
    settings = part.config(ENVOY, {"envoy.yaml": pulumi.Output.json_dumps(_envoy_settings())})
    container = {
        "name": "envoy",
        "image": IMAGES["metadata-envoy"],
        "command": ["/usr/local/bin/envoy", "-c", "/etc/envoy/envoy.yaml", "--concurrency", "1", "--log-level", "warn"],
        "ports": [{"name": "http", "containerPort": ENVOY_PORT}],
        "startupProbe": {"tcpSocket": {"port": ENVOY_PORT}, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {"tcpSocket": {"port": ENVOY_PORT}, "periodSeconds": 10},
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/envoy", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    part.service(ENVOY, ENVOY, {"http": (ENVOY_PORT, ENVOY_PORT)})
    part.deployment(
        ENVOY,
        [container],
        part.admit(ENVOY, ENVOY_PORT),
        settings=[settings],
        volumes={"settings": {"configMap": {"name": ENVOY}}, "tmp": {"emptyDir": {"sizeLimit": "50Mi"}}},
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
