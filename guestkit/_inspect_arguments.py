"""The arguments of `inspect` and `inspect_many` as values, shared by the blocking and the async versions."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from guestkit import _native
from guestkit._language_packages import LanguagePackages
from guestkit.disks import Domain, Guest, add_disks, named_disks
from guestkit.errors import CallTimeout, Error
from guestkit.guest import GuestArguments
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, HandleOptions, check_limit, name_options_of, options_from
from guestkit.inspection import DEFAULT_PARTS, Inspection, InspectOptions, Key, Mode, Part
from guestkit.opening import InspectKeywords, OpenDiskOptions, opening_from, parted

if TYPE_CHECKING:
    from guestkit.fleet import FleetProgress

#: The default timeout of a disk, in seconds: enough for an emulated launch and inspect_os of a large guest.
TIMEOUT = 600.0

#: How many guests wait or run on the program's own executor, which does not tell how many workers it has.
#: Each is a report that may be held in memory.
ON_EXECUTOR = 100


#: Whether results are kept: a directory for them, or True for the usual one; None: as the environment says.
Cache = bool | str | os.PathLike[str] | None


def _cache_directory(asked: Cache) -> Path | None:
    """Return where results of inspections are kept; None: they are not.

    GUESTKIT_INSPECTION_CACHE turns that on, with "1" or with a directory. The usual one is
    guestkit/inspections in $XDG_CACHE_HOME or in ~/.cache. Raises Error (EINVAL) if the variable is wrong.
    """
    stated = os.environ.get("GUESTKIT_INSPECTION_CACHE", "")
    if stated not in ("", "0", "1") and not stated.startswith("/"):
        message = f"GUESTKIT_INSPECTION_CACHE must be 1, 0 or a directory that begins with /, not {stated!r}"
        raise Error("inspect", message, errno.EINVAL)
    if asked is None:
        asked = stated not in ("", "0")
    if not isinstance(asked, bool):
        if not os.path.isabs(asked):  # "auto" and the like are no directories
            message = f"cache must be True, False, None or a directory that begins with /, not {asked!r}"
            raise Error("inspect", message, errno.EINVAL)
        return Path(asked)
    if not asked:
        return None
    if stated.startswith("/"):
        return Path(stated)
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if caches.startswith("/"):
        return Path(caches) / "guestkit" / "inspections"
    try:
        return Path.home() / ".cache" / "guestkit" / "inspections"
    except RuntimeError as error:  # as services are run
        message = "this user has no home directory for kept results: name a directory, or set XDG_CACHE_HOME"
        raise Error("inspect", message, errno.EINVAL) from error


@dataclass(frozen=True, slots=True)
class InspectionJob:
    """How to inspect a guest; can be pickled for other processes.

    Attributes:
        verify: whether to inspect with libguestfs too and compare, or the share of guests to do that for
        handle: options of the guest's handle
        languages: whether to look for the packages of programming languages, too
    """

    options: InspectOptions
    verify: bool | float
    handle: HandleOptions
    languages: bool = False

    def __post_init__(self) -> None:
        """Reject wrong arguments before anything runs."""
        self.options.native()
        if isinstance(self.verify, bool):
            return
        if not isinstance(self.verify, (int, float)):
            raise TypeError(
                f"verify must be a bool or a share of the guests, not {type(self.verify).__name__}"
            )
        if not 0 <= self.verify <= 1:
            raise ValueError(f"verify must be a share of the guests, from 0 to 1, not {self.verify}")

    def run(self, handle: Guestfs, guest: Guest, step: Callable[[str], object] | None = None) -> Inspection:
        try:
            return self._inspection(handle, guest, step)
        except CallTimeout as error:
            if error.clock == "call_timeout":
                raise _out_of_time(error) from None
            raise

    def _inspection(self, handle: Guestfs, guest: Guest, step: Callable[[str], object] | None) -> Inspection:
        # An ordinary random number will do: the sample needs no secrecy.
        verify = self.verify if isinstance(self.verify, bool) else random.random() < self.verify
        options = replace(self.options, verify=verify, step=step)
        if options.cache is None or options.keys or verify:
            return handle._inspect_disks(guest, options)
        from guestkit.cache import cached  # only those who want it pay for this import

        return cached(
            handle,
            lambda: named_disks("inspect", handle, guest, options.opening),
            options,
            self.handle.appliance,
            lambda: handle._inspect_disks(guest, options),
        )

    def languages_in(
        self,
        handle: Guestfs,
        guest: Guest,
        inspection: Inspection,
        step: Callable[[str], object] | None = None,
    ) -> Sequence[LanguagePackages]:
        """Return the packages of programming languages, if they are wanted.

        handle: that of the inspection
        """
        if not self.languages:
            return ()
        from guestkit.languages import found_in  # only those who want it pay for this import

        if step is not None:
            step("looking for the packages of languages")
        opening, keys = self.options.opening, tuple(self.options.keys)
        asked = GuestArguments(guest=guest, keys=keys, opening=opening, handle=self.handle, step=step)
        return found_in(inspection, asked, _launched(handle, asked), self.handle.call_timeout)


@contextmanager
def _launched(handle: Guestfs, asked: GuestArguments) -> Iterator[Guestfs]:
    """Yield the handle; launch it, if no inspection has, since its result was kept."""
    if handle.last_launch() is None:
        add_disks(handle, asked.guest, asked.opening, step=asked.step)
        handle.launch()
    yield handle


def _out_of_time(error: CallTimeout) -> CallTimeout:
    """Return the error in the words of who inspects: they gave timeout=, and have no handle of their own."""
    late: CallTimeout = CallTimeout(
        error.op,
        f"took longer than {error.seconds:g} s (timeout) and was stopped",
        error.errno,
        error.seconds,
        error.clock,
        error.console,
        error.handle_usable,
    )
    late.hint = "give it more time: timeout="
    return late


@dataclass(frozen=True, slots=True)
class One:
    """The arguments of `inspect`, here and in guestkit.aio."""

    guest: Guest
    job: InspectionJob
    step: Callable[[str], object] | None


def one(
    disk: Guest,
    options: HandleOptions | None = None,
    *,
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    cache: Cache = None,
    step: Callable[[str], object] | None = None,
    **keywords: Unpack[InspectKeywords],
) -> One:
    """Bundle the arguments of `inspect`."""
    of_disks, handle = parted(keywords)
    asked = InspectOptions(
        parts=parts,
        keys=keys,
        mode=mode,
        opening=opening_from("inspect", of_disks),
        cache=_cache_directory(cache),
    )
    of_handle = options_from(options, handle, INSPECTION, "inspect")
    for name in ("call_timeout", "cancel_grace"):
        if name in handle or getattr(of_handle, name) != getattr(INSPECTION, name):
            raise TypeError(f"{name} does not apply to an inspection: timeout= limits all of it")
    check_limit("inspect", "timeout", timeout)
    # The handle's only call gets the guest's whole timeout. The disks are only read, so nothing is lost if it
    # is killed without grace.
    of_handle = replace(of_handle, call_timeout=timeout, cancel_grace=0.0)
    return One(disk, InspectionJob(asked, verify, of_handle), step)


@dataclass(frozen=True, slots=True)
class Many:
    """The arguments of `inspect_many`, here and in guestkit.aio."""

    guests: Iterable[Guest] | AsyncIterable[Guest]
    job: InspectionJob
    at_once: int
    progress: Callable[[FleetProgress], object] | None
    executor: Executor | None


def many(
    disks: Iterable[Guest] | AsyncIterable[Guest],
    options: HandleOptions | None = None,
    *,
    concurrency: int | Literal["auto"] = "auto",
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    cache: Cache = None,
    languages: bool = False,
    progress: Callable[[FleetProgress], object] | None = None,
    jobs_executor: Executor | None = None,
    **keywords: Unpack[InspectKeywords],
) -> Many:
    """Bundle the arguments of `inspect_many`."""
    job = one(
        (),
        options,
        parts=parts,
        keys=keys,
        mode=mode,
        verify=verify,
        timeout=timeout,
        cache=cache,
        **keywords,
    ).job
    if not isinstance(languages, bool):
        raise TypeError(f"inspect_many() argument 'languages' must be bool, not {type(languages).__name__}")
    if isinstance(disks, (str, bytes, os.PathLike, Domain)):  # whose letters would be guests
        raise TypeError("inspect_many() takes several guests; inspect() takes one")
    if concurrency == "auto" and jobs_executor is not None:
        concurrency = ON_EXECUTOR
    return Many(disks, replace(job, languages=languages), _number(concurrency), progress, jobs_executor)


#: The fields that an inspection does not take: it only reads, and its timeout stands for the limits of calls.
_WITHOUT = ("readonly", "call_timeout", "cancel_grace")

name_options_of(one, OpenDiskOptions(), INSPECTION, without=_WITHOUT)
name_options_of(many, OpenDiskOptions(), INSPECTION, without=_WITHOUT)


def _number(concurrency: int | Literal["auto"]) -> int:
    if concurrency == "auto":
        return _native.available_processors()
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError(f'concurrency must be a number or "auto", not {concurrency!r}')
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    return concurrency
