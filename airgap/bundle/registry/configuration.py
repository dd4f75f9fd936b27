"""The files of a registry: its configuration, its password and its certificates."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from pathlib import Path

import bcrypt

from airgap.bundle.registry import certificates

USER = "mlplatform"
ROUNDS = 5
"""The cost of the password's bcrypt hash; the default of `htpasswd -B`."""


def write_configuration(folder: Path, data: Path, address: str, port: int, read_only: bool) -> None:
    """Write the registry's settings, and a password if the folder has none."""
    trust = folder / "trust"
    trust.mkdir(exist_ok=True)
    shutil.copyfile(folder / "ca.crt", trust / "ca.crt")
    authfile = folder / "auth.json"
    # Machines already have the password of an earlier start -> keep it.
    password = read_login(authfile)[1] if authfile.exists() else secrets.token_urlsafe(24)
    # Every request checks the hash, and 192 random bits need no slow one -> a low cost.
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()
    certificates.write_private(folder / "htpasswd", f"{USER}:{hashed}\n".encode())
    credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
    auths = {f"{address}:{port}": {"auth": credentials}}
    certificates.write_private(authfile, json.dumps({"auths": auths}).encode())
    certificate, key = folder / "server.crt", folder / "server.key"
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(data)},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": read_only}},
        },
        "http": {
            "addr": f"{address}:{port}",
            "secret": secrets.token_hex(32),
            "tls": {"certificate": str(certificate), "key": str(key), "minimumtls": "tls1.2"},
        },
        "auth": {"htpasswd": {"realm": "mlplatform", "path": str(folder / "htpasswd")}},
    }
    # JSON is YAML too.
    certificates.write_private(folder / "config.yml", json.dumps(settings, indent=1).encode())


def read_login(authfile: Path) -> tuple[str, str]:
    """Return user and password of a file in the format of image tools."""
    (entry,) = json.loads(authfile.read_text())["auths"].values()
    user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return user, password
