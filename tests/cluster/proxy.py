"""A TCP proxy that does to connections what networks do: delays, stalls, cuts, loses.

`python proxy.py PORT TARGET_HOST TARGET_PORT` takes orders on stdin, a line each, and says `ok`
once each is in force: `delay SECONDS`, `stall`, `stall up`, `flow`, `cut`, `drop BYTES`, `refuse`,
`accept`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SOME = 1 << 16


class Pipe:
    """One direction of one connection."""

    def __init__(
        self, proxy: Proxy, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._name = name
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        """Pass on until it ends."""
        try:
            while data := await self._reader.read(_SOME):
                await self._pass_on(data)
        except OSError:  # either end is gone
            pass
        finally:
            self._writer.close()

    async def _pass_on(self, data: bytes) -> None:
        proxy = self._proxy
        if proxy.delay:
            await asyncio.sleep(proxy.delay)
        await proxy.flows[self._name].wait()
        lost, proxy.to_drop = min(proxy.to_drop, len(data)), 0
        self._writer.write(data[lost:])
        if lost:
            raise ConnectionAbortedError  # no TCP goes on after a gap
        await self._writer.drain()


class Proxy:
    """Passes connections on to *target*."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.delay = 0.0
        self.to_drop = 0
        self.flows = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._open: set[asyncio.StreamWriter] = set()
        self._accepts = True
        self._set(self.flows.values(), flowing=True)

    @staticmethod
    def _set(flows: Iterable[asyncio.Event], *, flowing: bool) -> None:
        for flow in flows:
            if flowing:
                flow.set()
            else:
                flow.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        if not self._accepts:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:  # nobody listens there
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self._open |= ends
        up = Pipe(self, "up", reader, there_writer)
        await asyncio.gather(up.run(), Pipe(self, "down", there_reader, writer).run())
        self._open -= ends

    def obey(self, order: str, argument: str) -> None:
        """Do what is said."""
        if order == "delay":
            self.delay = float(argument)
        elif order == "stall":
            self._set([self.flows[argument]] if argument else self.flows.values(), flowing=False)
        elif order == "flow":
            self._set(self.flows.values(), flowing=True)
        elif order == "cut":
            for writer in self._open:
                writer.transport.abort()
        elif order == "drop":
            self.to_drop = int(argument)
        else:
            self._accepts = {"refuse": False, "accept": True}[order]


async def main(port: int, host: str, target: int) -> None:
    """Listen, and obey until stdin ends."""
    proxy = Proxy((host, target))
    await asyncio.start_server(proxy.connected, "0.0.0.0", port)
    loop = asyncio.get_running_loop()
    print("ok", flush=True)  # noqa: T201 - how a program tells
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order, _, argument = line.strip().partition(" ")
        proxy.obey(order, argument)
        print("ok", flush=True)  # noqa: T201 - the same


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
