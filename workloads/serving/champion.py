"""From a registered model to a service that answers predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.kubernetes_client.port_forward import credentials, reachable_url
from infra.local.local_process import HOST, PYTHON, LocalProcess
from settings.paths import PROJECT
from settings.serving import ServingSettings
from workloads.runs.compile import digest

ALIAS = "champion"
API = "/api/2.0/mlflow"
REGISTRY_SECONDS = 30


class _ChampionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = bool(_news["pinned"]) and _olds["version"] != _news["pinned"]
        return DiffResult(
            changes=moved or any_changed(_olds, _news, ("tracking_url", "model", "pinned", "deployed", "run_id"))
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model"], props | _appointed(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Follow an alias that somebody moved in the registry; a registry that is down is no reason to forget it."""
        import requests

        try:
            with _registry(props) as ask:
                answer = _asked(ask, props["model"])
        except (requests.RequestException, UserError) as error:
            pulumi.log.warn(f"{props['model']}: the model registry was not looked at: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props | _champion(answer, props["model"]))


class Champion(Resource, module="workloads", name="Champion"):
    """The version of a registered model that has the alias `champion`.

    Args:
        access: see `infra.kubernetes_client.port_forward`.
        deployed: the version that the last run of its pipeline deployed, "" where the gate rejected it: then the
            champion stays who it is.
        run_id: that run; a new one is a reason to look again.
        pinned: the version that the settings want instead, "" for none.

    Outputs:
        version, sha256, accuracy: of the champion; "" / "" / 0 while there is none.

    Raises (as a failed resource):
        UserError: the registry has no such version, or cannot be reached.
    """

    version: pulumi.Output[str]
    sha256: pulumi.Output[str]
    accuracy: pulumi.Output[float]

    def __init__(
        self,
        name: str,
        *,
        tracking_url: pulumi.Input[str],
        access: Mapping[str, pulumi.Input[str]],
        model: str,
        deployed: pulumi.Input[str],
        run_id: pulumi.Input[str],
        pinned: str,
        setting: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "tracking_url": tracking_url,
            "access": dict(access),
            "model": model,
            "deployed": deployed,
            "run_id": run_id,
            "pinned": pinned,
            "setting": setting,
            **dict.fromkeys(("version", "sha256", "accuracy")),
        }
        super().__init__(_ChampionProvider(), name, props, opts)


def _appointed(props: dict[str, Any]) -> dict[str, Any]:
    """Give the wanted version the alias, and say who has it now."""
    import requests

    model, wanted = props["model"], props["pinned"] or props["deployed"]
    try:
        with _registry(props) as ask:
            if wanted:
                alias = {"name": model, "alias": ALIAS, "version": wanted}
                answer = ask("POST", "registered-models/alias", json=alias)
                if answer.status_code == 404:
                    there = _versions(ask, model)
                    raise UserError(f"{props['setting']}: model {model} has no version {wanted}; there are: {there}")
                answer.raise_for_status()
            return _champion(_asked(ask, model), model)
    except requests.RequestException as error:
        raise UserError(f"the model registry at {props['tracking_url']} cannot be used: {error}") from None


@contextmanager
def _registry(props: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """What asks MLflow's registry: method, call, and the arguments of `requests`."""
    import requests

    access = props.get("access", {})  # a state that was written before there were clusters has none
    with reachable_url(props["tracking_url"], access) as url:

        def ask(method: str, call: str, **arguments: Any) -> requests.Response:
            login = credentials(access)
            return requests.request(method, f"{url}{API}/{call}", auth=login, timeout=REGISTRY_SECONDS, **arguments)

        yield ask


def _asked(ask: Callable[..., Any], model: str) -> Any:
    """What the registry answers to who asks for the champion: 400 or 404 where there is no such alias or model."""
    answer = ask("GET", "registered-models/alias", params={"name": model, "alias": ALIAS})
    if answer.status_code not in (400, 404):
        answer.raise_for_status()
    return answer


def _champion(answer: Any, model: str) -> dict[str, Any]:
    if not answer.ok:
        return {"version": "", "sha256": "", "accuracy": 0.0}
    version = answer.json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
    if not {"sha256", "accuracy"} <= tags.keys():
        raise UserError(
            f"version {version['version']} of the model {model} has the alias {ALIAS}, and no pipeline of this program "
            "registered it: it lacks the tags sha256 and accuracy. Give the alias to another version"
        )
    return {"version": version["version"], "sha256": tags["sha256"], "accuracy": float(tags["accuracy"])}


def _versions(ask: Callable[..., Any], model: str) -> str:
    answer = ask("GET", "model-versions/search", params={"filter": f"name='{model}'"})
    versions = sorted(int(version["version"]) for version in answer.json().get("model_versions", []))
    return ", ".join(map(str, versions)) or "none"


def model_server(
    name: str,
    settings: ServingSettings,
    *,
    port: int,
    setting: str,
    tracking_url: pulumi.Input[str],
    model: str,
    champion: Champion,
    directory: Path,
) -> LocalProcess:
    """A model server on this computer for the champion of one model: pinned to its version, or following the alias."""
    program = PROJECT / "model_server"
    chosen: dict[str, pulumi.Input[str]] = (
        {"MODEL_SERVER_ALIAS": ALIAS}
        if settings.follow
        else {"MODEL_SERVER_VERSION": champion.version, "MODEL_SERVER_SHA256": champion.sha256}
    )
    return LocalProcess(
        name,
        command=[PYTHON, "-m", "model_server"],
        environment={
            "MODEL_SERVER_REGISTRY": tracking_url,
            "MODEL_SERVER_MODEL": model,
            **chosen,
            "MODEL_SERVER_CACHE": str(directory / name / "models"),
            "MODEL_SERVER_HOST": HOST,
            "MODEL_SERVER_PORT": str(port),
            "MODEL_SERVER_WORKERS": str(settings.workers),
            "MODEL_SERVER_MAX_BODY_BYTES": str(settings.max_body_bytes),
            "MODEL_SERVER_MAX_ROWS": str(settings.max_rows),
        },
        revision=digest([*program.glob("*.py"), *program.glob("templates/*")]),
        port=port,
        setting=setting,
        ready_path=champion.version.apply(lambda version: "/v2/health/ready" if version else "/v2/health/live"),
        data=directory / name,
    )
