"""`token`, `tokens`, `revoke`, `user` and `trust`: access through the door of a stack."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.cli.audit.audit_entries import record_action
from tools.cli.backup.stack_state import config_values
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi

PREFIX = "mlp_"
UNITS = {"h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=3650)
ATTEMPTS = 5
DOOR = "platform:door"
Tokens = dict[str, dict[str, Any]]
"""Content of tokens.json: properties of each token by its SHA-256."""


def token(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Make a token for models or MLflow, keep its hash in the cluster, and print it once.

    Raises:
        AccessError: the stack has no door, or an argument is wrong.
    """
    parser = argparse.ArgumentParser(prog="make token", allow_abbrev=False)
    parser.add_argument("--for", dest="targets", required=True, help="FOR: names of models, or mlflow")
    parser.add_argument("--team", required=True, help="TEAM: who has the token")
    parser.add_argument("--expires", default="90d", help="EXPIRES: 12h, 90d or 8w")
    parser.add_argument("--role", default="reader", choices=["reader", "editor"], help="ROLE in MLflow")
    options = parser.parse_args(arguments)
    outputs = _door_outputs(pulumi)
    store = _TokenStore(outputs["kubeconfig"])
    rules = store.rules()
    targets = _targets(options.targets, sorted(rules["models"]))
    if refusal := _team_refusal(options.team, targets, rules):
        raise AccessError(f"TEAM={options.team}: {refusal}")
    expires = datetime.now(UTC) + _duration(options.expires)
    text = PREFIX + secrets.token_urlsafe(32)
    properties = {
        "id": secrets.token_hex(4),
        "team": options.team,
        "for": dict.fromkeys(targets, True),
        "role": options.role,
        "expires": int(expires.timestamp()),
    }
    store.change(lambda tokens: tokens | {hashlib.sha256(text.encode()).hexdigest(): properties})
    detail = f"for {options.targets}, team {options.team}, role {options.role}, until {expires:%Y-%m-%d %H:%M} UTC"
    record_action(pulumi.name, outputs, "made a token", f"token.{properties['id']}", detail)
    print(f"Token {properties['id']}, valid in a minute and until {expires:%Y-%m-%d %H:%M} UTC:", file=sys.stderr)
    print(text)
    return 0


def tokens(pulumi: Pulumi, _arguments: Sequence[str]) -> int:
    """List the tokens of the door, without their secret parts; mark those that the door refuses because of teams."""
    store = _TokenStore(_door_outputs(pulumi)["kubeconfig"])
    rules = store.rules()
    for each in sorted(store.read().values(), key=lambda one: one["expires"]):
        expires = datetime.fromtimestamp(each["expires"], UTC)
        state = "expired" if expires < datetime.now(UTC) else "until"
        targets = ", ".join(target.removeprefix("model:") for target in each["for"])
        refusal = _team_refusal(each["team"], each["for"], rules)
        print(
            f"{each['id']}  {each['team']}  {targets}  {each['role']}  {state} {expires:%Y-%m-%d %H:%M} UTC"
            + (f"  refused: {refusal}" if refusal else "")
        )
    return 0


def revoke(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Delete a token.

    Raises:
        AccessError: the stack has no door, or the door has no such token.
    """
    parser = argparse.ArgumentParser(prog="make revoke", allow_abbrev=False)
    parser.add_argument("--id", required=True, help="ID: from `make tokens`")
    options = parser.parse_args(arguments)

    def without(tokens: Tokens) -> Tokens:
        left = {digest: each for digest, each in tokens.items() if each["id"] != options.id}
        if len(left) == len(tokens):
            raise AccessError(f"the door has no token {options.id!r}; `make tokens` lists the tokens")
        return left

    outputs = _door_outputs(pulumi)
    _TokenStore(outputs["kubeconfig"]).change(without)
    record_action(pulumi.name, outputs, "revoked a token", f"token.{options.id}")
    print(f"Token {options.id} ends within a minute.")
    return 0


def user(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Make a password for a person, print it once, and write its hash to the settings of the stack.

    Raises:
        AccessError: `make up` would refuse the settings with this person. Nothing was written.
    """
    import bcrypt

    from settings.errors import SettingsError
    from settings.loading import check_section
    from settings.services.door_settings import DoorSettings

    parser = argparse.ArgumentParser(prog="make user", allow_abbrev=False)
    parser.add_argument("--name", required=True, help="NAME: of the person")
    parser.add_argument("--role", required=True, choices=["administrator", "editor", "reader"], help="ROLE")
    options = parser.parse_args(arguments)
    password = secrets.token_urlsafe(12)
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt()).decode()
    person = {"role": options.role, "password_hash": digest}
    pulumi.output("stack", "select", "--create")
    try:
        check_section(DoorSettings, DOOR, pulumi.name, config_values(pulumi), {"users": {options.name: person}})
    except SettingsError as error:
        raise AccessError(f"nothing was written, because `make up` would refuse the settings of {error}") from None
    path = f'{DOOR}.users["{options.name}"]'
    pulumi.output("config", "set", "--path", f"{path}.role", options.role)
    pulumi.output("config", "set", "--path", "--secret", f"{path}.password_hash", digest)
    record_action(pulumi.name, secret_outputs(pulumi), "made a password", options.name, f"role {options.role}")
    print(f"Password of {options.name}, which is shown once and valid after the next `make up`:", file=sys.stderr)
    print(password)
    return 0


