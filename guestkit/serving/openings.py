"""Opening files to read them: clients open many at once, and each turn of the guest takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from guestkit import _operations as operations
from guestkit.serving.limits import BEGINNING, TOGETHER

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS


class Openings:
    """Reads the beginnings of files: those that are opened while the guest is busy, in one turn."""

    def __init__(self, look: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """look: runs one of the operations as one turn"""
        self._look = look
        self._waiting: list[tuple[str, asyncio.Future[tuple[StatNS, bytes]]]] = []
        self._reading: asyncio.Task[None] | None = None
        self._outcomes: set[asyncio.Future[tuple[StatNS, bytes]]] = set()

    async def begin(self, path: str) -> tuple[StatNS, bytes]:
        """Return the status of a regular file and its beginning."""
        outcome: asyncio.Future[tuple[StatNS, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append((path, outcome))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        self._outcomes.add(outcome)
        try:
            return await outcome
        finally:
            self._outcomes.discard(outcome)

    def cancel(self) -> None:
        """Break off what still runs."""
        if self._reading is not None:
            self._reading.cancel()
        for outcome in tuple(self._outcomes):
            outcome.cancel()

    async def _read(self) -> None:
        while wanted := self._waiting[:TOGETHER]:
            del self._waiting[:TOGETHER]
            found: Sequence[tuple[StatNS, bytes] | Exception]
            try:
                found = await self._look(operations.beginnings, [(path, BEGINNING) for path, _ in wanted])
            except Exception as error:  # it is the clients' to tell
                found = [error] * len(wanted)
            for (_, outcome), one in zip(wanted, found, strict=True):
                if outcome.done():  # the client has gone
                    continue
                if isinstance(one, Exception):
                    outcome.set_exception(one)
                else:
                    outcome.set_result(one)
