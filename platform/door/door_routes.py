"""Addresses behind the door: what nginx passes to which service, and who may call it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlplatform.k8s.namespace import team_namespace

from settings.services.door_settings import DoorSettings, Visibility
from settings.services.team_settings import TeamSettings
from settings.serving import CanarySettings, ServingSettings
from settings.stack import StackSettings
from settings.workloads import PipelineSettings

MODEL = "model"
MODELS_PATH = "models/"
SHARED_SERVICE = "shared-models"
"""Service of the models of `serving:together`."""
ROLES: dict[str, Sequence[str]] = {
    "start": ("administrator", "editor", "reader"),
    "mlflow": ("administrator", "editor", "reader"),
    "monitoring": ("administrator", "editor", "reader"),
    "audit": ("administrator",),
    # Kubeflow's pages cannot distinguish readers from editors.
    "pipeline": ("administrator", "editor"),
    # A notebook changes what an editor may change.
    "notebooks": ("administrator", "editor"),
}
"""Roles that may use an area. MLflow itself limits what each role does there."""
UNDIVIDED = "monitoring"
"""Area that shows the models of all teams, and therefore only administrators use if there are teams."""
UPLOAD = "  client_max_body_size 0;\n  proxy_request_buffering off;\n  proxy_read_timeout 300s;\n"
"""Options of a location for long uploads."""


@dataclass(frozen=True)
class PublishedModel:
    """A model behind the door.

    Args:
        service: the Service of its server.
        port: the port of the Service.
        visibility: its callers.
        max_body_bytes: the longest body of a request.
        path: the path of its addresses, with a slash at its end; not `/` if the server has several models.
        team: its team; "" for a model of all.
        canary: a canary to which the door sends requests; None without it.
    """

    service: str
    port: int
    visibility: Visibility
    max_body_bytes: int
    path: str = "/"
    team: str = ""
    canary: CanarySettings | None = None

    @property
    def address(self) -> str:
        """Return `host:port` for pods."""
        return f"{self.service}.{team_namespace(self.team)}.svc:{self.port}"

    def addresses(self, name: str) -> dict[str, str]:
        """Return `host:port` for pods of the model with this name and of its canary, by nginx's name."""
        canary = f"{canary_service(self.service)}.{team_namespace(self.team)}.svc:{self.port}"
        return {model_upstream(name): self.address, **({canary_upstream(name): canary} if self.canary else {})}


def services_file(addresses: Mapping[str, str]) -> str:
    """Return the services behind the door for `serve.sh`; `addresses` are `host:port` by nginx's name."""
    return "".join(f"{name} {address.replace(':', ' ')}\n" for name, address in addresses.items())


def routes_file(
    door: DoorSettings,
    models: Mapping[str, PublishedModel],
    files: str,
    page: str | None,
    *,
    kubeflow: bool,
    notebooks: bool = False,
) -> str:
    """Return the locations of nginx for the services behind the door.

    Args:
        door: the settings.
        models: the served models by name.
        files: the folder of nginx's files.
        page: the path of the status page of Prometheus, None without Prometheus.
        kubeflow: whether there are the pages of Kubeflow Pipelines.
        notebooks: whether there are notebooks.
    """
    routes = [_mlflow(files), *([_monitoring(files, page)] if page else []), *([_pipeline(files)] if kubeflow else [])]
    routes += [_notebooks(files)] if notebooks else []
    routes += [_model(name, model, files, door.requests_per_second) for name, model in models.items()]
    return "".join(routes)


def model_service(model: str) -> str:
    """Return the name of the Service of a model that has a server for itself."""
    return f"{model}-server"


def canary_service(service: str) -> str:
    """Return the name of the Service of a model's canary, by that of the model."""
    return f"{service}-canary"


def model_path(model: str) -> str:
    """Return the path of a model, on a server of several models as behind the door."""
    return f"{MODELS_PATH}{model}"


def served_models(settings: StackSettings) -> dict[str, PublishedModel]:
    """Return the served models of a stack by name."""
    teams = settings.workloads.pipeline_teams
    return {
        pipeline.model or name: _published(pipeline.model or name, pipeline, settings.serving, teams.get(name, ""))
        for name, pipeline in settings.workloads.pipelines.items()
        if pipeline.serve and settings.workloads.enabled
    }


