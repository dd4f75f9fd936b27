"""The password of a token of Azure's container registry, which its resource provider has no resource for."""

from __future__ import annotations

import time
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource

from infra.dynamic_provider import DynamicProvider, UserError, any_changed

MANAGEMENT = "https://management.azure.com"
API_VERSION = "2023-07-01"
SECONDS = 120


class _TokenPasswordProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another token takes another password. What proves who asks is another at each run, which changes nothing."""
        replaces = [name for name in ("registry", "token") if any_changed(_olds, _news, [name])]
        return DiffResult(changes=bool(replaces), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        value = _generate(props["management"], props["registry"], props["token"], props["bearer"])
        return CreateResult(props["token"], {"registry": props["registry"], "token": props["token"], "value": value})


class RegistryToken(Resource, module="infra", name="AzureTokenPassword"):
    """The password `value` (secret) of the registry's token with the id `token`, which does not expire.

    Args:
        registry: the registry's id.
        bearer: a token for Azure's management, secret; read when the password is made.
        management: the address of Azure's management.

    Raises (as a failed resource):
        UserError: Azure refused, with what it said, or did not answer within two minutes.
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
    deadline = time.monotonic() + SECONDS
    try:
        answer = requests.post(url, json={"tokenId": token, "name": "password1"}, headers=headers, timeout=30)
        while answer.status_code == 202 and time.monotonic() < deadline:
            # It may also be a date, which is not worth reading for a wait of seconds.
            pause = answer.headers.get("Retry-After", "")
            time.sleep(int(pause) if pause.isdecimal() else 2)
            answer = requests.get(answer.headers["Location"], headers=headers, timeout=30)
    except requests.RequestException as error:
        raise UserError(f"the password of the registry's token could not be made: {error}") from None
    if answer.status_code != 200:
        said = answer.text.strip()[:300] or "nothing more"
        raise UserError(
            f"the password of the registry's token could not be made: Azure answered {answer.status_code}: {said}"
        )
    return str(answer.json()["passwords"][0]["value"])
