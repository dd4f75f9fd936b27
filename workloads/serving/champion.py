"""Champion of a registered model: the version that is served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pulumi
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from workloads.mlflow_session import reachable_url

ALIAS = "champion"
API = "/api/2.0/mlflow"
REQUEST_SECONDS = 30


class _ChampionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = bool(_news["pinned"]) and _olds["version"] != _news["pinned"]
        registry_changed = any_changed(_olds["access"], _news["access"], ("url",))
        changed = any_changed(_olds, _news, ("model", "pinned", "deployed", "run_id"))
        return DiffResult(changes=moved or registry_changed or changed)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model"], props | _set_champion(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Return the current champion of the registry; an unavailable registry leaves the last known one."""
        import requests

        try:
            with _registry(props["access"]) as registry:
                champion = registry.champion(props["model"])
        except (requests.RequestException, UserError) as error:
            pulumi.log.warn(f"{props['model']}: the refresh skipped the model registry: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props | _outputs(props["model"], champion))


class Champion(Resource, module="workloads", name="Champion"):
    """Version of a registered model with the alias `champion`.

    Args:
        access: access to the model registry, an MLflow server, from this computer.
        deployed: the version that the last run of the pipeline deployed; "" leaves the champion as it is.
        run_id: the id of that run; a new run updates the champion.
        pinned: the version from the settings, which overrides `deployed`; "" for none.
        setting: the setting of `pinned`, for errors.

    Outputs:
        version, sha256, accuracy: properties of the champion; "" / "" / 0 without a champion.

    Raises (as a failed resource):
        UserError: the registry has no such version or does not respond.
    """

    version: pulumi.Output[str]
    sha256: pulumi.Output[str]
    accuracy: pulumi.Output[float]

    def __init__(
        self,
        name: str,
        *,
        access: TrackingAccess[pulumi.Input[str]],
        model: str,
        deployed: pulumi.Input[str],
        run_id: pulumi.Input[str],
        pinned: str,
        setting: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "access": access.inputs(),
            "model": model,
            "deployed": deployed,
            "run_id": run_id,
            "pinned": pinned,
            "setting": setting,
            **dict.fromkeys(("version", "sha256", "accuracy")),
        }
        super().__init__(_ChampionProvider(), name, props, opts)


class _Registry:
    """Client of MLflow's REST API for model versions.

    Each `up` and each refresh reads the champions. MLflow's own client takes some 3 s of processor time to import,
    these requests take 0.3 s.
    """

    def __init__(self, url: str, login: tuple[str, str] | None) -> None:
        import requests

        self._url = url
        self._session = requests.Session()
        self._session.auth = login

    def set_champion(self, model: str, version: str) -> bool:
        """Give a version the alias; return False if the version does not exist."""
        alias = {"name": model, "alias": ALIAS, "version": version}
        return self._request("POST", "registered-models/alias", (404,), json=alias) is not None

    def champion(self, model: str) -> dict[str, Any] | None:
        """Return the version with the alias; None if there is no such model or no alias."""
        parameters = {"name": model, "alias": ALIAS}
        response = self._request("GET", "registered-models/alias", (400, 404), params=parameters)
        return dict(response["model_version"]) if response else None

    def versions(self, model: str) -> list[int]:
        """Return the numbers of all versions, in ascending order."""
        response = self._request("GET", "model-versions/search", params={"filter": f"name='{model}'"})
        return sorted(int(version["version"]) for version in (response or {}).get("model_versions", []))

    def _request(self, method: str, path: str, allowed: tuple[int, ...] = (), **arguments: Any) -> Any:
        response = self._session.request(method, f"{self._url}{API}/{path}", timeout=REQUEST_SECONDS, **arguments)
        if response.status_code in allowed:
            return None
        response.raise_for_status()
        return response.json()


@contextmanager
def _registry(access: dict[str, str]) -> Iterator[_Registry]:
    parsed = parse_tracking_access(access)
    with reachable_url(parsed) as url:
        yield _Registry(url, parsed.login)


def _set_champion(props: dict[str, Any]) -> dict[str, Any]:
    """Give the pinned or deployed version the alias and return the outputs of the champion."""
    import requests

    model, wanted = props["model"], props["pinned"] or props["deployed"]
    try:
        with _registry(props["access"]) as registry:
            if wanted and not registry.set_champion(model, wanted):
                versions = ", ".join(map(str, registry.versions(model))) or "none"
                raise UserError(f"{props['setting']}: model {model} has no version {wanted}; there are: {versions}")
            return _outputs(model, registry.champion(model))
    except requests.RequestException as error:
        raise UserError(f"the model registry at {props['access']['url']} cannot be used: {error}") from None


def _outputs(model: str, champion: dict[str, Any] | None) -> dict[str, Any]:
    if champion is None:
        return {"version": "", "sha256": "", "accuracy": 0.0}
    tags = {tag["key"]: tag["value"] for tag in champion.get("tags", [])}
    if not {"sha256", "accuracy"} <= tags.keys():
        raise UserError(
            f"version {champion['version']} of the model {model} has the alias {ALIAS}, but lacks the tags sha256 and "
            "accuracy: no pipeline of this program registered it. Give the alias to another version"
        )
    return {"version": champion["version"], "sha256": tags["sha256"], "accuracy": float(tags["accuracy"])}
