"""A browser without pages: it signs in to notebooks at a door, starts a server, and runs cells in its kernel."""

from __future__ import annotations

import json
import ssl
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import websocket

from tests.waiting import until

START_SECONDS = 300


@dataclass(frozen=True)
class NotebookClient:
    """A person with a session at the door."""

    url: str
    session: requests.Session
    person: str

    @property
    def server(self) -> str:
        return f"{self.url}/notebooks/user/{self.person}"

    def start(self, **form: str) -> None:
        """Start the person's server with these choices, and wait until it answers."""
        spawn = f"{self.url}/notebooks/hub/spawn"
        page = self.session.get(spawn, timeout=60)
        assert page.status_code == 200, page.text
        if form and self.stopped():
            token = {"_xsrf": self._cookie("_xsrf", "/notebooks/hub/")}
            page = self.session.post(spawn, params=token, data=form, headers={"Origin": self.url}, timeout=60)
            assert page.status_code == 200, page.text
        until(self.runs, seconds=START_SECONDS, what=f"the server of {self.person}: {page.text[-2000:]}")
        assert self.session.get(f"{self.server}/lab", timeout=60).status_code == 200

    def runs(self) -> bool:
        return self._state()["server"] is not None

    def stopped(self) -> bool:
        """Return True once the server has ended."""
        state = self._state()
        return (state["server"], state["pending"]) == (None, None)

    def _state(self) -> dict[str, Any]:
        token = {"_xsrf": self._cookie("_xsrf", "/notebooks/hub/")}
        answer = self.session.get(f"{self.url}/notebooks/hub/api/users/{self.person}", params=token, timeout=30)
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def execute(self, code: str, timeout: float = 120) -> str:
        """Run a cell in a new kernel, and return its output and errors as text."""
        headers = {"X-XSRFToken": self._cookie("_xsrf", urlsplit(f"{self.server}/").path), "Origin": self.url}
        kernels = f"{self.server}/api/kernels"
        created = self.session.post(kernels, json={"name": "python3"}, headers=headers, timeout=60)
        assert created.status_code == 201, created.text
        kernel = created.json()["id"]
        try:
            return self._run(f"{kernels}/{kernel}/channels", code, timeout)
        finally:
            self.session.delete(f"{kernels}/{kernel}", headers=headers, timeout=60)

    def connect(self, address: str, timeout: float = 60, origin: str = "") -> websocket.WebSocket:
        """Open a WebSocket with the cookies of the session."""
        request = requests.Request("GET", address)
        cookies = self.session.prepare_request(request).headers.get("Cookie", "")
        return websocket.create_connection(
            address.replace("https://", "wss://"),
            timeout=timeout,
            cookie=cookies,
            origin=origin or self.url,
            sslopt={"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": str(self.session.verify)},
        )

    def _run(self, channels: str, code: str, timeout: float) -> str:
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "username": "", "session": message}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        connection = self.connect(channels, timeout)
        try:
            body = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
            connection.send(json.dumps({**body, "channel": "shell", "buffers": []}))
            output = ""
            while True:
                reply = json.loads(connection.recv())
                if reply["parent_header"].get("msg_id") != message or reply["channel"] != "iopub":
                    continue
                if reply["msg_type"] == "status" and reply["content"]["execution_state"] == "idle":
                    return output
                output += _text(reply["msg_type"], reply["content"])
        finally:
            connection.close()

    def _cookie(self, name: str, path: str) -> str:
        found = [each.value for each in self.session.cookies if (each.name, each.path) == (name, path)]
        assert found, [(each.name, each.path) for each in self.session.cookies]
        return str(found[0])


def _text(kind: str, content: dict[str, Any]) -> str:
    match kind:
        case "stream":
            return str(content["text"])
        case "execute_result" | "display_data":
            return str(content["data"].get("text/plain", ""))
        case "error":
            return f"{content['ename']}: {content['evalue']}\n" + "\n".join(content["traceback"])
    return ""
