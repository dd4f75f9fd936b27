"""A separate port for health and metrics; its threads never wait for the threads of requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from model_server.errors import RequestError
from model_server.http.responses import as_response, error_response
from model_server.http.routes import Request, Route

HEALTH_PATHS = ("/v2/health/live", "/v2/health/ready", "/metrics")
TIMEOUT_SECONDS = 5
"""Seconds without any data after which a connection is closed."""


class HealthServer(ThreadingHTTPServer):
    """Server of the health routes; the servers of several workers share the port, as granian's do."""

    allow_reuse_port = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, table: Sequence[Route]) -> None:
        self.routes: Mapping[str, Route] = {route.path: route for route in table if route.path in HEALTH_PATHS}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, name="health", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_SECONDS
    server: HealthServer

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        try:
            if route is None:
                raise RequestError(404, "not_found", f"this port serves only {', '.join(HEALTH_PATHS)}")
            response = as_response(route.respond(Request({}, "", {}, b"")))
        except Exception as error:
            response = error_response(error)
        self.send_response(response.status)
        for name, value in response.header_list():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(response.body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Log nothing: probes would fill the log."""
