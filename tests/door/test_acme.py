"""Certificates of an ACME directory for a running door, which answers on HTTP and HTTPS the whole time."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
import requests
from acme.crypto_util import make_csr
from cryptography.x509 import load_pem_x509_csr
from mlplatform.door import acme_order
from mlplatform.door.acme_certificate import _AcmeCertificateProvider
from mlplatform.door.certificate import certificate_metrics
from pulumi.dynamic import CreateResult, UpdateResult

from infra.errors import UserError
from infra.local.free_ports import free_port

from .acme_directory import AcmeDirectory, acme_directory
from .processes import HOST, DoorProcesses
from .test_door_changes import certificate, load

PROVIDER = _AcmeCertificateProvider()
NEARLY_OVER = datetime.timedelta(days=61)


@pytest.fixture
def directory(door: DoorProcesses) -> Iterator[AcmeDirectory]:
    with acme_directory(door.folder, door.plain_port) as running:
        yield running


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", shown.append)
    return shown


def inputs(door: DoorProcesses, directory: AcmeDirectory) -> dict[str, Any]:
    key, thumbprint = door.account
    known = {"directory": directory.url, "email": "ops@example.com", "ca_file": directory.ca_file, "host": HOST}
    return known | {"url": f"http://{HOST}:{door.plain_port}", "account_key": key, "thumbprint": thumbprint}


def without_none(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs as Pulumi passes them to a provider: without those that are None."""
    return {name: value for name, value in inputs.items() if value is not None}


def outputs(result: CreateResult | UpdateResult) -> dict[str, Any]:
    return dict(result.outs or {})


def is_due(state: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return bool(PROVIDER.diff("id", state, wanted).changes)


def serve(door: DoorProcesses, state: dict[str, Any]) -> None:
    """Give the door a certificate, as the Secret does."""
    new = door.folder / "acme.new"
    new.mkdir()
    (new / "tls.crt").write_text(state["certificate"])
    (new / "tls.key").write_text(state["key"])
    (new / "metrics").write_text(certificate_metrics(state["certificate"]))
    new.rename(door.folder / "acme")


def verified(door: DoorProcesses, authority: bytes) -> str:
    """Return the certificate of the door, after a client that trusts this authority alone has verified it."""
    context = ssl.create_default_context(cadata=authority.decode())
    with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")


def test_certificate_is_issued_renewed_and_served_without_a_lost_request(
    door: DoorProcesses, directory: AcmeDirectory, warnings: list[str]
) -> None:
    wanted, own = inputs(door, directory), certificate(door)
    door.ca.write_bytes(door.authority.certificate + directory.issuer.certificate)
    with load(door) as failures:
        directory.age = NEARLY_OVER
        first = outputs(PROVIDER.create(wanted))
        assert is_due(first, wanted)
        directory.age = datetime.timedelta(days=59)
        second = outputs(PROVIDER.update("id", first, without_none(wanted | {"email": None})))
        assert not is_due(second, wanted)
        with door.reloaded():
            serve(door, second)
        served = verified(door, directory.issuer.certificate)
        metrics = requests.get(f"http://{HOST}:{door.plain_port}/door/metrics", timeout=30).text
        with door.reloaded():
            (door.folder / "acme").rename(door.folder / "acme.old")
        assert certificate(door) == own
    assert served in second["certificate"]
    assert metrics == certificate_metrics(second["certificate"])
    assert f"door_certificate_lifetime_seconds {90 * 86400}" in metrics
    door.ca.write_bytes(door.authority.certificate)
    assert (failures, warnings) == ([], [])
    assert first["key"] != second["key"]
    assert (len(directory.orders), len(directory.accounts)) == (2, 1)
    assert directory.contacts == [["mailto:ops@example.com"], []]


def test_account_without_email_receives_a_certificate(door: DoorProcesses, directory: AcmeDirectory) -> None:
    issued = outputs(PROVIDER.create(without_none(inputs(door, directory) | {"email": None})))
    assert issued["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert directory.contacts == [[]]


def test_refused_renewal_keeps_a_valid_certificate_of_the_host_alone(
    door: DoorProcesses, directory: AcmeDirectory, warnings: list[str]
) -> None:
    def state(age: datetime.timedelta) -> dict[str, Any]:
        directory.age = age
        request = make_csr(door.account[0].encode(), ipaddrs=[ipaddress.IPv4Address(HOST)])
        return wanted | {"certificate": directory.sign(load_pem_x509_csr(request)).decode(), "key": ""}

    wanted = inputs(door, directory)
    directory.door_port = closed = free_port()
    old, expired = state(NEARLY_OVER), state(datetime.timedelta(days=91))
    assert outputs(PROVIDER.update("id", old, wanted)) == old
    (warning,) = warnings
    assert all(part in warning for part in ["platform:door.acme", f":{closed}/", "no connection", "32% of its life"])
    assert is_due(old, wanted)
    with pytest.raises(UserError, match=r"platform:door\.acme: .* for 127\.0\.0\.2"):
        PROVIDER.update("id", old, wanted | {"host": "127.0.0.2"})
    with pytest.raises(UserError, match="issued no certificate"):
        PROVIDER.update("id", expired, wanted)
    assert len(warnings) == 1


def test_failed_order_names_the_setting_and_the_reason(
    door: DoorProcesses, directory: AcmeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme_order, "WAIT_SECONDS", 0)
    closed = f"{HOST}:{free_port()}"
    directory.door_port = free_port()
    changes: list[tuple[dict[str, Any], list[str]]] = [
        ({"directory": f"https://{closed}/directory"}, [closed, "refused"]),
        ({"ca_file": None}, [directory.url, "CERTIFICATE_VERIFY_FAILED"]),
        ({"directory": f"http://{HOST}:{door.plain_port}/door/metrics", "ca_file": None}, ["/door/metrics"]),
        ({"url": f"http://{closed}"}, ["no connection", f"does not answer at http://{closed}/.well-known"]),
    ]
    for change, expected in changes:
        with pytest.raises(UserError) as failure:
            PROVIDER.create(without_none(inputs(door, directory) | change))
        assert all(part in str(failure.value) for part in ["platform:door.acme", HOST, *expected]), str(failure.value)
        assert door.account[0] not in str(failure.value)
