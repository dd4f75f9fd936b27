"""The door as processes of this computer: nginx, oauth2-proxy, the start page and MLflow, and stand-ins behind it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import bcrypt
import requests
from mlplatform.door import door_pod
from mlplatform.door.acme_order import new_account_key
from mlplatform.door.certificate import certificate_metrics
from mlplatform.door.door_routes import (
    PublishedModel,
    access_rules,
    area_roles,
    canary_upstream,
    releases_file,
    routes_file,
    services_file,
)
from mlplatform.door.sign_on import sign_on_configuration, sign_on_steps, users_file
from mlplatform.door.start_page import start_page_settings

from airgap.bundle.index import INDEX
from airgap.bundle.registry.certificates import KeyPair, issue_authority, issue_server
from infra.local.free_ports import free_port
from settings.paths import cache_directory
from settings.services.door_settings import DoorSettings
from settings.services.team_settings import TeamSettings
from settings.serving import CanarySettings
from tests.waiting import child_commands, until

KEY = "door-key"
NOTEBOOKS_KEY = "notebooks-key"
COOKIE_SECRET = "A" * 43
HOST = "127.0.0.1"
LINES_BYTES = 20_000
"""Size above which nginx begins a new file of lines."""
MODELS = {
    "iris": PublishedModel("iris-server", 5005, "team", 1 << 20),
    "rose": PublishedModel("rose-server", 5006, "public", 1 << 20),
    "secret": PublishedModel("secret-server", 5007, "private", 1 << 20),
    "tulip": PublishedModel("t", 5008, "public", 1 << 20, canary=CanarySettings(version=2, weight=10)),
    "rush": PublishedModel("r", 5010, "public", 1 << 20, canary=CanarySettings(version=2, weight=50)),
    "sedge": PublishedModel("s", 5011, "public", 1 << 20, canary=CanarySettings(version=2, weight=50)),
    "lily": PublishedModel("l", 5009, "public", 4 << 20, canary=CanarySettings(version=2, mirror=True)),
}
VARIABLES = {
    "door_key": KEY,
    "notebooks_key": NOTEBOOKS_KEY,
    "monitoring_login": "Basic cHJvbTp3b3Jk",
    "pipeline_login": "Basic a2ZwOndvcmQ=",
}
TRIAL = {"model": "tulip", "service": "t", "version": "2", "started": 0.0, "trial": "testing", "promote": {}}
PASSWORDS = {
    "anna": "correct horse",
    "ed": "battery staple",
    "rob": "read only 12",
    "sam": "shop and more",
    "rae": "shop to read",
    "tess": "science lab",
}
ROLES = {"anna": "administrator", "ed": "editor", "rob": "reader", "sam": "editor", "rae": "reader", "tess": "editor"}


@contextmanager
def unreachable_port() -> Iterator[int]:
    """Yield a port where connections are neither accepted nor refused, as those to a pod that is gone."""
    with ExitStack() as sockets:
        server = sockets.enter_context(socket.socket())
        server.bind((HOST, 0))
        server.listen(0)
        for _ in range(3):  # they fill the queue of the server, which accepts none
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def oauth2_proxy_program() -> str | None:
    """Return the path of oauth2-proxy on PATH, else of the bundle's, None without one."""
    if on_path := shutil.which("oauth2-proxy"):
        return on_path
    index = cache_directory() / "bundle" / INDEX
    binaries = json.loads(index.read_text())["binaries"] if index.is_file() else {}
    found = binaries.get("oauth2-proxy/oauth2-proxy")
    return str(index.parent / found["path"]) if found else None


def missing_program() -> str | None:
    """Return what the door lacks on this computer, None if it can run."""
    if shutil.which("nginx") is None or not Path("/usr/lib/nginx/modules/ngx_http_js_module.so").is_file():
        return "nginx with its JavaScript module is not installed (apt-get install nginx libnginx-mod-http-js)"
    return None if oauth2_proxy_program() else "oauth2-proxy is not built (python -m airgap.bundle build oauth2-proxy)"


