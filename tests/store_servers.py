"""Servers of data for tests, such as an S3 store."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests

from airgap.bundle.registry.certificates import KeyPair, issue_server
from infra.local.free_ports import free_ports

S3_USER, S3_KEY = "owner", "a-key-of-the-store"
BLOB_KEY = base64.b64encode(b"key of the account").decode()
START_SECONDS = 60


@contextmanager
def server(command: list[str], answers: Callable[[], object], folder: Path, **options: Any) -> Iterator[None]:
    """Run a server with its log in `folder`, from the time that `answers` raises nothing."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **options)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answers()
                break
            except Exception:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def s3_server(folder: Path, bucket: str, host: str = "127.0.0.1", authority: KeyPair | None = None) -> Iterator[str]:
    """Run an S3 store with an empty bucket and its files in `folder`, and yield its address.

    With an authority, it uses TLS with a certificate of this authority, which is the file `ca.crt`.
    """
    (folder / "s3.json").write_text(
        f'{{"identities": [{{"name": "{S3_USER}", "actions": ["Admin"],'
        f' "credentials": [{{"accessKey": "{S3_USER}", "secretKey": "{S3_KEY}"}}]}}]}}'
    )
    ports = free_ports(8)
    names = [f"-{part}.port{kind}" for kind in ("", ".grpc") for part in ("s3", "master", "volume", "filer")]
    options = [f"{name}={port}" for name, port in zip(names, ports, strict=True)]
    weed = str(Path(sys.executable).with_name("weed"))
    # These servers would have fixed ports.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    # Each bucket needs seven volumes, and a server has eight by default.
    options += ["-volume.max=50"]
    command = [weed, "server", f"-dir={folder}", f"-ip={host}", "-s3", "-s3.config=s3.json", *options]
    url = f"http://{host}:{ports[0]}"
    trusted = folder / "ca.crt" if authority else None
    if authority and trusted:
        trusted.write_bytes(authority.certificate)
        issued = issue_server(authority, "test", [host])
        (folder / "tls.crt").write_bytes(issued.certificate)
        (folder / "tls.key").write_bytes(issued.key)
        command += ["-s3.cert.file=tls.crt", "-s3.key.file=tls.key"]
        url = url.replace("http:", "https:")
    with server(command, lambda: s3_client(url, trusted).create_bucket(Bucket=bucket), folder):
        yield url


def s3_client(url: str, authority: Path | None = None) -> Any:
    """Return a client of an S3 store, whose certificate the file `authority` verifies."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=S3_USER,
        aws_secret_access_key=S3_KEY,
        region_name="us-east-1",
        verify=authority and str(authority),
    )


@contextmanager
def blob_server(folder: Path) -> Iterator[str]:
    """Run an emulator of Azure Blob Storage with its files in `folder`, and yield the address of its account."""
    from mlplatform.blob_store import ACCOUNT, _azurite  # imports Pulumi

    (port,) = free_ports(1)
    options = ["--blobPort", str(port), "--location", str(folder), "--silent", "--disableTelemetry"]
    command = [*_azurite(), *options, "--skipApiVersionCheck"]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{BLOB_KEY}"}
    with server(command, lambda: requests.get(url, timeout=5), folder, env=environment):
        yield f"{url}/{ACCOUNT}"
