"""A plugin's process: a gRPC server on loopback that tells its port, and ends with the engine that started it."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent import futures

import grpc  # type: ignore[import-untyped]
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS

LOOK_SECONDS = 0.5
"""How often the process looks whether its engine is still there. A killed engine says no goodbye."""

THREADS = 64
"""Waits for AWS hold a thread each; an engine runs as many operations at once as it is told (4 × cores by default)."""


def serve(register: Callable[[grpc.Server], None]) -> int:
    """Serve until told to end, or until whoever started this process is gone; the exit status."""
    parent = os.getppid()
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=_GRPC_CHANNEL_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    # The engine starts plugins in groups of their own, so an interrupt is its own word too, never a terminal's.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(port, flush=True)
    while not ended.wait(LOOK_SECONDS):
        if os.getppid() != parent:
            # Not even what is under way is waited for: AWS goes on by itself, and nobody listens any more.
            os._exit(1)
    server.stop(grace=None)
    return 0
