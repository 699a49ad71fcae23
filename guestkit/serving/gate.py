"""Who is admitted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
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
    """Compares names and passwords. After a wrong one its address waits, whoever there asks next.

    What one host or one subscriber can choose from is one address: 127.0.0.0/8, and an IPv6 /64.
    """

    def __init__(self, user: str, password: str) -> None:
        self._right = _digest(user, password)
        self._addresses: dict[str, _Address] = {}
        self._guesses: set[asyncio.Task[bool]] = set()

    def is_right(self, user: str, password: str) -> bool:
        """Return at once whether these are the right ones.

        Only for a connection that has given them before: others would guess without a wait.
        """
        return hmac.compare_digest(_digest(user, password), self._right)

    async def admits(self, address: str, user: str, password: str) -> bool:
        """Return whether these are the right ones."""
        network = _network(address)
        place = self._addresses.setdefault(network, _Address())
        if place.waiting >= WAITING:
            return False
        place.waiting += 1
        # A task of its own: a client that hangs up does not get to its next guess sooner.
        guess = asyncio.create_task(self._guess(network, address, _digest(user, password)))
        self._guesses.add(guess)
        guess.add_done_callback(self._guesses.discard)
        return await asyncio.shield(guess)

    async def _guess(self, network: str, address: str, guessed: bytes) -> bool:
        place = self._addresses[network]
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
                del self._addresses[network]


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_loopback:
        return "this host"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _digest(user: str, password: str) -> bytes:
    # SSH's clients and servers normalise what is typed, those of HTTP do not.
    texts = (unicodedata.normalize("NFKC", text) for text in (user, password))
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).digest()
