"""A TCP proxy that behaves as badly as networks do."""

import asyncio
import socket
import struct
import threading
from typing import Any, Coroutine, Set

PIECE = 64 * 1024
# Closing sends a reset instead of a farewell.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes connections on to `target`, and can cut, hold up, slow down and half-close them."""

    def __init__(self, target: str):
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._delay = 0.0
        self._bytes_per_second = 0.0
        self._writers: Set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._flows = asyncio.Event()
        self._run(self._start())

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    # ---- faults ----

    def cut(self) -> None:
        """Resets every connection; new ones are welcome."""
        self._run(self._cut())

    def blackhole(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def delay(self, seconds: float) -> None:
        """Every piece arrives later by this much."""
        self._delay = seconds

    def throttle(self, bytes_per_second: float) -> None:
        """Each direction of each connection carries no more than this; 0 for no limit."""
        self._bytes_per_second = bytes_per_second

    def half_close(self) -> None:
        """Ends what the target says, while it still hears what it is told."""
        self._run(self._half_close())

    def heal(self) -> None:
        """Behaves again. What was held up arrives now."""
        self._delay = 0.0
        self._bytes_per_second = 0.0
        self._loop.call_soon_threadsafe(self._flows.set)

    def close(self) -> None:
        """Ends it."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- in the loop's thread ----

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._flows.set()
        self._clients: Set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _half_close(self) -> None:
        for writer in list(self._clients):
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        self._clients.add(writer)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            pass
        finally:
            self._writers -= {writer, back}
            self._clients.discard(writer)
            writer.transport.abort()
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            await self._flows.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            if self._bytes_per_second:
                await asyncio.sleep(len(piece) / self._bytes_per_second)
            if writer.is_closing():
                return
            try:
                writer.write(piece)
            except RuntimeError:
                # Half closed meanwhile.
                return
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
