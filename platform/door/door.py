"""The door: one address with HTTPS, sign-on and rights in front of all services of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.door.acme_certificate import AcmeAccount, AcmeCertificate
from mlplatform.door.audit import NAME as AUDIT
from mlplatform.door.audit import NAMESPACE as NAMESPACE
from mlplatform.door.audit import PODS as AUDIT_PODS
from mlplatform.door.audit import PORT as AUDIT_PORT
from mlplatform.door.audit import audit_programs, audit_service
from mlplatform.door.certificate import DoorCertificateFiles, door_certificate
from mlplatform.door.door_pod import (
    ACME,
    HTTP_PORT,
    HTTPS_PORT,
    NAME,
    PAGES,
    PODS,
    PROGRAM,
    SIGN_ON,
    SIGN_ON_FOLDER,
    door_pod,
    files,
)
from mlplatform.door.door_pod import FILES as FILES_FOLDER
from mlplatform.door.door_routes import (
    access_rules,
    area_roles,
    releases_file,
    routes_file,
    services_file,
)
from mlplatform.door.served_files import digest
from mlplatform.door.services_behind import Behind
from mlplatform.door.sign_on import PORT as SIGN_ON_PORT
from mlplatform.door.sign_on import sign_on_configuration, users_file
from mlplatform.door.start_page import NAME as START_PAGE
from mlplatform.door.start_page import PODS as START_PAGE_PODS
from mlplatform.door.start_page import PORT as START_PAGE_PORT
from mlplatform.door.start_page import start_page, start_page_settings
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Rule, namespace, tcp_ports, team_namespace

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword, bcrypt_hash
from settings.services.door_settings import DoorSettings

OPERATOR = "operator"
"""The administrator of a door without users or a provider."""
REPLICAS = 2
HUB_PAGE = "notebooks_hub"
"""Name of the hub of notebooks among the pages; its password is the key that it expects of the door."""
METALLB_ADDRESS = "metallb.io/loadBalancerIPs"


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
        files: the digest of its files of the settings.
        outputs: `door_url`; `door_login` as a secret, and `door_authority`, where the stack makes them.
    """

    url: str
    files: pulumi.Output[str]
    outputs: dict[str, pulumi.Input[Any]]

    def __init__(
        self,
        settings: DoorSettings,
        access: DoorAccess,
        behind: Behind,
        cluster: Cluster,
        registry: ContainerRegistry,
        libraries: Image,
        *,
        sees_callers: bool = False,
    ) -> None:
        """Create the door; `sees_callers` is True if its load balancer selects a node with one of its pods."""
        super().__init__("mlplatform:platform:Door", NAME)
        self._settings, self._behind, self._key = settings, behind, access.key
        certificate = access.certificate
        self._namespace = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        self.url = f"https://{settings.host}/"
        self.outputs = {"door_url": self.url}
        if certificate.authority and not settings.acme:
            self.outputs["door_authority"] = certificate.authority
        servers = {team_namespace(team) for team in ("", *behind.teams)}
        targets = sorted({page.namespace for page in behind.pages.values()} | servers)
        peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": each}}} for each in targets]
        egress: list[Rule] = [DNS, {"to": peers}]
        page = start_page(
            self._namespace,
            libraries,
            self._start_page_settings(),
            access.key,
            {"podSelector": {"matchLabels": PODS}},
            [*egress, {"to": [{"podSelector": {"matchLabels": AUDIT_PODS}}]}],
        )
        programs = audit_programs(self._namespace)
        log = audit_service(self._namespace, libraries, programs, settings.audit_days, [PODS, START_PAGE_PODS])
        # A policy cannot name the host of a provider.
        provider: list[Rule] = [{**ANY_ADDRESS, **tcp_ports(settings.oidc.port)}] if settings.oidc else []
        own: Rule = {"to": [{"podSelector": {"matchLabels": labels}} for labels in (START_PAGE_PODS, AUDIT_PODS)]}
        policy = self._namespace.allow(
            NAME, PODS, ingress=[tcp_ports(HTTP_PORT, HTTPS_PORT)], egress=[*egress, own, *provider]
        )
        secrets = {**certificate.secret(), "keys.conf": self._keys()}
        nginx_files = self._nginx_files()
        self.files = pulumi.Output.all(**nginx_files).apply(digest)
        nginx = [self._config_map(NAME, nginx_files), self._secret(NAME, secrets)]
        account = AcmeAccount("acme-account", pulumi.ResourceOptions(parent=self)) if settings.acme else None
        # The script, oauth2-proxy and the sender read these at their start. nginx reloads its files without a new pod.
        read_once = [self._config_map(name, files(folder)) for name, folder in ((PAGES, "pages"), (PROGRAM, "program"))]
        at_start = [self._sign_on(), *read_once, programs]
        pods = deployment(
            NAME,
            self._namespace,
            PODS,
            door_pod(settings, libraries, account.thumbprint if account else ""),
            *nginx,
            policy,
            page,
            log,
            settings=at_start,
            strategy="RollingUpdate",
            replicas=REPLICAS,
        )
        address = self._service(pods, sees_callers)
        if settings.acme and account:
            # The directory requests an answer of the door.
            opts = pulumi.ResourceOptions(parent=self, depends_on=[address])
            issued = AcmeCertificate("acme-certificate", settings.acme, settings.host, account, opts)
            self._secret(ACME, DoorCertificateFiles(issued.certificate, issued.key).secret())
        self.register_outputs({})

    def _nginx_files(self) -> dict[str, pulumi.Input[str]]:
        serves = self._behind.trial.serves if self._behind.trial else pulumi.Output.from_input(True)
        routes = serves.apply(lambda on: self._routes(with_canaries=on))
        roles = {user: each.role for user, each in self._settings.users.items()} or {OPERATOR: "administrator"}
        return {
            **files("files"),
            **{name: routes[name] for name in self._routes(with_canaries=True)},
            "access.json": access_rules(
                self._settings, roles, self._behind.models, self._behind.teams, f"http://127.0.0.1:{SIGN_ON_PORT}"
            ),
        }

    def _routes(self, *, with_canaries: bool) -> dict[str, str]:
        """Return the files about services; a canary that was promoted or taken back gets no requests."""
        monitoring = self._behind.pages.get("monitoring")
        pages = {area: page.address for area, page in self._behind.pages.items()}
        models = {
            name: model if with_canaries else replace(model, canary=None) for name, model in self._behind.models.items()
        }
        addresses = {name: address for key, model in models.items() for name, address in model.addresses(key).items()}
        services = {"start_page": f"{START_PAGE}.{NAMESPACE}.svc:{START_PAGE_PORT}", **pages, **addresses}
        page = monitoring.path if monitoring else None
        return {
            "services": services_file(services),
            "releases.conf": releases_file(models),
            "routes.conf": routes_file(
                self._settings,
                models,
                FILES_FOLDER,
                page,
                kubeflow="pipeline" in pages,
                notebooks="notebooks" in pages,
            ),
        }

    def _keys(self) -> pulumi.Output[str]:
        """Return the variables of nginx with the logins of services."""
        logins = {
            f"{area}_login": self._behind.pages[area].login
            for area in ("monitoring", "pipeline")
            if area in self._behind.pages
        }
        if hub := self._behind.pages.get(HUB_PAGE):
            logins["notebooks_key"] = hub.password or pulumi.Output.from_input("")
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

        def settings(word: str, canary: dict[str, Any] | None) -> dict[str, Any]:
            prometheus = (
                {"url": f"http://{monitoring.address}", "username": monitoring.username, "password": word}
                if monitoring
                else None
            )
            roles = area_roles(behind.teams)
            return start_page_settings(
                mlflow,
                prometheus,
                models,
                behind.schedules,
                roles,
                kubeflow="pipeline" in behind.pages,
                notebooks="notebooks" in behind.pages,
                canary=canary,
                audit=f"http://{AUDIT}.{NAMESPACE}.svc:{AUDIT_PORT}",
            )

        canary = behind.trial.outputs["canary"] if behind.trial else None
        return pulumi.Output.all(password, canary).apply(lambda known: settings(*known))

    def _service(self, pods: pulumi.Resource, sees_callers: bool) -> kubernetes.core.v1.Service:
        address = self._settings.service_address
        return service(
            NAME,
            self._namespace,
            PODS,
            PODS,
            {"https": (443, HTTPS_PORT), "http": (80, HTTP_PORT)},
            pods,
            kind="LoadBalancer",
            annotations={METALLB_ADDRESS: address} if address else None,
            sees_callers=sees_callers,
        )

    def _config_map(self, name: str, data: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.ConfigMap:
        return kubernetes.core.v1.ConfigMap(
            name, metadata=self._metadata(name), data=data, opts=self._namespace.options()
        )

    def _secret(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.Secret:
        return kubernetes.core.v1.Secret(
            name, metadata=self._metadata(name), string_data=content, opts=self._namespace.options()
        )

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": NAMESPACE, "labels": PODS}
