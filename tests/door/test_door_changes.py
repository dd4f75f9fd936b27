"""Load through the door while its files change: no request fails twice."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from mlplatform.door.served_files import FILES, digest

from settings.services.door_settings import DoorSettings
from tests.waiting import until

from .processes import HOST, DoorProcesses, expires, running_door

CALLERS = 3
TOKENS = [f"mlp_{number:043d}" for number in range(60)]
GRANT = {"id": "0a1b2c3d", "for": {"model:rose": True}, "role": "reader", "expires": expires()}
GETENT = """#!/bin/sh
echo "$2" >> {folder}/lookups
[ ! -e {folder}/next.conf ] || mv {folder}/next.conf {folder}/routes.conf
[ ! -e {folder}/no-answer ] || exit 2
exec /usr/bin/getent "$@"
"""


def test_door_loses_no_request_while_its_certificate_and_routes_change(door: DoorProcesses) -> None:
    routes = door.folder / "routes.conf"
    text = routes.read_text()
    with load(door) as failures:
        old = certificate(door)
        door.write_certificate()
        until(lambda: certificate(door) != old, seconds=120, what="the new certificate")
        routes.write_text("location = /door/changed { return 204; }\n" + text)
        changed = f"{door.url}/door/changed"
        until(lambda: requests.get(changed, verify=str(door.ca), timeout=30).status_code == 204, seconds=120)
        routes.write_text("no directive of nginx\n" + text)
        until(lambda: "unknown directive" in door.log("nginx"), seconds=120, what="the refusal of nginx")
        assert requests.get(changed, verify=str(door.ca), timeout=30).status_code == 204
        routes.write_text(text)
        until(lambda: requests.get(changed, verify=str(door.ca), timeout=30).status_code != 204, seconds=120)
    assert failures == []


def test_door_takes_files_that_nginx_refused_for_a_moment(door: DoorProcesses) -> None:
    routes, included = door.folder / "routes.conf", door.folder / "later.conf"
    text = routes.read_text()
    routes.write_text(f"include {included};\n{text}")
    until(lambda: str(included) in door.log("nginx"), seconds=120, what="the refusal of nginx")
    with door.reloaded():
        included.write_text("location = /door/later { return 204; }\n")
    assert requests.get(f"{door.url}/door/later", verify=str(door.ca), timeout=30).status_code == 204
    with door.reloaded():
        routes.write_text(text)


def test_door_keeps_addresses_of_services_while_dns_does_not_answer(
    folder: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = folder / "names"
    with_getent(files, monkeypatch)
    with running_door(files, DoorSettings(host=HOST), mlflow_url) as door:
        services, served = files / "services", files / "state" / "upstreams.conf"
        resolved = served.read_text()
        (files / "no-answer").touch()
        wait_for_lookups(files)
        assert served.read_text() == resolved
        assert door.session().post(f"{door.url}/models/rose/score", json={}, timeout=30).status_code == 200
        moved, other = services.read_text().splitlines()[:2]
        replace(services, f"{moved.split()[0]} elsewhere.test 80\n{other}\nnew new.test 80\n")
        until(lambda: "upstream new " in served.read_text(), what="the new service")
        assert ["127.0.0.1:1 down" in line for line in served.read_text().splitlines()] == [True, False, True]


def test_door_says_which_settings_it_serves_after_they_changed_while_it_read_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = folder / "changing"
    with_getent(files, monkeypatch)
    with running_door(files, DoorSettings(host=HOST), f"http://{HOST}:1", {}) as door:
        routes = (files / "routes.conf").read_text()
        (files / "new.conf").write_text(f"location = /door/changed {{ return 204; }}\n{routes}")
        (files / "new.conf").rename(files / "next.conf")  # the next lookup makes it the file of routes
        until(lambda: not (files / "next.conf").exists(), what="the change")
        until(lambda: served(door) == {"files": settings_digest(door), "unknown": 0}, what="the changed settings")


def test_door_says_which_settings_it_serves_and_how_many_services_have_no_address(door: DoorProcesses) -> None:
    services = door.folder / "services"
    text = services.read_text()

    def serves(unknown: int) -> bool:
        return served(door) == {"files": settings_digest(door), "unknown": unknown}

    until(lambda: serves(0), what="the settings of the start")
    replace(services, f"{text}new new.test 80\n")
    until(lambda: serves(1), what="the settings with a service without an address")
    replace(services, text)
    until(lambda: serves(0), what="the settings of the start")


def served(door: DoorProcesses) -> Any:
    """Return the settings that the door says it serves."""
    return requests.get(f"http://{HOST}:{door.plain_port}/door/serves", timeout=30).json()


def settings_digest(door: DoorProcesses) -> str:
    return digest({name: (door.folder / name).read_text() for name in FILES})


def with_getent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder of a door whose lookups of names run `GETENT`."""
    folder.mkdir()
    (folder / "getent").write_text(GETENT.format(folder=folder))
    (folder / "getent").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def replace(file: Path, text: str) -> None:
    """Replace a file at once, as a kubelet does: `serve.sh` may be reading it."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


def wait_for_lookups(folder: Path) -> None:
    """Wait until `serve.sh` has looked up all services at least once more."""
    lookups, services = folder / "lookups", folder / "services"
    wanted = len(lookups.read_text().splitlines()) + 2 * len(services.read_text().splitlines()) + 1
    until(lambda: len(lookups.read_text().splitlines()) >= wanted, what="a round of lookups")


def certificate(door: DoorProcesses) -> str:
    return ssl.get_server_certificate((HOST, door.port))


@contextmanager
def load(door: DoorProcesses) -> Iterator[list[str]]:
    """Send requests to a model, half of them on new connections; yield the failures of two attempts."""
    door.serve_tokens(dict.fromkeys(TOKENS, GRANT))
    failures: list[str] = []
    sent = count()
    stop = threading.Event()

    def attempt(session: requests.Session) -> str:
        # Each token has a rate.
        session.headers["Authorization"] = f"Bearer {TOKENS[next(sent) % len(TOKENS)]}"
        try:
            answer = session.post(f"{door.url}/models/rose/score", json={}, timeout=30)
        except requests.RequestException as error:
            return repr(error)
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"

    def send() -> None:
        kept = door.session()
        while not stop.is_set():
            for session in (kept, door.session()):
                if attempt(session) and (failure := attempt(session)):
                    failures.append(failure)

    senders = [threading.Thread(target=send) for _ in range(CALLERS)]
    for sender in senders:
        sender.start()
    try:
        yield failures
    finally:
        stop.set()
        for sender in senders:
            sender.join()
    assert next(sent) > CALLERS * 10
