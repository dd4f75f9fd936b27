"""Stand-in for the comments of a pull or merge request on GitHub and GitLab."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Forge(HTTPServer):
    """HTTP server with the comments of request 7 of `me/project` (GitHub) or of project 5 (GitLab)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: list[dict[str, Any]] = [{"id": 1, "body": "A person's words"}]
        self.tokens: set[str] = set()
        self.refusal = 0
        self.github = f"http://127.0.0.1:{self.server_port}"
        self.gitlab = f"{self.github}/api/v4"

    def __enter__(self) -> Forge:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]


ALL = ("/repos/me/project/issues/7/comments", "/api/v4/projects/5/merge_requests/7/notes")
ONE = ("/repos/me/project/issues/comments/", "/api/v4/projects/5/merge_requests/7/notes/")


class _Handler(BaseHTTPRequestHandler):
    server: Forge

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.tokens.add(self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN") or "")
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else None
        if self.server.refusal:
            return self._respond(self.server.refusal, {"message": "Resource not accessible by integration"})
        if self.command == "GET" and path in ALL:
            return self._respond(200, self.server.comments if query.endswith("&page=1") else [])
        if self.command == "POST" and path in ALL:
            self.server.comments.append({"id": len(self.server.comments) + 1, **content})
            return self._respond(201, self.server.comments[-1])
        if self.command == {ONE[0]: "PATCH", ONE[1]: "PUT"}.get(path.rpartition("/")[0] + "/"):
            comment = next(each for each in self.server.comments if each["id"] == int(path.rpartition("/")[2]))
            comment.update(content)
            return self._respond(200, comment)
        return self._respond(404, {"message": f"{self.command} {path}"})

    do_GET = do_POST = do_PATCH = do_PUT = _serve

    def _respond(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
