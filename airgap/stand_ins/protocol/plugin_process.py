"""The process of a provider plugin: it prints the port that it serves, and exits with the engine that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Bytes; the engine's own limit."""


def engine_address() -> str:
    """Return the engine's address (host:port) from the command line, or an empty string."""
    return next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")


def serve(
    provider: provider_pb2_grpc.ResourceProviderServicer, threads: int, on_exit: Callable[[], None] = lambda: None
) -> None:
    """Serve the provider until a signal or until the engine exits.

    Args:
        provider: the servicer.
        threads: the number of calls that are served at once.
        on_exit: called before the server stops.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    options = [
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=threads), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Thread(target=_wait_for_end_of_input, args=(stopping,), daemon=True).start()
    stopping.wait()
    on_exit()
    server.stop(grace=1).wait()


def _wait_for_end_of_input(stopping: threading.Event) -> None:
    """Set the event when the engine exits, also by `kill -9`: standard input is a pipe from the engine."""
    while os.read(0, 4096):
        pass
    stopping.set()
