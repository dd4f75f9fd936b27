"""The plugin's process: it prints the port it serves, and ends with the engine that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from .provider import PreviewProvider


def main() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    # One call at a time: they share what is loaded of the SDK, and take no time.
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(PreviewProvider("".join(addresses[:1])), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Thread(target=_wait_for_end_of_input, args=(ended,), daemon=True).start()
    ended.wait()
    server.stop(grace=1).wait()


def _wait_for_end_of_input(ended: threading.Event) -> None:
    """Standard input is a pipe from the engine: it ends when the engine does, be it by `kill -9`."""
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