def canary_model(settings: StackSettings) -> str | None:
    """Return the model that a canary is for: the one at `serving:port`; None without such a model."""
    for name, pipeline in settings.workloads.pipelines.items():
        if pipeline.serve and pipeline.port is None:
            return pipeline.model or name
    return None


def _published(model: str, pipeline: PipelineSettings, serving: ServingSettings, team: str) -> PublishedModel:
    shared = model in serving.together
    weighted = serving.canary if serving.canary and serving.canary.separate and pipeline.port is None else None
    return PublishedModel(
        SHARED_SERVICE if shared else model_service(model),
        pipeline.port or serving.port,
        pipeline.visibility,
        serving.max_body_bytes,
        f"/{model_path(model)}/" if shared else "/",
        team,
        weighted,
    )


def _mlflow(files: str) -> str:
    """Return the location of MLflow, which gets the name and the role of the caller."""
    return _location("mlflow", files, f"{UPLOAD}{_identity('$door_key')}  proxy_pass http://mlflow/;\n")


def _identity(key: str) -> str:
    """Return the headers that name the caller; `key` is nginx's variable with the key that the service expects."""
    values = {"User": "$door_user", "Role": "$door_role", "Teams": "$door_teams", "Key": key}
    return "".join(f"  proxy_set_header X-Door-{name} {value};\n" for name, value in values.items())


def _notebooks(files: str) -> str:
    """Return the locations of the hub and of the servers of notebooks.

    A server runs the code of a person, so its requests have no key. Both set cookies.
    """
    cookies = "  proxy_set_header Cookie $notebook_cookies;\n  proxy_pass_header Set-Cookie;\n"
    cookies += "  js_header_filter door.keep_notebook_cookies;\n"
    kernels = {
        "Authorization": "$notebook_authorization",
        "Upgrade": "$http_upgrade",
        "Connection": "$notebook_connection",
    }
    server = "".join(f"  proxy_set_header {name} {value};\n" for name, value in kernels.items())
    hub = f"{cookies}{_identity('$notebooks_key')}  proxy_pass http://notebooks_hub;\n"
    return (
        "location ~ ^/notebooks/?$ { return 302 /notebooks/hub/; }\n"
        + _location("notebooks", files, hub, "notebooks/hub")
        + _location("notebooks", files, f"{UPLOAD}{cookies}{server}  proxy_pass http://notebooks;\n", "notebooks/user")
    )


def _monitoring(files: str, page: str) -> str:
    """Return the location of Prometheus, whose status page is at the path `page`."""
    login = "  proxy_set_header Authorization $monitoring_login;\n"
    start = f"location = /monitoring/ {{ return 302 /monitoring{page}; }}\n"
    return start + _location("monitoring", files, f"{login}  proxy_pass http://monitoring/;\n")


def _pipeline(files: str) -> str:
    """Return the location of the pages of Kubeflow Pipelines, which expect this path, and take packages of 32 MiB."""
    options = "  client_max_body_size 33m;\n  proxy_set_header Authorization $pipeline_login;\n"
    return _location("pipeline", files, f"{options}  proxy_pass http://pipeline;\n")


def _model(name: str, model: PublishedModel, files: str, rate: int) -> str:
    """Return the location of a model. A prediction changes nothing, so nginx repeats one that a pod did not answer."""
    limits = f"  limit_req zone=callers burst={rate} nodelay;\n  client_max_body_size {model.max_body_bytes};\n"
    retry = "  proxy_next_upstream error timeout non_idempotent;\n  proxy_next_upstream_tries 2;\n"
    target, further, errors = f"  proxy_pass http://{model_upstream(name)}{model.path};\n", "", ""
    if model.canary and model.canary.mirror:
        target += f"  mirror /door/mirror/{name};\n"
        further = _mirror(name, files)
    elif model.canary:
        errors = f"  error_page 502 504 = @stable_{name};\n"
        target = f"  rewrite ^/{model_path(name)}/(.*)$ /$1 break;\n  proxy_pass http://${_release(name)};\n"
        further = _stable(name, files)
    return _location(MODEL, files, limits + retry + target, model_path(name), name, errors) + further


