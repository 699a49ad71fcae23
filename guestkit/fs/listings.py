"""What a filesystem remembers of the guest's directories."""

from __future__ import annotations

import math
import posixpath
import threading
import time
from collections.abc import Iterator, MutableMapping

from guestkit._operations import Entry

#: How many directories and files in them are remembered, all together.
MOST = 200_000


class Listings(MutableMapping[str, dict[str, Entry]]):
    """The files of directories, by the paths of both: fsspec's `dircache`, on any thread.

    What is too much goes, the oldest first. fsspec's own class would keep it in memory: it counts no files,
    and what is beyond `max_paths` or too old is not deleted, but only no longer found.
    """

    def __init__(self, *, remember: bool, seconds: float | None, directories: int | None) -> None:
        """Remember nothing yet.

        remember: False: nor later
        seconds: for how long; None: without end
        directories: how many; None or 0: any number
        """
        self._remember = remember
        self._seconds = math.inf if seconds is None else seconds
        self._directories = directories or math.inf
        # With when they were listed; the newest come last.
        self._kept: dict[str, tuple[float, dict[str, Entry]]] = {}
        self._count = 0  # of the directories and their files
        self._lock = threading.RLock()  # guards both

    def remember(self, directory: str, entries: list[Entry]) -> None:
        self[directory] = {entry["name"]: entry for entry in entries}

    def known(self, path: str) -> Entry | None:
        """Return what is remembered of a file. Its symlinks were not followed, so those do not count."""
        found = self.get(posixpath.dirname(path), {}).get(path)
        return None if found is None or found["type"] == "link" else found

    def __getitem__(self, directory: str) -> dict[str, Entry]:
        since, listing = self._kept[directory]
        if time.monotonic() - since >= self._seconds:
            self.forget(directory)
            raise KeyError(directory)
        return listing

    def __setitem__(self, directory: str, listing: dict[str, Entry]) -> None:
        with self._lock:
            self.forget(directory)
            if not self._remember or len(listing) >= MOST:
                return
            self._kept[directory] = time.monotonic(), listing
            self._count += 1 + len(listing)
            while self._kept and (self._count > MOST or len(self._kept) > self._directories):
                self.forget(next(iter(self._kept)))

    def forget(self, directory: str) -> None:
        """Forget the files of a directory, if they are remembered."""
        with self._lock:
            if directory in self._kept:
                _, listing = self._kept.pop(directory)
                self._count -= 1 + len(listing)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._count = 0

    def __delitem__(self, directory: str) -> None:
        _ = self._kept[directory]  # raises KeyError
        self.forget(directory)

    def __iter__(self) -> Iterator[str]:
        return iter([directory for directory in list(self._kept) if directory in self])

    def __len__(self) -> int:
        return len(self._kept)
