"""Works a page in a real browser, over Chromium's own protocol."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from tests.browser.chromium import CHROMIUM, OPTIONS

SECONDS = 30


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def value_of(self, script: str) -> Any:
        """Of an expression; a promise is waited for."""
        number = next(self._numbers)
        parameters = {"expression": script, "awaitPromise": True, "returnByValue": True}
        call = {"id": number, "method": "Runtime.evaluate", "params": parameters}
        await self._socket.send(msgspec.json.encode(call).decode())
        while (answer := msgspec.json.decode(await self._socket.recv())).get("id") != number:
            pass
        assert "exceptionDetails" not in answer["result"], answer
        return answer["result"]["result"].get("value")

    async def until(self, script: str) -> Any:
        """Its value, once there is one that counts."""
        async with asyncio.timeout(SECONDS):
            while not (value := await self.value_of(script)):
                await asyncio.sleep(0.1)
        return value


@asynccontextmanager
async def opened(url: str, profile: Path) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *OPTIONS,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        url,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(SECONDS):
            while not (found := re.search(rb"ws://([\d.:]+)/", await process.stderr.readline())):
                pass
        async with httpx.AsyncClient() as client:
            tabs = (await client.get(f"http://{found[1].decode()}/json")).json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        async with connect(address, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        await process.communicate()