def releases_file(models: Mapping[str, PublishedModel]) -> str:
    """Return nginx's variables of canaries: the upstream of a request, or the path of its copy."""
    lines = []
    for name, model in models.items():
        if model.canary and model.canary.mirror:
            lines.append(f"map $request_uri ${_release(name)} {{ ~^/{model_path(name)}/(?<rest>.*)$ /$rest; }}\n")
        elif model.canary:
            shares = f"{model.canary.weight}% {canary_upstream(name)}; * {model_upstream(name)};"
            lines.append(f"split_clients $request_id ${_release(name)} {{ {shares} }}\n")
    return "".join(lines)


def _mirror(name: str, files: str) -> str:
    """Return the location of copies for a canary. A client's next request on a connection waits for its copy."""
    timeouts = "".join(f"  proxy_{phase}_timeout 2s;\n" for phase in ("send", "read"))
    target = f"  proxy_pass http://{canary_upstream(name)}${_release(name)};\n"
    options = f"  internal;\n  client_max_body_size 0;\n  include {files}/proxy.conf;\n{timeouts}"
    return f"location = /door/mirror/{name} {{\n{options}{target}}}\n"


def _stable(name: str, files: str) -> str:
    """Return the location that answers a request that the canary did not answer."""
    return (
        f"location @stable_{name} {{\n  include {files}/proxy.conf;\n  proxy_pass http://{model_upstream(name)};\n}}\n"
    )


def _release(model: str) -> str:
    """Return the name of nginx's variable for the canary of a model."""
    return f"release_{model.replace('-', '_')}"


def canary_upstream(model: str) -> str:
    """Return nginx's name for the servers of a model's canary."""
    return f"{model_upstream(model)}_canary"


def model_upstream(model: str) -> str:
    """Return nginx's name for the servers of a model."""
    return f"model_{model}"


def area_roles(teams: Mapping[str, TeamSettings]) -> dict[str, Sequence[str]]:
    """Return the roles that may use an area, by its name."""
    return ROLES | ({UNDIVIDED: ("administrator",)} if teams else {})


def access_rules(
    door: DoorSettings,
    users: Mapping[str, str],
    models: Mapping[str, PublishedModel],
    teams: Mapping[str, TeamSettings],
    sign_on: str,
) -> str:
    """Return access.json, which door.js reads: `users` are roles by name, `sign_on` is the URL of oauth2-proxy."""
    rules = {
        "sign_on": sign_on,
        "provider": door.oidc is not None,
        "users": dict(users),
        "groups": door.oidc.groups if door.oidc else {},
        "areas": {area: dict.fromkeys(roles, True) for area, roles in area_roles(teams).items()},
        "models": {name: model.visibility for name, model in models.items()},
        "owners": {name: model.team for name, model in models.items() if model.team},
        "teams": _members(teams) if teams else None,
    }
    return json.dumps(rules, sort_keys=True)


def _members(teams: Mapping[str, TeamSettings]) -> dict[str, Any]:
    """Return the teams of each person and group; several teams are one text, separated by commas."""
    people: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    for name, team in teams.items():
        for found, members in ((people, team.people), (groups, team.groups)):
            for member in members:
                found.setdefault(member, []).append(name)
    return {
        "names": dict.fromkeys(teams, True),
        "people": {person: ",".join(dict.fromkeys(names)) for person, names in people.items()},
        "groups": {group: ",".join(dict.fromkeys(names)) for group, names in groups.items()},
    }


def _location(area: str, files: str, body: str, path: str = "", model: str = "", errors: str = "") -> str:
    # Of two pages for one error, nginx takes the first.
    guard = f"{errors}  include {files}/guard.conf;\n  include {files}/proxy.conf;\n"
    return f'location /{path or area}/ {{\n  set $area {area};\n  set $model "{model}";\n{guard}{body}}}\n'
