"""The plugin's process: it prints the port it serves, and ends with the engine that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from .engine import Engine
from .operation import Operations
from .provider import CommandProvider

_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Bytes; the engine's own limit."""
_CALLS = 1024
"""At once: each command that runs holds one, and there must be one left to cancel them."""


def main() -> None:
    operations = Operations()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    provider = CommandProvider(Engine(*addresses[:1]), operations)
    options = [
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=_CALLS), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Thread(target=_wait_for_end_of_input, args=(ended,), daemon=True).start()
    ended.wait()
    operations.cancel()
    server.stop(grace=1).wait()
    os._exit(0)  # a thread that waits for what cannot be ended must not keep the plugin


def _wait_for_end_of_input(ended: threading.Event) -> None:
    """Standard input is a pipe from the engine: it ends when the engine does, be it by `kill -9`."""
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
