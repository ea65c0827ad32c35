"""An address that leads to whichever server is meant at that moment: what DNS does for a cluster's reader endpoint.

Bytes are handed on as they come, TLS included: the servers behind it have certificates that are good for the address.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

CHUNK = 1 << 16
Choose = Callable[[], str | None]


class Endpoints:
    """All such addresses of one lab, served by one thread of the server process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: dict[str, asyncio.Server] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="endpoints", daemon=True).start()

    def open(self, address: str, choose: Choose) -> None:
        """Listen there. `choose` names the address of the server that the next connection is for, or None."""

        async def serve() -> None:
            self._open[address] = await asyncio.start_server(
                lambda reader, writer: self._hand_on(reader, writer, choose), address, self._port
            )

        asyncio.run_coroutine_threadsafe(serve(), self._loop).result(10)

    def close(self, address: str) -> None:
        """Listen there no more; connections that are open stay."""
        server = self._open.pop(address, None)
        if server is not None:
            self._loop.call_soon_threadsafe(server.close)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, choose: Choose) -> None:
        try:
            address = choose()
            if address is None:
                return
            theirs, ours = await asyncio.open_connection(address, self._port)
            await asyncio.gather(_pump(reader, ours), _pump(theirs, writer))
        except OSError as error:
            log.debug("a connection ended: %s", error)
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(CHUNK):
            writer.write(block)
            await writer.drain()
    finally:
        writer.close()
