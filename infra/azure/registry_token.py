"""The password of a token of Azure's container registry. Azure's resource provider has no resource for it."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, changed
from infra.retry import poll

MANAGEMENT = "https://management.azure.com"
API_VERSION = "2023-07-01"
OPERATION_SECONDS = 120
POLL_SECONDS = 2


class _TokenPasswordProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace the password of another token. `bearer` differs in each run and does not matter."""
        replaces = changed(_olds, _news, ("registry", "token"))
        return DiffResult(changes=bool(replaces), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        value = _generate(props["management"], props["registry"], props["token"], props["bearer"])
        return CreateResult(props["token"], {"registry": props["registry"], "token": props["token"], "value": value})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Keep the password: every change that matters replaces it."""
        return UpdateResult(_olds)


class RegistryToken(Resource, module="infra", name="AzureTokenPassword"):
    """The password `value` (secret) of the registry's token with the id `token`, which does not expire.

    Args:
        registry: the registry's id.
        bearer: an access token for Azure's management API, secret; used when the password is created.
        management: URL of Azure's management API.

    Raises (as a failed resource):
        UserError: Azure refused, with its message, or did not finish within two minutes.
    """

    value: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        registry: pulumi.Input[str],
        token: pulumi.Input[str],
        bearer: pulumi.Input[str],
        management: str = MANAGEMENT,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        props = {"registry": registry, "token": token, "bearer": bearer, "management": management, "value": None}
        super().__init__(_TokenPasswordProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def _generate(management: str, registry: str, token: str, bearer: str) -> str:
    import requests

    headers = {"Authorization": f"Bearer {bearer}"}
    url = f"{management}{registry}/generateCredentials?api-version={API_VERSION}"
    response: requests.Response | None = None

    def finished() -> bool | None:
        nonlocal response
        if response is None:
            response = requests.post(url, json={"tokenId": token, "name": "password1"}, headers=headers, timeout=30)
        else:
            response = requests.get(response.headers["Location"], headers=headers, timeout=30)
        return None if response.status_code == 202 else True

    def interval() -> float:
        """Return the seconds of Retry-After. A date there is ignored: the operation takes seconds."""
        pause = response.headers.get("Retry-After", "") if response is not None else ""
        return float(pause) if pause.isdecimal() else POLL_SECONDS

    try:
        poll(finished, timeout=OPERATION_SECONDS, interval=interval)
    except requests.RequestException as error:
        raise UserError(f"the password of the registry's token cannot be created: {error}") from None
    assert response is not None
    if response.status_code != 200:
        text = response.text.strip()[:300] or "no message"
        raise UserError(
            f"the password of the registry's token cannot be created: Azure answered {response.status_code}: {text}"
        )
    return str(response.json()["passwords"][0]["value"])
