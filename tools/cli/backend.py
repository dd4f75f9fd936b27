"""Where Pulumi keeps a stack's state and how it encrypts secrets: the user's choice, else a folder of the cache."""

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


@dataclass(frozen=True)
class Backend:
    """The address of a backend, as in PULUMI_BACKEND_URL; empty where the user's credentials are encrypted."""

    url: str

    @property
    def directory(self) -> Path | None:
        """The folder of a `file://` backend."""
        if not self.url.startswith("file://"):
            return None
        return Path(unquote(self.url.removeprefix("file://").partition("?")[0])).expanduser()

    @property
    def encrypts_with_passphrase(self) -> bool:
        """Whether secrets are encrypted here, by a passphrase, and not by a Pulumi service."""
        return bool(self.url) and not self.url.startswith(("https://", "http://"))


def chosen(environ: Mapping[str, str]) -> Backend | None:
    """The backend that the user has named or is logged in to."""
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
    """What Pulumi needs in its environment beyond `environ`. Creates folders and the passphrase on first use."""
    added = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_SUPPRESS_NEO_LINK": "true"}
    # What an `up` that was killed had begun in a cluster belongs to nobody; the next one takes it over.
    added["PULUMI_K8S_ENABLE_PATCH_FORCE"] = "true"
    if environ.get("MLPLATFORM_CACHE"):
        added["MLPLATFORM_CACHE"] = str(paths.directory())
    tools = pulumi_cli.folder()
    if tools is not None and tools.is_relative_to(paths.directory()):
        others = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry != str(tools)]
        added["PATH"] = os.pathsep.join([str(tools), *others])
    backend = chosen(environ)
    if backend is None:
        state, home = _private("state"), _private("pulumi-home")
        # Beside each file a second one with its attributes would be written, not in one go: who is killed then leaves
        # a state that cannot be read.
        backend = Backend(f"file://{quote(str(state))}?metadata=skip")
        added |= {"PULUMI_BACKEND_URL": backend.url, "PULUMI_HOME": environ.get("PULUMI_HOME") or str(home)}
    if backend.encrypts_with_passphrase and not environ.keys() & {
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
    }:
        added["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase())
    return added


def _private(name: str) -> Path:
    folder = paths.directory() / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _passphrase() -> Path:
    """A file that only this user can read. Of two that make it at once, one wins, and nobody sees it half-written."""
    file = paths.directory() / "passphrase"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".passphrase") as new:
            new.write(secrets.token_urlsafe(32))
            new.flush()
            with suppress(FileExistsError):
                os.link(new.name, file)
    return file