def trust(pulumi: Pulumi, _arguments: Sequence[str]) -> int:
    """Print the authority of the door's certificate, and how a computer trusts it.

    Raises:
        AccessError: the stack has no door, or its certificate is of another authority.
    """
    outputs = _door_outputs(pulumi)
    if "door_authority" not in outputs:
        raise AccessError("by its settings, the door has a certificate of another authority than the stack's")
    file = f"mlplatform-{pulumi.stack}.crt"
    lines = [
        f"To trust {outputs['door_url']}, save this certificate as {file}. Its SHA-256 is:",
        _fingerprint(outputs["door_authority"]),
        f"Debian, Ubuntu: sudo cp {file} /usr/local/share/ca-certificates/ && sudo update-ca-certificates",
        f"Fedora, RHEL: sudo cp {file} /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust",
        f"macOS: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}",
        f"Windows: certutil -addstore Root {file}",
        "Firefox: Settings, Privacy & Security, View Certificates, Authorities, Import",
        f"Programs: curl --cacert {file}; REQUESTS_CA_BUNDLE={file} and SSL_CERT_FILE={file} for Python",
    ]
    print("\n".join(lines), file=sys.stderr)
    print(outputs["door_authority"], end="")
    return 0


def _door_outputs(pulumi: Pulumi) -> Mapping[str, Any]:
    outputs = secret_outputs(pulumi)
    if "door_url" not in outputs:
        raise AccessError(f"the stack {pulumi.stack} has no door: set platform:door, and run `make up`")
    return outputs


def _fingerprint(certificate: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256()).hex(":").upper()


def _targets(text: str, models: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    known = [*models, "mlflow"]
    if unknown := [name for name in names if name not in known]:
        raise AccessError(f"FOR={text}: there is no model {unknown[0]!r}; there are: {', '.join(known)}")
    return [name if name == "mlflow" else f"model:{name}" for name in names]


def _team_refusal(team: str, targets: Iterable[str], rules: Mapping[str, Any]) -> str:
    """Return why the door refuses a token of a team for one of the targets, "" if it refuses none."""
    if not rules["teams"]:
        return ""
    if team not in rules["teams"]["names"]:
        return f"there is no such team; there are: {', '.join(rules['teams']['names'])}"
    for model in (target.removeprefix("model:") for target in targets):
        if (owner := rules["owners"].get(model, team)) != team and rules["models"].get(model) != "public":
            return f"the model {model} belongs to the team {owner}"
    return ""


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([hdw])", text)
    duration = timedelta(**{UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < duration <= LONGEST:
        raise AccessError(f"EXPIRES={text}: write a number of hours, days or weeks up to ten years, as 12h, 90d or 8w")
    return duration


class _TokenStore:
    """The Secret with the hashes of tokens."""

    def __init__(self, kubeconfig: str) -> None:
        from infra.kubernetes_client.client import KubernetesClient

        self._api = KubernetesClient(kubeconfig)

    def rules(self) -> dict[str, Any]:
        """Return the content of access.json: the models behind the door, and the teams."""
        from mlplatform.door.door import NAMESPACE
        from mlplatform.door.door_pod import NAME

        files = self._api.retry(lambda: self._api.core.read_namespaced_config_map(NAME, NAMESPACE)).data
        rules: dict[str, Any] = json.loads(files["access.json"])
        return rules

    def read(self) -> Tokens:
        """Return the tokens by hash."""
        return self._read()[0]

    def change(self, change: Callable[[Tokens], Tokens]) -> None:
        """Replace the tokens; a change that another person made meanwhile is kept."""
        from kubernetes.client import ApiException  # type: ignore[import-untyped]
        from mlplatform.door.door import NAMESPACE
        from mlplatform.door.door_pod import TOKENS, TOKENS_FILE
        from mlplatform.door.served_files import refresh_files

        for attempt in range(ATTEMPTS):
            found, version = self._read()
            content = base64.b64encode(json.dumps(change(found)).encode()).decode()
            body = {"metadata": {"name": TOKENS, "resourceVersion": version}, "data": {TOKENS_FILE: content}}
            core = self._api.core
            try:
                if version is None:
                    core.create_namespaced_secret(NAMESPACE, body)
                else:
                    core.replace_namespaced_secret(TOKENS, NAMESPACE, body)
            except ApiException as error:
                if error.status != 409 or attempt == ATTEMPTS - 1:
                    raise
                continue
            refresh_files(self._api)
            return

    def _read(self) -> tuple[Tokens, str | None]:
        from mlplatform.door.door import NAMESPACE
        from mlplatform.door.door_pod import TOKENS, TOKENS_FILE

        secret = self._api.none_if_missing(lambda: self._api.core.read_namespaced_secret(TOKENS, NAMESPACE))
        if secret is None:
            return {}, None
        return json.loads(base64.b64decode(secret.data[TOKENS_FILE])), secret.metadata.resource_version
