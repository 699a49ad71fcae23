"""Who is admitted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import unicodedata
from dataclasses import dataclass, field

_log = logging.getLogger("guestkit")

#: How long a wrong guess keeps its address from another one, in seconds.
DELAY = 1.0

#: How many guesses of one address may wait. Others are refused unheard, right or wrong.
WAITING = 16


@dataclass(slots=True)
class _Address:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Gate:
    """Compares names and passwords. After a wrong one its address waits, whoever there asks next."""

    def __init__(self, user: str, password: str) -> None:
        self._right = _digest(user, password)
        self._addresses: dict[str, _Address] = {}
        self._guesses: set[asyncio.Task[bool]] = set()

    async def admits(self, address: str, user: str, password: str) -> bool:
        """Return whether these are the right ones."""
        place = self._addresses.setdefault(address, _Address())
        if place.waiting >= WAITING:
            return False
        place.waiting += 1
        # A task of its own: a client that hangs up does not get to its next guess sooner.
        guess = asyncio.create_task(self._guess(place, address, _digest(user, password)))
        self._guesses.add(guess)
        guess.add_done_callback(self._guesses.discard)
        return await asyncio.shield(guess)

    async def _guess(self, place: _Address, address: str, guessed: bytes) -> bool:
        try:
            async with place.turn:
                if hmac.compare_digest(guessed, self._right):
                    return True
                _log.warning("a wrong user or password from %s", address)
                await asyncio.sleep(DELAY)
                return False
        finally:
            place.waiting -= 1
            if not place.waiting:
                self._addresses.pop(address, None)


def _digest(user: str, password: str) -> bytes:
    # SSH's clients and servers normalise what is typed, those of HTTP do not.
    texts = (unicodedata.normalize("NFKC", text) for text in (user, password))
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).digest()
