"""Load through the door while its files change: no request fails twice."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import requests

from tests.waiting import until

from .processes import HOST, DoorProcesses

CALLERS = 3


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


def certificate(door: DoorProcesses) -> str:
    return ssl.get_server_certificate((HOST, door.port))


@contextmanager
def load(door: DoorProcesses) -> Iterator[list[str]]:
    """Send requests to a model, half of them on new connections; yield the failures of two attempts."""
    failures: list[str] = []
    sent = count()
    stop = threading.Event()

    def attempt(session: requests.Session) -> str:
        # The door counts the requests of a caller by this header.
        session.headers["Authorization"] = f"Bearer {next(sent) // 10}"
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
