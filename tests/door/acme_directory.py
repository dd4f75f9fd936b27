"""An ACME directory (RFC 8555) that verifies signatures and nonces, checks the door, and signs certificates."""

from __future__ import annotations

import datetime
import ipaddress
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from acme.jws import JWS
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from josepy.b64 import b64decode, b64encode
from josepy.jwk import JWK

from airgap.bundle.registry.certificates import KeyPair, issue_authority, issue_server

from .processes import HOST


class RefusedRequest(Exception):
    """A request that the directory refuses with a problem document of this type."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass
class AcmeDirectory:
    """A directory with the authority `issuer`, which finds the door at `door_port` of each host.

    Its certificates are valid for 90 days, of which `age` are past. `orders` and `contacts` are what it has seen.
    """

    door_port: int
    folder: Path
    age: datetime.timedelta = datetime.timedelta(hours=1)
    issuer: KeyPair = field(default_factory=partial(issue_authority, "test ACME CA"))
    orders: list[dict[str, Any]] = field(default_factory=list)
    contacts: list[list[str]] = field(default_factory=list)
    accounts: list[JWK] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    root: str = ""

    @property
    def url(self) -> str:
        return f"{self.root}/directory"

    @property
    def ca_file(self) -> str:
        """Return the file with the authority of the directory's own certificate."""
        return str(self.folder / "directory-ca.crt")

    def nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self.nonces.add(nonce)
        return nonce

    def payload(self, path: str, body: bytes) -> tuple[Any, JWK, int | None]:
        """Return the content of a signed request, the key of its account, and the account's number."""
        signed = JWS.json_loads(body.decode())
        header = signed.signature.combined
        nonce = b64encode(header.nonce).decode()
        if nonce not in self.nonces:
            raise RefusedRequest("badNonce")
        self.nonces.remove(nonce)
        number = int(header.kid.rpartition("/")[2]) if header.kid else None
        key = header.jwk if number is None else self.accounts[number]
        if header.url != self.root + path or (number is None) != (path == "/new-account") or not signed.verify(key):
            raise RefusedRequest("unauthorized")
        return json.loads(signed.payload or b"null"), key, number

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and content of the answer to a signed request."""
        content, key, _ = self.payload(path, body)
        _, kind, *number = path.split("/")
        if kind == "new-account":
            return self._account(content, key)
        if kind == "account":
            self.contacts.append(content["contact"])
            return 200, {}, {"status": "valid", **content}
        if kind == "new-order":
            self.orders.append({"status": "pending", "token": secrets.token_urlsafe(32), **content})
            index = len(self.orders) - 1
            return 201, {"Location": f"{self.root}/order/{index}"}, self._order(index)
        index = int(number[0])
        order = self.orders[index]
        if kind == "challenge" and order["status"] == "pending":
            self._check_door(order, key)
        if kind == "finalize":
            self._issue(order, content["csr"])
        if kind == "certificate":
            return 200, {}, order["chain"]
        if kind in ("order", "finalize"):
            return 200, {}, self._order(index)
        challenge = {
            "type": "http-01",
            "url": f"{self.root}/challenge/{index}",
            "token": order["token"],
            "status": order["status"] if order["status"] in ("pending", "invalid") else "valid",
            **({"error": order["error"]} if "error" in order else {}),
        }
        if kind == "challenge":
            return 200, {"Link": f'<{self.root}/authorization/{index}>;rel="up"'}, challenge
        (identifier,) = order["identifiers"]
        return 200, {}, {"status": challenge["status"], "identifier": identifier, "challenges": [challenge]}

    def _account(self, content: dict[str, Any], key: JWK) -> tuple[int, dict[str, str], Any]:
        known = key in self.accounts
        if not known:
            if not content.get("termsOfServiceAgreed"):
                raise RefusedRequest("userActionRequired")
            self.accounts.append(key)
            self.contacts.append(content.get("contact", []))
        location = f"{self.root}/account/{self.accounts.index(key)}"
        return 200 if known else 201, {"Location": location}, {"status": "valid"}

    def _order(self, index: int) -> dict[str, Any]:
        order = self.orders[index]
        links = {"finalize": f"{self.root}/finalize/{index}", "authorizations": [f"{self.root}/authorization/{index}"]}
        issued = {"certificate": f"{self.root}/certificate/{index}"} if "chain" in order else {}
        return {"status": order["status"], "identifiers": order["identifiers"], **links, **issued}

    def _check_door(self, order: dict[str, Any], key: JWK) -> None:
        (identifier,) = order["identifiers"]
        url = f"http://{identifier['value']}:{self.door_port}/.well-known/acme-challenge/{order['token']}"
        try:
            found = requests.get(url, timeout=10).text
        except requests.ConnectionError:
            found = "no connection"
        expected = f"{order['token']}.{b64encode(key.thumbprint()).decode()}"
        order["status"] = "ready" if found == expected else "invalid"
        if found != expected:
            order["error"] = problem("connection", f"{url} has {found}")

    def _issue(self, order: dict[str, Any], csr: str) -> None:
        request = x509.load_der_x509_csr(b64decode(csr))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (identifier,) = order["identifiers"]
        expected = [x509.IPAddress(ipaddress.ip_address(identifier["value"]))]
        if order["status"] != "ready" or not request.is_signature_valid or list(names) != expected:
            raise RefusedRequest("badCSR")
        order["chain"] = self.sign(request)
        order["status"] = "valid"

    def sign(self, request: x509.CertificateSigningRequest) -> bytes:
        """Return a certificate for a request, and its authority."""
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        begins = datetime.datetime.now(datetime.UTC) - self.age
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.load_pem_x509_certificate(self.issuer.certificate).subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + datetime.timedelta(days=90))
            .add_extension(names, critical=True)
            .sign(serialization.load_pem_private_key(self.issuer.key, None), hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self.issuer.certificate


def problem(kind: str, detail: str) -> dict[str, str]:
    return {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}


class DirectoryHandler(BaseHTTPRequestHandler):
    """The HTTP side of `directory`."""

    protocol_version = "HTTP/1.1"
    directory: AcmeDirectory

    def do_HEAD(self) -> None:
        self.reply(200, {}, b"")

    def do_GET(self) -> None:
        paths = {"newNonce": "new-nonce", "newAccount": "new-account", "newOrder": "new-order"}
        self.reply(200, {}, {name: f"{self.directory.root}/{path}" for name, path in paths.items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.reply(*self.directory.answer(self.path, body))
        except RefusedRequest as refused:
            self.reply(400, {}, problem(refused.kind, "refused by the test"))

    def reply(self, status: int, headers: dict[str, str], content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Replay-Nonce", self.directory.nonce())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def acme_directory(folder: Path, door_port: int) -> Iterator[AcmeDirectory]:
    """Run a directory with HTTPS, for a door that listens at a port."""
    directory = AcmeDirectory(door_port, folder)
    own = issue_authority("test directory CA")
    served = issue_server(own, "directory", [HOST])
    (folder / "directory-ca.crt").write_bytes(own.certificate)
    (folder / "directory.pem").write_bytes(served.certificate + served.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "directory.pem")
    handler = type("Handler", (DirectoryHandler,), {"directory": directory})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        directory.root = f"https://{HOST}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield directory
        server.shutdown()
