"""Champion of a registered model: the version that is served."""

from __future__ import annotations

from typing import Any

import pulumi
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from workloads.mlflow_rest import ALIAS, MlflowRest, mlflow_rest
from workloads.serving.model_check import refusal


class _ChampionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = bool(_news["pinned"]) and _olds["version"] != _news["pinned"]
        # A refresh uses the access of the last update: with an old password it would never read the registry again.
        changed = any_changed(_olds, _news, ("access", "model", "pinned", "deployed", "run_id"))
        # The alias is missing after the registry was replaced, or after a user deleted the alias.
        alias_lost = not _olds["version"] and bool(_news["pinned"] or _news["deployed"])
        return DiffResult(changes=moved or changed or alias_lost)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model"], props | _set_champion(props, previous=""))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        previous = _olds["version"] if _olds["model"] == _news["model"] else ""
        return UpdateResult(_news | _set_champion(_news, previous))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Return the current champion of the registry; an unavailable registry leaves the last known one."""
        import requests

        try:
            with mlflow_rest(props["access"]) as registry:
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
        UserError: the registry has no such version or does not respond, or the model server refuses the version.
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


def _set_champion(props: dict[str, Any], previous: str) -> dict[str, Any]:
    """Give the pinned or deployed version the alias and return the outputs of the champion.

    The model server tries the version first. A refused version loses the alias to `previous`: a pipeline may have given
    the alias to the version that it registered.
    """
    import requests

    model, wanted = props["model"], props["pinned"] or props["deployed"]
    try:
        with mlflow_rest(props["access"]) as registry:
            if wanted:
                _require_version(registry, model, wanted, props["setting"])
                if reason := refusal(parse_tracking_access(props["access"]), model, wanted):
                    champion = registry.champion(model)
                    if champion and champion["version"] == wanted != previous:
                        registry.set_champion(model, previous)
                    raise UserError(
                        f"version {wanted} of the model {model} cannot be served: {reason}. The champion is still "
                        f"{f'version {previous}' if previous else 'none'}. Correct the pipeline, or set "
                        f"{props['setting']} to another version"
                    )
                registry.set_champion(model, wanted)
            return _outputs(model, registry.champion(model))
    except requests.RequestException as error:
        raise UserError(f"the model registry at {props['access']['url']} cannot be used: {error}") from None


def _require_version(registry: MlflowRest, model: str, version: str, setting: str) -> None:
    if not registry.has_version(model, version):
        versions = ", ".join(map(str, registry.versions(model))) or "none"
        raise UserError(f"{setting}: model {model} has no version {version}; there are: {versions}")


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
