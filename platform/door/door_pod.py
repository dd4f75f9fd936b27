"""The pod of the door: nginx, and oauth2-proxy beside it on the loopback interface."""

from __future__ import annotations

import re
from pathlib import Path

import pulumi
from mlplatform.door import audit
from mlplatform.door.sign_on import PORT as SIGN_ON_PORT
from mlplatform.door.sign_on import sign_on_steps
from mlplatform.images.image import Image
from mlplatform.k8s.pod import Container, HttpGet, Pod, Probe, Probes, Resources
from mlplatform.k8s.volumes import ConfigMapFiles, EmptyDir, Mount, SecretFiles

from settings.paths import VERSIONS
from settings.services.door_settings import DoorSettings

NAME = "door"
"""Name of the Deployment, and of the ConfigMap and the Secret of nginx."""
PODS = {"app.kubernetes.io/name": NAME}
SIGN_ON, TOKENS, PAGES, PROGRAM, ACME = "door-sign-on", "door-tokens", "door-pages", "door-program", "door-acme"
HTTP_PORT, HTTPS_PORT = 8080, 8443
FILES, SECRETS, TOKENS_FOLDER, SIGN_ON_FOLDER = "/etc/door", "/etc/door-secrets", "/etc/door-tokens", "/etc/sign-on"
ACME_FOLDER, PROGRAM_FOLDER = "/etc/door-acme", "/etc/door-program"
TOKENS_FILE = "tokens.json"
DRAIN_SECONDS = 5
"""Time for which a terminating pod still answers: until then all nodes have removed it from the Service."""
_VERSIONS = VERSIONS["door"]
IMAGES = {
    "nginx": f"docker.io/nginxinc/nginx-unprivileged:{_VERSIONS['nginx']}",
    "oauth2-proxy": f"quay.io/oauth2-proxy/oauth2-proxy:{_VERSIONS['oauth2-proxy']}",
}
FOLDER = Path(__file__).parent
PAGE = re.compile(r"<!-- page: (.+) -->\n")
"""Line of a page that its beginning replaces."""


def files(folder: str) -> dict[str, str]:
    """Return the texts of a folder beside this module by file name; pages get their common beginning."""
    beginning = (FOLDER / "head.html").read_text()
    return {
        file.name: PAGE.sub(lambda page: beginning.replace("@TITLE@", page[1]), file.read_text())
        for file in sorted((FOLDER / folder).iterdir())
    }


def nginx_variables(door: DoorSettings, thumbprint: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Return the environment variables of `serve.sh`; `thumbprint` is that of the ACME account, "" without one."""
    return {
        "FILES": FILES,
        "STATE": "/tmp/door",
        "ACCESS": f"{FILES}/access.json",
        "ROUTES": f"{FILES}/routes.conf",
        "SERVICES": f"{FILES}/services",
        "RELEASES": f"{FILES}/releases.conf",
        "TOKENS": f"{TOKENS_FOLDER}/{TOKENS_FILE}",
        "KEYS": f"{SECRETS}/keys.conf",
        "LINES_FOLDER": audit.LINES,
        "LINES_BYTES": str(audit.LINES_BYTES),
        "CERTIFICATE": SECRETS,
        "ACME_CERTIFICATE": ACME_FOLDER,
        "THUMBPRINT": thumbprint,
        "ADDRESS": "0.0.0.0",
        "HTTP_PORT": str(HTTP_PORT),
        "HTTPS_PORT": str(HTTPS_PORT),
        "HTTPS_SUFFIX": "",
        "SIGN_ON_PORT": str(SIGN_ON_PORT),
        "SIGN_ON_STEPS": sign_on_steps(door),
        "RATE": str(door.requests_per_second),
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "INTERVAL_SECONDS": "2",
    }


def door_pod(door: DoorSettings, libraries: Image, thumbprint: pulumi.Input[str]) -> Pod:
    """Return the pod; `libraries` is an image with Python. The pod is ready once nginx and oauth2-proxy answer."""
    ready = HttpGet("/door/ready", HTTP_PORT)
    nginx = Container(
        "nginx",
        IMAGES["nginx"],
        Resources(cpu=("50m", "1"), memory=("32Mi", "256Mi"), ephemeral_storage=("10Mi", "2Gi")),
        command=["sh", f"{PROGRAM_FOLDER}/serve.sh"],
        environment=nginx_variables(door, thumbprint),
        ports={"http": HTTP_PORT, "https": HTTPS_PORT},
        probes=Probes(
            startup=Probe(ready, period=1, timeout=3, failures=60),
            readiness=Probe(ready, period=3, timeout=3, failures=2),
            liveness=Probe(ready, period=20, timeout=5, failures=6),
        ),
        mounts=[
            Mount("program", PROGRAM_FOLDER, read_only=True),
            Mount("files", FILES, read_only=True),
            Mount("secrets", SECRETS, read_only=True),
            Mount("acme", ACME_FOLDER, read_only=True),
            Mount("tokens", TOKENS_FOLDER, read_only=True),
            Mount("tmp", "/tmp"),
            Mount("lines", audit.LINES),
        ],
    )
    sign_on = Container(
        "sign-on",
        IMAGES["oauth2-proxy"],
        Resources(cpu=("10m", "500m"), memory=("24Mi", "128Mi"), ephemeral_storage=("10Mi", "100Mi")),
        args=[f"--config={SIGN_ON_FOLDER}/oauth2-proxy.cfg"],
        mounts=[
            Mount("sign-on", SIGN_ON_FOLDER, read_only=True),
            Mount("pages", f"{SIGN_ON_FOLDER}/pages", read_only=True),
        ],
    )
    volumes = {
        "program": ConfigMapFiles(PROGRAM),
        "files": ConfigMapFiles(NAME),
        "secrets": SecretFiles(NAME),
        "acme": SecretFiles(ACME, optional=True),
        "tokens": SecretFiles(TOKENS, optional=True),
        "sign-on": SecretFiles(SIGN_ON),
        "pages": ConfigMapFiles(PAGES),
        "tmp": EmptyDir("2Gi"),
        "lines": EmptyDir(audit.LINES_VOLUME),
        "programs": ConfigMapFiles(audit.NAME),
    }
    return Pod(
        [nginx, sign_on, audit.line_sender(libraries.reference)], volumes=volumes, grace_seconds=DRAIN_SECONDS + 25
    )
