"""A TCP proxy in front of a server: it can stop passing on answers, as a network does that is cut at a bad moment."""

import contextlib
import socket
import threading


class Proxy:
    """Listens on 127.0.0.1. `mute` passes on what clients send, but ends them where the server answers; `cut` ends
    and refuses everybody; `heal` takes both back. Used as a context manager."""

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.muted = self.refusing = False
        self.open: list[socket.socket] = []

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.cut()

    def mute(self) -> None:
        self.muted = True

    def cut(self) -> None:
        self.refusing = True
        for one in self.open:
            _end(one)
        self.open.clear()

    def heal(self) -> None:
        self.muted = self.refusing = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.server_port))
                self.open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.muted:
                    break
                to.sendall(data)
        _end(source)
        _end(to)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        one.close()
