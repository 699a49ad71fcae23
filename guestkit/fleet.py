"""One disk or many, each in an appliance of its own.

    inspection = guestkit.inspect("web.qcow2")

    async for report in guestkit.aio.inspect_many(Path("/srv/images").glob("*.qcow2")):
        print(report.disk, report.error or report.inspection.operating_systems)

A disk that fails spoils nothing: its report says why. Disks are only read.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from guestkit.errors import Error, LaunchError
from guestkit.handle import Guestfs
from guestkit.images import Backing, InUse, OpenOptions
from guestkit.inspection import DEFAULT_PARTS, Inspection, Key, Mode, Part, path_list
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

log = logging.getLogger("guestkit")

#: How long a disk may take by default, in seconds: a launch under emulation and inspect_os of a large guest.
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a disk could not be inspected.

    Attributes:
        kind: the exception's class, such as "LaunchError", "CallTimeout", "ApplianceCrashed"
        message: one line that begins with the disk's name
        errno: an errno value, 0 where there is none
        op: the action that failed
    """

    kind: str
    message: str
    errno: int
    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What inspecting one guest gave: an inspection or an error.

    Attributes:
        disk: its first disk
        disks: all of them
        seconds: how long it took
    """

    disk: str
    disks: Sequence[str]
    inspection: Inspection | None = None
    error: Failure | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dictionaries, for `json.dumps`. Keys are only ever added."""
        error = self.error
        return {
            "disk": self.disk,
            "disks": list(self.disks),
            "error": None
            if error is None
            else {name: getattr(error, name) for name in ("kind", "message", "errno", "op")},
            "inspection": None if self.inspection is None else self.inspection.to_dict(),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetProgress:
    """How far a fleet is.

    Attributes:
        done: how many disks have their report
        steps: what is being done with each disk now; empty where other processes do it
    """

    done: int
    steps: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """How to inspect one guest; goes to other processes."""

    parts: Collection[Part]
    keys: Sequence[Key]
    mode: Mode
    verify: bool | float
    timeout: float | None
    opening: OpenOptions
    handle: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """For the handle: the limit of its one call is the disk's; a kill can lose nothing."""
        return {"appliance": "inspection", **self.handle, "call_timeout": self.timeout, "cancel_grace": 0.0}

    def run(self, handle: Guestfs, guest: Any, step: Callable[[str], object] | None = None) -> Inspection:
        # The share of disks that are verified needs no secrecy.
        verify = self.verify if isinstance(self.verify, bool) else random.random() < self.verify
        return handle._inspect_disks(
            path_list(guest),
            parts=self.parts,
            keys=self.keys,
            mode=self.mode,
            verify=verify,
            step=step,
            opening=self.opening,
        )


def inspect(
    disk: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    unpack: UnpackLimits | None = UNPACK,
    step: Callable[[str], object] | None = None,
    **handle: Any,
) -> Inspection:
    """Tell what is on a guest's disk, or on all its disks, in an appliance of its own.

    The disks are opened for reading. Raises Error when nothing can be told; what fails in part is told in the
    result.

    parts: what to gather beyond the operating systems themselves
    keys: for encrypted disks
    mode: "libguestfs": by inspect_os always; "auto": guestkit's own, faster rules for guests for which they
        are sure to give the same answer
    verify: go both ways and report the differences: True, or for this share of disks, such as 0.01
    timeout: for all of it, in seconds; CallTimeout
    format, backing, protocols, in_use, blocksize, unpack: as in `Guestfs.open_disk`, for all the disks
    step: called with what is being done
    handle: options of `Guestfs`
    """
    opening = opening_for(format, backing, protocols, in_use, blocksize, unpack)
    job = Job(parts, tuple(keys), mode, verify, timeout, opening, handle)
    with Guestfs(**job.options()) as g:
        return job.run(g, disk, step)


def inspect_many(
    disks: Iterable[StrOrBytesPath | Sequence[StrOrBytesPath]],
    *,
    concurrency: int | Literal["auto"] = "auto",
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    unpack: UnpackLimits | None = UNPACK,
    progress: Callable[[FleetProgress], object] | None = None,
    jobs_executor: Executor | None = None,
    **handle: Any,
) -> Generator[Report, None, None]:
    """Inspect many guests, several at once; yield a report for each as it comes.

    A guest is a disk, or a sequence of all its disks. Leaving the loop early ends what runs.

    concurrency: how many at once; "auto": as many as there are processors. Launches also wait for memory
    timeout: for each guest, in seconds
    progress: called with a `FleetProgress` when something changes, on any thread
    jobs_executor: where the guests are inspected, instead of on threads of this process: a
        ProcessPoolExecutor, Dask's `Client.get_executor()`, any `concurrent.futures.Executor`. Jobs and
        reports are pickled, and what runs there when the loop is left ends by its time-out
    parts, keys, mode, verify, handle: as in `inspect`; so are format, backing, protocols, in_use, blocksize,
        unpack
    """
    opening = opening_for(format, backing, protocols, in_use, blocksize, unpack)
    job = Job(parts, tuple(keys), mode, verify, timeout, opening, handle)
    if jobs_executor is not None:
        limit = None if concurrency == "auto" else number_at_once(concurrency)
        yield from _on_executor(jobs_executor, limit, disks, Elsewhere(job), _Local(job, progress).told)
        return
    at_once = number_at_once(concurrency)
    local = _Local(job, progress)
    with ThreadPoolExecutor(at_once, thread_name_prefix="guestkit-fleet") as threads:
        try:
            yield from _on_executor(threads, at_once, disks, local.report, local.told)
        finally:
            local.end()


def opening_for(
    format: str | None,
    backing: Backing,
    protocols: Iterable[str],
    in_use: InUse,
    blocksize: int | None,
    unpack: UnpackLimits | None,
) -> OpenOptions:
    """Make a value that other processes can get, and complain of nonsense before anything runs."""
    opening = OpenOptions(
        format=format,
        backing=backing,
        protocols=protocols if isinstance(protocols, str) else tuple(protocols),
        in_use=in_use,
        blocksize=blocksize,
        unpack=unpack,
    )
    opening.native("inspect")
    return opening


def number_at_once(concurrency: int | Literal["auto"]) -> int:
    if concurrency == "auto":
        return len(os.sched_getaffinity(0))
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError(f'concurrency must be a number or "auto", not {concurrency!r}')
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    return concurrency


def _on_executor(
    executor: Executor,
    at_once: int | None,
    guests: Iterable[Any],
    report: Callable[[Any], Report],
    told: Callable[[Report], Report],
) -> Generator[Report, None, None]:
    """Yield the reports of what the executor does, at most so many at once in it, each told before."""
    running: dict[Future[Report], Any] = {}
    waiting = iter(guests)
    try:
        while True:
            while at_once is None or len(running) < at_once:
                try:
                    guest = next(waiting)
                except StopIteration:
                    break
                try:
                    running[executor.submit(report, guest)] = guest
                except Exception as error:  # an executor that is broken or shut down
                    yield told(failed(guest, error, 0.0))
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                guest = running.pop(future)
                try:
                    outcome = future.result()
                except Exception as error:  # the process died, or the result does not pickle
                    outcome = failed(guest, error, 0.0)
                yield told(outcome)
    finally:
        for future in running:
            future.cancel()


class _Local:
    """Guests that are inspected on this process' threads, and what is being done with each."""

    def __init__(self, job: Job, progress: Callable[[FleetProgress], object] | None) -> None:
        self._job = job
        self._progress = progress
        self._lock = threading.Lock()
        self._handles: set[Guestfs] = set()
        self._steps: dict[str, str] = {}
        self._done = 0
        self._ended = False

    def report(self, guest: Any) -> Report:
        begun = time.monotonic()
        name = names_of(guest)[0]
        try:
            with Guestfs(**self._job.options()) as g:
                try:
                    with self._lock:
                        self._handles.add(g)
                        if self._ended:
                            g.terminate()
                    step = None if self._progress is None else lambda text: self._step(name, text)
                    return succeeded(guest, self._job.run(g, guest, step), time.monotonic() - begun)
                finally:
                    with self._lock:
                        self._handles.discard(g)
                        self._steps.pop(name, None)
        except Exception as error:
            return failed(guest, error, time.monotonic() - begun)

    def _step(self, name: str, text: str) -> None:
        with self._lock:
            self._steps[name] = text
        self._tell()

    def told(self, report: Report) -> Report:
        """Count a report that is there."""
        with self._lock:
            self._done += 1
        self._tell()
        return report

    def _tell(self) -> None:
        if self._progress is not None:
            with self._lock:
                progress = FleetProgress(done=self._done, steps=dict(self._steps))
            self._progress(progress)

    def end(self) -> None:
        """Kill what still runs: nobody waits for it any more."""
        with self._lock:
            self._ended = True
            for handle in self._handles:
                handle.terminate()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What another process runs for a guest."""

    job: Job

    def __call__(self, guest: Any) -> Report:
        return _Local(self.job, None).report(guest)


def names_of(guest: Any) -> tuple[str, ...]:
    return tuple(os.fsdecode(disk) for disk in path_list(guest)) or ("",)


def succeeded(guest: Any, inspection: Inspection, seconds: float) -> Report:
    """Make the report of a guest that was inspected."""
    names = names_of(guest)
    return Report(disk=names[0], disks=names, inspection=inspection, seconds=seconds)


def failed(guest: Any, error: Exception, seconds: float) -> Report:
    """Make the report of a guest that was not: one line that begins with its first disk's name."""
    log.debug("inspecting %r failed", guest, exc_info=error)
    names = names_of(guest)
    failure = Failure(
        kind=type(error).__name__,
        message=_naming(names[0] or "''", error),
        errno=getattr(error, "errno", None) or 0,
        op=getattr(error, "op", "inspect"),
    )
    return Report(disk=names[0], disks=names, error=failure, seconds=seconds)


def _naming(disk: str, error: Exception) -> str:
    if not isinstance(error, Error):
        return f"{disk}: {type(error).__name__}: {' '.join(str(error).split())}"
    reason = " ".join(error.message.split())
    if isinstance(error, LaunchError) and error.hint:
        reason = f"{reason}; {' '.join(error.hint.split())}"
    return reason if reason.startswith(f"{disk}: ") else f"{disk}: {reason}"
