"""The bundle's registry: access, read-only mode, and pushes through a local writable registry."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from airgap.bundle.index import read_index
from airgap.bundle.registry import bundle_registry, certificates
from airgap.bundle.registry.push import push
from airgap.bundle.store import Store
from infra import registry
from infra.local.free_ports import free_port
from tests.airgap import oci
from tests.airgap.conftest import needs_skopeo
from tools.bootstrap.console import SetupError

PROGRAM = bundle_registry.program(Store.default())
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="docker-registry is missing; `python -m airgap.bundle registry start` unpacks it"
)


@pytest.fixture
def running(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[bundle_registry.RunningRegistry]:
    assert PROGRAM is not None
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}:{os.environ['PATH']}")
    started = bundle_registry.start(store, "127.0.0.1", free_port(), ["registry.internal"], read_only=True)
    yield started
    bundle_registry.stop(bundle_registry.home(store))


def login(own: bundle_registry.RunningRegistry) -> str:
    authorization: str = json.loads(own.authfile.read_text())["auths"][own.host]["auth"]
    return authorization


def fill(store: Store) -> None:
    with bundle_registry.writable(store) as own:
        push(store, own.host, own.authfile, own.certificates)


def status(own: bundle_registry.RunningRegistry, path: str, authorization: str | None, method: str = "GET") -> int:
    context = ssl.create_default_context(cafile=str(own.certificates / "ca.crt"))
    request = urllib.request.Request(f"https://{own.host}{path}", method=method)
    request.add_header("Accept", oci.MANIFEST)
    if authorization is not None:
        request.add_header("Authorization", f"Basic {authorization}")
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as refused:
        return refused.code


def test_registry_requires_its_password(running: bundle_registry.RunningRegistry) -> None:
    user = base64.b64decode(login(running)).decode().partition(":")[0]
    wrong = base64.b64encode(f"{user}:guess".encode()).decode()
    assert [status(running, "/v2/", authorization) for authorization in (None, wrong, login(running))] == [
        401,
        401,
        200,
    ]


def test_registry_certificate_untrusted_fails_the_connection(running: bundle_registry.RunningRegistry) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"https://{running.host}/v2/", timeout=5)


def test_registry_secrets_are_readable_by_the_owner_only(
    running: bundle_registry.RunningRegistry, store: Store
) -> None:
    password = base64.b64decode(login(running)).decode().partition(":")[2]
    open_to_others = {f.name for f in running.folder.rglob("*") if f.is_file() and f.stat().st_mode & 0o077}
    assert open_to_others.isdisjoint({"auth.json", "htpasswd", "config.yml", "ca.key", "server.key"})
    assert running.folder.stat().st_mode & 0o077 == 0
    assert password not in " ".join(psutil.Process(running.pid).cmdline())
    holders = {f.name for f in running.folder.rglob("*") if f.is_file() and password.encode() in f.read_bytes()}
    assert holders == set()  # auth.json has it in base64, htpasswd as a hash
    assert password not in bundle_registry.running(bundle_registry.home(store)).as_json()


def test_registry_does_not_get_the_passphrase_of_pulumi(
    running: bundle_registry.RunningRegistry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    address, _, port = running.host.rpartition(":")
    bundle_registry.stop(bundle_registry.home(store))
    again = bundle_registry.start(store, address, int(port), ["registry.internal"], read_only=True)
    assert "PULUMI_CONFIG_PASSPHRASE" not in psutil.Process(again.pid).environ()


def test_start_twice_keeps_process_and_restart_keeps_password(
    running: bundle_registry.RunningRegistry, store: Store
) -> None:
    address, _, port = running.host.rpartition(":")
    before = login(running)
    assert bundle_registry.start(store, address, int(port), ["registry.internal"], read_only=True).pid == running.pid
    bundle_registry.stop(bundle_registry.home(store))
    with pytest.raises(SetupError, match="does not run"):
        bundle_registry.running(bundle_registry.home(store))
    again = bundle_registry.start(store, address, int(port), ["registry.internal"], read_only=True)
    assert again.pid != running.pid
    assert status(again, "/v2/", before) == 200


def test_up_renews_the_certificate_of_a_running_registry_before_it_expires(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PROGRAM is not None
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}:{os.environ['PATH']}")
    folder, port = store.root / "registry-of-a-stack", free_port()
    props = {"address": "127.0.0.1", "port": port, "folder": str(folder), "read_only": True}
    monkeypatch.setattr(registry, "_bundle_digest", lambda: "sha256:0")
    provider = registry._BundleRegistryProvider()

    def diff(expires: float | None) -> bool:
        olds = props | {"bundle": "sha256:0", "running": True, "certificate_expires": expires}
        return bool(provider.diff("registry", olds, props).changes)

    with monkeypatch.context() as short:
        short.setattr(certificates, "SERVER_DAYS", 29)
        old = bundle_registry.start(store, "127.0.0.1", port, [], folder, read_only=True)
    try:
        expires = old.certificate_expires
        assert diff(expires)
        new = bundle_registry.start(store, "127.0.0.1", port, [], folder, read_only=True)
        assert new.pid != old.pid
        assert new.certificate_expires - expires > 300 * 24 * 3600
        assert new.ca == old.ca  # the machines trust it
        assert not diff(new.certificate_expires)
        assert diff(None)  # the state of an older program
    finally:
        bundle_registry.stop(folder)


def test_start_port_in_use_fails_with_address(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROGRAM is not None
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}:{os.environ['PATH']}")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(SetupError, match=f"127.0.0.1:{holder.getsockname()[1]}.*in use"):
            bundle_registry.start(store, "127.0.0.1", holder.getsockname()[1], [], read_only=True)


@needs_skopeo
def test_registry_read_only_refuses_push_and_delete(running: bundle_registry.RunningRegistry, store: Store) -> None:
    digest = oci.bundle(store)
    with pytest.raises(SetupError, match=oci.UPSTREAM):
        push(store, running.host, running.authfile, running.certificates)
    fill(store)
    image = "/v2/registry.test/team/word"
    assert status(running, f"{image}/manifests/1.0", login(running)) == 200
    changing = [
        ("POST", f"{image}/blobs/uploads/"),
        ("POST", f"{image}/blobs/uploads/?mount={digest}&from=registry.test/other"),
        ("PUT", f"{image}/manifests/1.0"),
        ("DELETE", f"{image}/manifests/{digest}"),
        ("DELETE", f"{image}/blobs/{digest}"),
    ]
    assert [status(running, path, login(running), method) for method, path in changing] == [405] * len(changing)
    assert status(running, f"{image}/manifests/{digest}", login(running)) == 200


def test_writable_registry_is_local_with_a_temporary_password(
    running: bundle_registry.RunningRegistry, store: Store
) -> None:
    with bundle_registry.writable(store) as own, bundle_registry.writable(store) as other:
        assert own.host.startswith("127.0.0.1:")
        path = "/v2/registry.test/team/word/blobs/uploads/"
        authorizations = [login(own), login(other), login(running)]
        assert [status(own, path, each, "POST") for each in authorizations] == [202, 401, 401]
        folders = [own.folder, other.folder]
    assert not any(psutil.pid_exists(each.pid) for each in (own, other))
    assert not any(folder.exists() for folder in folders)


def test_writable_registry_ends_with_its_killed_parent(running: bundle_registry.RunningRegistry, store: Store) -> None:
    program = (
        "import pathlib, signal\n"
        "from airgap.bundle.registry import bundle_registry\n"
        "from airgap.bundle.store import Store\n"
        f"with bundle_registry.writable(Store(pathlib.Path({str(store.root)!r}))) as own:\n"
        "    print(own.pid, flush=True)\n"
        "    signal.pause()\n"
    )
    environment = os.environ | {"TMPDIR": str(store.root)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as pusher:
        assert pusher.stdout is not None
        process = psutil.Process(int(pusher.stdout.readline()))
        pusher.kill()
    process.wait(10)


def test_start_over_writable_registry_of_earlier_version_is_read_only_and_keeps_password(
    running: bundle_registry.RunningRegistry, store: Store
) -> None:
    address, _, port = running.host.rpartition(":")
    names = ["registry.internal"]
    opened = bundle_registry.start(store, address, int(port), names, read_only=False)
    record = json.loads((opened.folder / "process.json").read_text())
    del record["read_only"]
    (opened.folder / "process.json").write_text(json.dumps(record))
    path, authorization = "/v2/registry.test/team/word/blobs/uploads/", login(running)
    assert status(opened, path, authorization, "POST") == 202
    closed = bundle_registry.start(store, address, int(port), names, read_only=True)
    assert status(closed, path, authorization, "POST") == 405


@needs_skopeo
def test_push_uses_upstream_names_and_digests(running: bundle_registry.RunningRegistry, store: Store) -> None:
    digest = oci.bundle(store)
    fill(store)
    for reference in ("1.0", digest):
        assert status(running, f"/v2/registry.test/team/word/manifests/{reference}", login(running)) == 200
    assert status(running, "/v2/registry.test/team/word/manifests/1.0", None) == 401
    assert status(running, "/v2/team/word/manifests/1.0", login(running)) == 404


@needs_skopeo
@pytest.mark.usefixtures("running")
def test_push_twice_sends_images_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    oci.bundle(store)
    for _ in range(2):
        fill(store)
    assert [line[-14:] for line in capsys.readouterr().err.splitlines()[-2:]] == ["1 of them new.", "0 of them new."]


@needs_skopeo
@pytest.mark.usefixtures("running")
def test_push_refused_fails_with_image_name(store: Store) -> None:
    oci.bundle(store)
    no_login = store.root / "no-login.json"
    no_login.write_text("{}")
    with bundle_registry.writable(store) as own, pytest.raises(SetupError, match=oci.UPSTREAM):
        push(store, own.host, no_login, own.certificates)


def test_index_without_bundle_fails_with_make_bundle(store: Store) -> None:
    with pytest.raises(SetupError, match="make bundle"):
        read_index(store)