class Echo(BaseHTTPRequestHandler):
    """A service that answers with its name, and the path and headers it received; it tries to set a cookie."""

    protocol_version = "HTTP/1.1"
    name = "stable"

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.received(sent)
        body = json.dumps({"path": self.path, "headers": dict(self.headers), "server": self.name}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "__Host-door=stolen")
        self.send_header("Set-Cookie", "jupyterhub-user-sam=mine; Path=/notebooks/user/sam/")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def received(self, body: str) -> None:
        """Do nothing with the body of a request."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class CanaryEcho(Echo):
    """A canary, which keeps what it received."""

    name = "canary"
    seen: ClassVar[list[tuple[str, str]]] = []

    def received(self, body: str) -> None:
        self.seen.append((self.path, body))


class Measurements(BaseHTTPRequestHandler):
    """A Prometheus that has measured 900 requests to each champion and 100 to each canary."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)["query"][0]
        samples: list[tuple[dict[str, str], str]] = []
        if query.startswith("sum by (track) (increase(model_server_requests_total") and "status" not in query:
            samples = [({"track": "stable"}, "900"), ({"track": "canary"}, "100")]
        result = [{"metric": labels, "value": [0, value]} for labels, value in samples]
        body = json.dumps({"status": "success", "data": {"result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def echo_server(handler: type[BaseHTTPRequestHandler] = Echo) -> Iterator[int]:
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@dataclass
class DoorProcesses:
    """A running door at `url`.

    `folder` has its files, `ca` is the certificate of `authority`, and `audit` the URL of the audit log.
    `account` is the key of its ACME account and the key's thumbprint.
    """

    folder: Path
    port: int
    plain_port: int
    authority: KeyPair
    audit: str
    account: tuple[str, str] = field(default_factory=new_account_key)
    processes: ExitStack = field(default_factory=ExitStack)
    end_audit_log: Callable[[], None] = field(init=False)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def write_certificate(self) -> None:
        """Write a new certificate of the authority for the door."""
        issued = issue_server(self.authority, "test", [HOST])
        (self.folder / "tls.crt").write_bytes(issued.certificate)
        (self.folder / "tls.key").write_bytes(issued.key)
        (self.folder / "metrics").write_text(certificate_metrics(issued.certificate.decode()))
        if not self.ca.exists():  # clients may read it at any time
            self.ca.write_bytes(self.authority.certificate)

    def session(self) -> requests.Session:
        """Return a browser without JavaScript that trusts the authority."""
        session = requests.Session()
        session.verify = str(self.ca)
        session.trust_env = False  # REQUESTS_CA_BUNDLE would replace the authority
        session.headers["Accept"] = "text/html"
        return session

    def signed_in(self, user: str) -> requests.Session:
        session = self.session()
        answer = session.post(
            f"{self.url}/oauth2/sign_in",
            data={"username": user, "password": PASSWORDS[user], "rd": "/door/signed-out"},
            headers={"Origin": self.url},
        )
        assert answer.status_code == 200, answer.text
        return session

    def write_tokens(self, tokens: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the valid tokens, by their text."""
        content = {hashlib.sha256(token.encode()).hexdigest(): grant for token, grant in tokens.items()}
        (self.folder / "tokens.json").write_text(json.dumps(content))

    def start_audit_log(self) -> None:
        """Start the audit log, which `end_audit_log` ends."""
        variables = {"AUDIT_FOLDER": str(self.folder), "AUDIT_DAYS": "1", "DOOR_KEY": KEY}
        command = [sys.executable, "-m", "mlplatform.audit_log.server", HOST, self.audit.rpartition(":")[2]]
        self.end_audit_log = process(self.processes, self.folder, "audit", command, variables)
        until(partial(answers, f"{self.audit}/health"), seconds=300, what="the audit log")

    def serve_tokens(self, tokens: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the valid tokens, and wait until nginx serves them."""
        with self.reloaded():
            self.write_tokens(tokens)

    @contextmanager
    def reloaded(self) -> Iterator[None]:
        """Wait after the block, which changes files, until no worker of nginx with the old files takes connections."""
        earlier = self.workers()
        yield
        until(lambda: not earlier & self.workers(), seconds=120, what="the reload of nginx")

    def workers(self) -> set[int]:
        """Return the processes of nginx that take connections."""
        master = int((self.folder / "state" / "nginx.pid").read_text())
        return {pid for pid, command in child_commands(master).items() if command[:1] == ["nginx: worker process"]}

    def entries(self, **search: str) -> list[dict[str, Any]]:
        """Return entries of the audit log."""
        answer = requests.get(f"{self.audit}/entries", search, headers={"X-Door-Key": KEY}, timeout=30)
        found: list[dict[str, Any]] = answer.json()["entries"]
        return found

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@contextmanager
def running_door(
    folder: Path,
    door: DoorSettings,
    mlflow_url: str,
    models: Mapping[str, PublishedModel] = MODELS,
    teams: Mapping[str, TeamSettings] = {},
    notebooks: Mapping[str, str] = {},
    model_server: str = "",
    **ports: int,
) -> Iterator[DoorProcesses]:
    """Run a door for MLflow at a URL; yield it once it is ready.

    Each model is the server at `model_server`, a `host:port`, or an echo server. `notebooks` are the addresses of the
    hub and its proxy by nginx's name; an echo server stands in for both.
    """
    names = ("https", "http", "sign_on", "start", "log")
    https, http, sign_on, start, log = (ports.get(name) or free_port() for name in names)
    running = DoorProcesses(folder, https, http, issue_authority("test CA"), f"http://{HOST}:{log}")
    running.write_certificate()
    with running.processes as processes:
        echo = processes.enter_context(echo_server())
        canary = processes.enter_context(echo_server(CanaryEcho))
        hashes = {user: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode() for user, word in PASSWORDS.items()}
        services = {
            "mlflow": mlflow_url.removeprefix("http://"),
            "start_page": f"{HOST}:{start}",
            **dict.fromkeys(("monitoring", "pipeline", "notebooks", "notebooks_hub"), f"{HOST}:{echo}"),
            **notebooks,
            **{f"model_{name}": model_server or f"{HOST}:{echo}" for name in models},
            **{canary_upstream(name): f"{HOST}:{canary}" for name, model in models.items() if model.canary},
            canary_upstream("rush"): f"{HOST}:1",  # nothing listens there
            canary_upstream("sedge"): f"{HOST}:{processes.enter_context(unreachable_port())}",
        }
        shown = {
            name: {"url": f"http://{HOST}:{echo}", "visibility": model.visibility, "team": model.team}
            for name, model in models.items()
        }
        prometheus = {"url": f"http://{HOST}:{processes.enter_context(echo_server(Measurements))}"}
        settings = start_page_settings(
            mlflow_url,
            prometheus | {"username": "me", "password": "word"},
            shown,
            {},
            area_roles(teams),
            canary=TRIAL if "tulip" in models else None,
            audit=f"http://{HOST}:{log}",
        )
        users = {} if door.oidc else ROLES
        (folder / "lines").mkdir()
        for part in ("files", "pages", "program"):
            (folder / part).mkdir()
            for name, text in door_pod.files(part).items():
                (folder / part / name).write_text(text)
        configuration = sign_on_configuration(
            door, COOKIE_SECRET, str(folder), f"{HOST}:{https}", sign_on, door.oidc and door.oidc.ca_file
        )
        for name, content_text in {
            "users": users_file(hashes),
            "oauth2-proxy.cfg": configuration,
            "services": services_file(services),
            "routes.conf": routes_file(door, models, str(folder / "files"), "/status", kubeflow=True, notebooks=True),
            "releases.conf": releases_file(models),
            "access.json": access_rules(door, users, models, teams, f"http://{HOST}:{sign_on}"),
            "tokens.json": "{}",
            "keys.conf": "".join(f'set ${name} "{value}";\n' for name, value in VARIABLES.items()),
            "start-page.json": json.dumps(settings),
        }.items():
            (folder / name).write_text(content_text)
        variables = door_pod.nginx_variables(door, running.account[1]) | {
            "FILES": str(folder / "files"),
            "STATE": str(folder / "state"),
            "ADDRESS": HOST,
            "HTTP_PORT": str(http),
            "HTTPS_PORT": str(https),
            "HTTPS_SUFFIX": f":{https}",
            "SIGN_ON_PORT": str(sign_on),
            "SIGN_ON_STEPS": sign_on_steps(door),
            "LINES_FOLDER": str(folder / "lines"),
            "LINES_BYTES": str(LINES_BYTES),
            "DRAIN_SECONDS": "0",
            "INTERVAL_SECONDS": "0.5",
            "CERTIFICATE": str(folder),
            "ACME_CERTIFICATE": str(folder / "acme"),
            **{
                variable: str(folder / name)
                for variable, name in {
                    "ACCESS": "access.json",
                    "TOKENS": "tokens.json",
                    "KEYS": "keys.conf",
                    "ROUTES": "routes.conf",
                    "RELEASES": "releases.conf",
                    "SERVICES": "services",
                }.items()
            },
        }
        page_variables = {"START_PAGE_SETTINGS": str(folder / "start-page.json"), "DOOR_KEY": KEY}
        application = ["-m", "uvicorn", "mlplatform.start_page.application:application", "--port", str(start)]
        run = partial(process, processes, folder)
        run("sign-on", [str(oauth2_proxy_program()), f"--config={folder}/oauth2-proxy.cfg"])
        run("start-page", [sys.executable, *application], page_variables)
        running.start_audit_log()
        sender_variables = {"LINES_FOLDER": str(folder / "lines"), "DOOR_KEY": KEY}
        run("sender", [sys.executable, "-m", "mlplatform.audit_log.line_sender", running.audit], sender_variables)
        run("nginx", ["sh", str(folder / "program" / "serve.sh")], variables)
        ready = partial(
            answers, f"http://{HOST}:{http}/door/ready", f"http://{HOST}:{start}/health", f"http://{HOST}:{log}/health"
        )
        until(ready, seconds=300, what="the door")
        yield running


def answers(*urls: str, verify: str | bool = True) -> bool:
    try:
        return all(requests.get(url, timeout=5, verify=verify).status_code == 200 for url in urls)
    except requests.RequestException:
        return False


def process(
    stack: ExitStack, folder: Path, name: str, command: list[str], variables: Mapping[str, str] = {}
) -> Callable[[], None]:
    """Start a process that ends with the stack, or by the returned function; its output is in `<name>.log`."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()

    stack.callback(end)
    return end


def expires(seconds: float = 3600) -> float:
    """Return the time in so many seconds, as tokens.json has it."""
    return time.time() + seconds
