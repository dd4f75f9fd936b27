"""What a container registry has, asked over its HTTP interface."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage

from infra.dynamic_provider import UserError

SECONDS = 20
MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ]
)


class RegistryUnavailable(UserError):
    """The registry cannot be reached or used; nothing is known of what it has."""


@dataclass(frozen=True)
class RegistryClient:
    """A registry `address[:port][/project]` that speaks TLS; `ca` in PEM format, "" for a public one."""

    host: str
    username: str
    password: str
    ca: str

    def digest(self, image: str, tag: str) -> str | None:
        """The digest `sha256:...` of an image that it has under this tag, None where it has none.

        Raises:
            RegistryUnavailable: it does not answer, or refuses the password.
        """
        address, _, project = self.host.partition("/")
        repository = f"{project}/{image}" if project else image
        url = f"https://{address}/v2/{repository}/manifests/{tag}"
        try:
            headers = self._ask(url, {"Accept": MANIFESTS}, {"Authorization": self._basic()})
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RegistryUnavailable(f"the registry {address} answers {error.code} {error.reason} for {url}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise RegistryUnavailable(f"the registry {address} cannot be reached: {reason}") from None
        return str(headers["Docker-Content-Digest"])

    def _ask(self, url: str, accept: Mapping[str, str], authorization: Mapping[str, str]) -> HTTPMessage:
        request = urllib.request.Request(url, headers={**accept, **authorization}, method="HEAD")
        try:
            with self._open(request) as answer:
                return answer.headers  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if (
                error.code == 401
                and challenge.startswith("Bearer ")
                and authorization["Authorization"] == self._basic()
            ):
                return self._ask(url, accept, {"Authorization": f"Bearer {self._token(challenge)}"})
            raise

    def _token(self, challenge: str) -> str:
        """Registries of clouds take a token that another server gives for the password."""
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urllib.parse.urlencode({key: value for key, value in asked.items() if key in ("service", "scope")})
        request = urllib.request.Request(f"{asked['realm']}?{query}", headers={"Authorization": self._basic()})
        with self._open(request) as answer:
            given = json.load(answer)
        return str(given.get("token") or given["access_token"])

    def _open(self, request: urllib.request.Request):  # type: ignore[no-untyped-def]
        context = ssl.create_default_context()
        if self.ca:
            context.load_verify_locations(cadata=self.ca)
        return urllib.request.urlopen(request, timeout=SECONDS, context=context)

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
