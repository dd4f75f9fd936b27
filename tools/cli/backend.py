"""The backend that keeps a stack's state, and the encryption of its secrets."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from tools.bootstrap import paths, pulumi_cli

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Backend:
    """A backend's URL, as in PULUMI_BACKEND_URL; empty if the user's credentials are encrypted."""

    url: str

    @property
    def directory(self) -> Path | None:
        """The folder of a `file://` backend, None for others."""
        if not self.url.startswith("file://"):
            return None
        return Path(unquote(self.url.removeprefix("file://").partition("?")[0])).expanduser()

    @property
    def uses_passphrase(self) -> bool:
        """True if a passphrase encrypts the secrets, False if a Pulumi service does."""
        return bool(self.url) and not self.url.startswith(("https://", "http://"))


def selected(environ: Mapping[str, str]) -> Backend | None:
    """Return the backend that the user has configured or is logged in to, None without one."""
    if url := environ.get("PULUMI_BACKEND_URL"):
        return Backend(url)
    if environ.get("PULUMI_ACCESS_TOKEN"):
        return Backend(environ.get("PULUMI_API") or "https://api.pulumi.com")
    home = environ.get("PULUMI_CREDENTIALS_PATH") or environ.get("PULUMI_HOME") or "~/.pulumi"
    try:
        credentials = json.loads(Path(home, "credentials.json").expanduser().read_text())
    except (OSError, ValueError):
        return None
    if "$pulumiSecureStore" in credentials:
        return Backend("")
    return Backend(credentials["current"]) if credentials.get("current") else None


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Pulumi needs in addition to `environ`.

    Without a backend of the user, the state is in the cache folder. Creates its folders and the passphrase once.
    """
    added = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_SUPPRESS_NEO_LINK": "true"}
    # An `up` that was killed owns the fields it has set; without force, the next `up` fails on the conflict.
    added["PULUMI_K8S_ENABLE_PATCH_FORCE"] = "true"
    added |= proxy_exceptions(environ)
    if environ.get("MLPLATFORM_CACHE"):
        added["MLPLATFORM_CACHE"] = str(paths.cache_directory())
    cli = pulumi_cli.folder()
    if cli is not None and cli.is_relative_to(paths.cache_directory()):
        others = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry != str(cli)]
        added["PATH"] = os.pathsep.join([str(cli), *others])
    backend = selected(environ)
    if backend is None:
        state, home = _private_folder("state"), _private_folder("pulumi-home")
        # Pulumi writes a second file with metadata beside each file. A kill between the two makes the state unreadable.
        backend = Backend(f"file://{quote(str(state))}?metadata=skip")
        added |= {"PULUMI_BACKEND_URL": backend.url, "PULUMI_HOME": environ.get("PULUMI_HOME") or str(home)}
    if backend.uses_passphrase and not environ.keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}:
        added["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_file())
    return added


def proxy_exceptions(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that exclude the loopback addresses from proxies, {} without a proxy.

    Pulumi's programs reach each other there, and no proxy can forward to this computer's loopback. Go and libcurl read
    other names of the variable than gRPC and Python, so that both are set.
    """
    if not any(environ.get(name) for name in environ if name.lower() in PROXIES):
        return {}
    exceptions = {}
    for name in ("NO_PROXY", "no_proxy", *(["no_grpc_proxy"] if environ.get("no_grpc_proxy") else [])):
        value = environ.get(name) or environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        hosts = [host.strip() for host in value.split(",") if host.strip()]
        # "*" disables all proxies, but only as the whole value.
        exceptions[name] = value if value == "*" else ",".join(dict.fromkeys([*hosts, *LOOPBACK]))
    return exceptions


def _private_folder(name: str) -> Path:
    folder = paths.cache_directory() / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _passphrase_file() -> Path:
    """Return the file of the passphrase; create it where it is missing.

    Only this user can read it. The hard link makes its creation atomic: of two processes, the first wins.
    """
    file = paths.cache_directory() / "passphrase"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".passphrase") as new:
            new.write(secrets.token_urlsafe(32))
            new.flush()
            with suppress(FileExistsError):
                os.link(new.name, file)
    return file
