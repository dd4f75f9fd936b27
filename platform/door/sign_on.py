"""Sign-on: the configuration of oauth2-proxy, for an OpenID Connect provider or for the users of the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from settings.services.door_settings import DoorSettings

PORT = 4180
COOKIE = "__Host-door"
"""Name of the session cookie. By this prefix, browsers accept it only from this host, over HTTPS and for all paths."""
NO_PROVIDER = "https://sign-on.invalid"
"""Address that no browser receives: oauth2-proxy does not start without a provider."""


def sign_on_configuration(
    door: DoorSettings, cookie_secret: str, folder: str, host: str, port: int = PORT, ca_file: str | None = None
) -> str:
    """Return the configuration file of oauth2-proxy.

    Args:
        door: the settings.
        cookie_secret: the key of sessions, 32 bytes in Base64.
        folder: the folder with the file `users`, and with the templates of pages in `pages`.
        host: host of the door, with its port unless that is 443.
        port: the port of oauth2-proxy on the loopback interface.
        ca_file: file with the authority of the provider; None for a public one.
    """
    options: dict[str, Any] = {
        "http_address": f"127.0.0.1:{port}",
        "reverse_proxy": True,
        "trusted_proxy_ips": ["127.0.0.1/32"],
        "upstreams": ["static://202"],
        "email_domains": ["*"],
        "cookie_name": COOKIE,
        "cookie_secret": cookie_secret,
        "cookie_secure": True,
        "cookie_httponly": True,
        "cookie_samesite": "lax",
        "cookie_expire": f"{door.session_hours}h",
        # Tokens of the provider would make the cookie too long for one header.
        "session_cookie_minimal": True,
        "custom_templates_dir": f"{folder}/pages",
        "request_logging": False,
        "redirect_url": f"https://{host}/oauth2/callback",
        "provider": "oidc",
        **(_provider(door, ca_file) if door.oidc else _users(f"{folder}/users")),
    }
    # Lists, texts and numbers of TOML are written as those of JSON.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())


def sign_on_steps(door: DoorSettings) -> str:
    """Return the paths below /oauth2/ that browsers use, as alternatives of a regular expression."""
    return "start|callback" if door.oidc else "sign_in"


def users_file(hashes: Mapping[str, str]) -> str:
    """Return the file `users`: bcrypt hashes by name, as `htpasswd -B` writes them."""
    return "".join(f"{user}:{digest}\n" for user, digest in sorted(hashes.items()))


def _provider(door: DoorSettings, ca_file: str | None) -> dict[str, Any]:
    assert door.oidc
    return {
        "oidc_issuer_url": door.oidc.issuer,
        "client_id": door.oidc.client,
        "client_secret": door.oidc.client_secret.get_secret_value(),
        "oidc_groups_claim": door.oidc.groups_claim,
        "scope": door.oidc.scope,
        "code_challenge_method": "S256",
        "insecure_oidc_skip_nonce": False,
        "skip_provider_button": True,
        **({"provider_ca_files": [ca_file], "use_system_trust_store": True} if ca_file else {}),
    }


def _users(file: str) -> dict[str, Any]:
    return {
        "htpasswd_file": file,
        "display_htpasswd_form": True,
        "client_id": "none",
        "client_secret": "none",
        "oidc_issuer_url": NO_PROVIDER,
        "skip_oidc_discovery": True,
        "login_url": NO_PROVIDER,
        "redeem_url": NO_PROVIDER,
        "oidc_jwks_url": NO_PROVIDER,
    }
