"""The door: one address with HTTPS, sign-on and rights in front of all services of a cluster."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.door.certificate import DoorCertificateFiles, door_certificate
from mlplatform.door.door_pod import FILES as FILES_FOLDER
from mlplatform.door.door_pod import HTTP_PORT, HTTPS_PORT, NAME, PAGES, SIGN_ON, SIGN_ON_FOLDER, door_pod, files
from mlplatform.door.door_routes import (
    PublishedModel,
    access_rules,
    area_roles,
    releases_file,
    routes_file,
    services_file,
)
from mlplatform.door.sign_on import PORT as SIGN_ON_PORT
from mlplatform.door.sign_on import sign_on_configuration, users_file
from mlplatform.door.start_page import NAME as START_PAGE
from mlplatform.door.start_page import PORT as START_PAGE_PORT
from mlplatform.door.start_page import start_page, start_page_settings
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Rule, namespace, tcp_ports, team_namespace

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword, bcrypt_hash
from settings.services.door_settings import DoorSettings
from settings.services.team_settings import TeamSettings

NAMESPACE = "mlplatform-door"
PODS = {"app.kubernetes.io/name": NAME}
OPERATOR = "operator"
"""The administrator of a door without users or a provider."""
REPLICAS = 2
METALLB_ADDRESS = "metallb.io/loadBalancerIPs"


@dataclass(frozen=True)
class Page:
    """A service with pages behind the door.

    Args:
        namespace: its namespace.
        address: `host:port` for pods.
        username, password: its login; None for MLflow, which gets the name and role of the caller instead.
        path: the path of its first page.
    """

    namespace: str
    address: str
    username: str = ""
    password: pulumi.Output[str] | None = None
    path: str = "/"

    @property
    def login(self) -> pulumi.Output[str]:
        """Return the header Authorization of a request."""
        password = self.password or pulumi.Output.from_input("")
        return password.apply(lambda word: "Basic " + base64.b64encode(f"{self.username}:{word}".encode()).decode())


@dataclass(frozen=True)
class Behind:
    """Services behind a door: pages by area, served models, schedules by pipeline, and the teams that own them."""

    pages: Mapping[str, Page]
    models: Mapping[str, PublishedModel]
    schedules: Mapping[str, str]
    teams: Mapping[str, TeamSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class DoorAccess:
    """Values of a door that other resources need before it exists: its certificate, and its secret `key`.

    MLflow believes the user and the role that a request with this key names.
    """

    certificate: DoorCertificateFiles
    key: pulumi.Output[str]


def door_access(settings: DoorSettings) -> DoorAccess:
    """Create the certificate and the key of a door."""
    return DoorAccess(door_certificate(settings), RandomPassword("door-key").value)


class Door(pulumi.ComponentResource):
    """Two pods with nginx and oauth2-proxy behind one Service, and the start page.

    Attributes:
        url: the address, with a slash at its end.
        outputs: `door_url`; `door_login` as a secret, and `door_authority`, where the stack makes them.
    """

    url: str
    outputs: dict[str, pulumi.Input[Any]]

    def __init__(
        self,
        settings: DoorSettings,
        access: DoorAccess,
        behind: Behind,
        cluster: Cluster,
        registry: ContainerRegistry,
        libraries: Image,
    ) -> None:
        super().__init__("mlplatform:platform:Door", NAME)
        self._settings, self._behind, self._key = settings, behind, access.key
        certificate = access.certificate
        self._namespace = namespace(NAMESPACE, cluster.under(self), registry)
        self.url = f"https://{settings.host}/"
        self.outputs = {"door_url": self.url}
        if certificate.authority:
            self.outputs["door_authority"] = certificate.authority
        servers = {team_namespace(team) for team in ("", *behind.teams)}
        targets = {page.namespace for page in behind.pages.values()} | servers
        egress: list[Rule] = [
            DNS,
            {
                "to": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": each}}}
                    for each in sorted(targets)
                ]
            },
        ]
        page = start_page(
            self._namespace,
            libraries,
            self._start_page_settings(),
            access.key,
            {"podSelector": {"matchLabels": PODS}},
            egress,
        )
        # A policy cannot name the host of a provider.
        provider: list[Rule] = [{**ANY_ADDRESS, **tcp_ports(settings.oidc.port)}] if settings.oidc else []
        own: Rule = {"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": START_PAGE}}}]}
        policy = self._namespace.allow(
            NAME, PODS, ingress=[tcp_ports(HTTP_PORT, HTTPS_PORT)], egress=[*egress, own, *provider]
        )
        secrets = {"tls.crt": certificate.certificate, "tls.key": certificate.key, "keys.conf": self._keys()}
        nginx = [self._config_map(NAME, self._nginx_files()), self._secret(NAME, secrets)]
        sign_on = [self._sign_on(), self._config_map(PAGES, files("pages"))]
        # oauth2-proxy reads its settings at its start. nginx reloads its files without a new pod.
        pods = deployment(
            NAME,
            self._namespace,
            PODS,
            door_pod(settings),
            *nginx,
            policy,
            page,
            settings=sign_on,
            strategy="RollingUpdate",
            replicas=REPLICAS,
        )
        self._service(pods)
        self.register_outputs({})

    def _nginx_files(self) -> dict[str, str]:
        monitoring = self._behind.pages.get("monitoring")
        pages = {area: page.address for area, page in self._behind.pages.items()}
        models: dict[str, str] = {}
        for name, model in self._behind.models.items():
            models |= model.addresses(name)
        services = {"start_page": f"{START_PAGE}.{NAMESPACE}.svc:{START_PAGE_PORT}", **pages, **models}
        page = monitoring.path if monitoring else None
        roles = {user: each.role for user, each in self._settings.users.items()} or {OPERATOR: "administrator"}
        return files("files") | {
            "services": services_file(services),
            "releases.conf": releases_file(self._behind.models),
            "routes.conf": routes_file(
                self._settings, self._behind.models, FILES_FOLDER, page, kubeflow="pipeline" in pages
            ),
            "access.json": access_rules(
                self._settings, roles, self._behind.models, self._behind.teams, f"http://127.0.0.1:{SIGN_ON_PORT}"
            ),
        }

    def _keys(self) -> pulumi.Output[str]:
        """Return the variables of nginx with the logins of services."""
        logins = {
            f"{area}_login": self._behind.pages[area].login
            for area in ("monitoring", "pipeline")
            if area in self._behind.pages
        }
        known = pulumi.Output.all(door_key=self._key, **logins)
        return known.apply(lambda values: "".join(f'set ${name} "{value}";\n' for name, value in values.items()))

    def _sign_on(self) -> kubernetes.core.v1.Secret:
        """Create the Secret of oauth2-proxy; without users and a provider, with a password for the operator."""
        settings = self._settings
        hashes: dict[str, pulumi.Input[str]] = {
            user: each.password_hash.get_secret_value() for user, each in settings.users.items()
        }
        if not hashes and not settings.oidc:
            password = RandomPassword("door-password", pulumi.ResourceOptions(parent=self)).value
            hashes = {OPERATOR: password.apply(bcrypt_hash)}
            self.outputs["door_login"] = pulumi.Output.secret({"username": OPERATOR, "password": password})
        ca = Path(settings.oidc.ca_file).expanduser().read_text() if settings.oidc and settings.oidc.ca_file else None
        ca_file = f"{SIGN_ON_FOLDER}/ca.crt" if ca else None
        users: pulumi.Output[str] = pulumi.Output.all(*hashes.values()).apply(
            lambda known: users_file(dict(zip(hashes, known, strict=True)))
        )
        cookie_secret = RandomPassword("door-cookie-secret", pulumi.ResourceOptions(parent=self)).value
        return self._secret(
            SIGN_ON,
            {
                "oauth2-proxy.cfg": cookie_secret.apply(
                    lambda key: sign_on_configuration(settings, key, SIGN_ON_FOLDER, settings.host, ca_file=ca_file)
                ),
                "users": pulumi.Output.secret(users),
                **({"ca.crt": ca} if ca else {}),
            },
        )

    def _start_page_settings(self) -> pulumi.Output[dict[str, Any]]:
        behind = self._behind
        models = {
            name: {
                "url": f"http://{model.address}{model.path.rstrip('/')}",
                "visibility": model.visibility,
                "team": model.team,
            }
            for name, model in behind.models.items()
        }
        mlflow, monitoring = f"http://{behind.pages['mlflow'].address}", behind.pages.get("monitoring")
        password = (monitoring and monitoring.password) or pulumi.Output.from_input("")

        def settings(word: str) -> dict[str, Any]:
            prometheus = (
                {"url": f"http://{monitoring.address}", "username": monitoring.username, "password": word}
                if monitoring
                else None
            )
            roles = area_roles(behind.teams)
            return start_page_settings(
                mlflow, prometheus, models, behind.schedules, roles, kubeflow="pipeline" in behind.pages
            )

        return password.apply(settings)

    def _service(self, pods: pulumi.Resource) -> None:
        address = self._settings.service_address
        service(
            NAME,
            self._namespace,
            PODS,
            PODS,
            {"https": (443, HTTPS_PORT), "http": (80, HTTP_PORT)},
            pods,
            kind="LoadBalancer",
            annotations={METALLB_ADDRESS: address} if address else None,
        )

    def _config_map(self, name: str, data: Mapping[str, str]) -> kubernetes.core.v1.ConfigMap:
        return kubernetes.core.v1.ConfigMap(
            name, metadata=self._metadata(name), data=data, opts=self._namespace.options()
        )

    def _secret(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.Secret:
        return kubernetes.core.v1.Secret(
            name, metadata=self._metadata(name), string_data=content, opts=self._namespace.options()
        )

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": NAMESPACE, "labels": PODS}
