"""A client of container registries, over the OCI distribution API."""

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

TIMEOUT_SECONDS = 20
MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ]
)


class RegistryUnavailable(UserError):
    """The registry did not respond, or refused the request, so its content is unknown."""


@dataclass(frozen=True)
class RegistryClient:
    """A client of the registry `address[:port][/project]`; `ca` is its authority in PEM, "" for a public one."""

    host: str
    username: str
    password: str
    ca: str

    def digest(self, image: str, tag: str) -> str | None:
        """Return the digest `sha256:...` of an image with this tag, or None if the registry has no such image.

        Raises:
            RegistryUnavailable: the registry does not respond, or refuses the password.
        """
        address, _, project = self.host.partition("/")
        repository = f"{project}/{image}" if project else image
        url = f"https://{address}/v2/{repository}/manifests/{tag}"
        try:
            headers = self._head(url, {"Accept": MANIFESTS}, {"Authorization": self._basic()})
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RegistryUnavailable(
                f"the registry {address} returned {error.code} {error.reason} for {url}"
            ) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise RegistryUnavailable(f"the registry {address} cannot be reached: {reason}") from None
        return str(headers["Docker-Content-Digest"])

    def _head(self, url: str, accept: Mapping[str, str], authorization: Mapping[str, str]) -> HTTPMessage:
        request = urllib.request.Request(url, headers={**accept, **authorization}, method="HEAD")
        try:
            with self._open(request) as response:
                return response.headers  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if (
                error.code == 401
                and challenge.startswith("Bearer ")
                and authorization["Authorization"] == self._basic()
            ):
                return self._head(url, accept, {"Authorization": f"Bearer {self._token(challenge)}"})
            raise

    def _token(self, challenge: str) -> str:
        """Exchange the password for a token, at the server that a cloud's registry names in its challenge."""
        challenge_fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urllib.parse.urlencode(
            {key: value for key, value in challenge_fields.items() if key in ("service", "scope")}
        )
        request = urllib.request.Request(
            f"{challenge_fields['realm']}?{query}", headers={"Authorization": self._basic()}
        )
        with self._open(request) as response:
            body = json.load(response)
        return str(body.get("token") or body["access_token"])

    def _open(self, request: urllib.request.Request):  # type: ignore[no-untyped-def]
        context = ssl.create_default_context()
        if self.ca:
            context.load_verify_locations(cadata=self.ca)
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context)

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
