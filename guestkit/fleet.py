"""Inspect one guest or many, each in its own appliance.

    inspection = guestkit.inspect("web.qcow2")

    async for report in guestkit.aio.inspect_many(Path("/srv/images").glob("*.qcow2")):
        print(printable(f"{report.disk}: {report.error or report.inspection.operating_systems}"))

If a disk fails, its report says why and the others go on. Disks are only read.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import AsyncIterable, Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from guestkit._inspect_arguments import TIMEOUT, InspectionJob, Many, One, many, one
from guestkit._language_packages import LanguagePackages
from guestkit._taking import taking
from guestkit.disks import Guest, names_of
from guestkit.errors import Error, dropped
from guestkit.generated.values import Cause
from guestkit.handle import Guestfs
from guestkit.inspection import Inspection

__all__ = ["TIMEOUT", "Failure", "FleetProgress", "Report", "inspect", "inspect_many"]

log = logging.getLogger("guestkit")

#: Gives a guest to an executor, with which of the guests it is.
Submit = Callable[[int, Guest], Future["Report"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a disk could not be inspected.

    Attributes:
        kind: the exception's class, such as "LaunchError", "CallTimeout", "ApplianceCrashed"
        message: one line that begins with the disk's name
        errno: an errno value, 0 where there is none
        op: the action that failed
        cause: one word for what is wrong, as in `Error`
        hint: how to fix it, in terms of this library; "" if guestkit does not know
    """

    kind: str
    message: str
    errno: int
    op: str
    cause: Cause = "unknown"
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result for one guest: an inspection or an error.

    Attributes:
        disk: its first disk
        disks: all of them
        inspection: what was found; None if it failed
        error: why it failed; None if it did not
        seconds: how long it took, in seconds
        languages: the packages of programming languages in each of its systems, if they were asked for
        index: which of the guests that were given it is, from 0. Two may have one name: that of a URL lacks
            the query
    """

    disk: str
    disks: Sequence[str]
    inspection: Inspection | None = None
    error: Failure | None = None
    seconds: float = 0.0
    languages: Sequence[LanguagePackages] = ()
    index: int = field(default=0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report without languages as dictionaries, for `json.dumps`. Keys are only ever added."""
        error = self.error
        return {
            "disk": self.disk,
            "disks": list(self.disks),
            "error": None
            if error is None
            else {name: getattr(error, name) for name in ("kind", "message", "errno", "op", "cause", "hint")},
            "inspection": None if self.inspection is None else self.inspection.to_dict(),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetProgress:
    """The progress of a fleet.

    Attributes:
        done: how many disks have been reported
        steps: the current step of each guest, by its first disk; of two that run and have one name, the later
            is "name (N)", the Nth that was given. Empty if other processes do the work
        mean: how long the inspection of a disk took so far, in seconds, without those that failed; None:
            there was none
        longest: the same of the one that took longest
    """

    done: int
    steps: Mapping[str, str]
    mean: float | None = None
    longest: float | None = None


@taking(one)
def inspect(asked: One) -> Inspection:
    """Return what is on a guest's disk, or on all its disks, using an appliance of its own.

    The disks are opened read-only. Raises Error if nothing can be found out; partial failures are reported in
    the result.

    disk: a disk: a file or a block device, by its path, or a URL that `protocols` permits; a sequence of all
        disks of one guest; or a `guestkit.Domain`, which is a guest of libvirt
    parts: what to gather beyond the operating systems themselves, any of "filesystems", "applications",
        "users", "kernels", "services", "network", "locale", "machine_id", "icon"; the first two by default
    keys: for encrypted disks
    mode: "libguestfs": always use inspect_os; "auto": use guestkit's own, faster rules for guests where they
        are sure to give the same answer
    verify: inspect both ways and report the differences: True, or the share of disks to verify, such as 0.01
    timeout: for all of it, in seconds, 600 by default; then raises CallTimeout. None: no limit
    format, backing, protocols, snapshot, in_use, blocksize, unpack: as in `Guestfs.open_disk`, for all the
        disks
    cache: keep the result, and return it again while the disks do not change, with `provenance.cached` set:
        True, or a private directory for it; None: if GUESTKIT_INSPECTION_CACHE says so. docs/cache.md says
        what is never kept, such as what keys opened
    step: called with what is being done
    options: the handle's, as one value; None: those for inspection, `HandleOptions(appliance="inspection")`
    handle: single fields of `HandleOptions`; they win over options. timeout stands for call_timeout, and
        there is no cancel_grace
    """
    with Guestfs(asked.job.handle) as g:
        return asked.job.run(g, asked.guest, asked.step)


@taking(many)
def inspect_many(asked: Many) -> Generator[Report, None, None]:
    """Inspect many guests, several at once; yield a report for each as soon as it is ready.

    Leaving the loop early stops the running inspections.

    disks: the guests, each as `inspect` takes one; the next is taken when there is room for it and no report
        is ready. As long as the iterable waits for the next one, no report is given: guestkit.aio can do
        both. What the iterable raises comes after the reports of the guests that it has named
    concurrency: how many at once; "auto": as many as this process has processors, its control groups'
        quotas included, or 100 on a jobs_executor. Launches also wait for memory
    timeout: for each guest, in seconds, 600 by default; None: no limit
    languages: look for the packages of programming languages, too, as `guestkit.languages.find_in_guest`, in
        the appliance that runs already; for that, the timeout begins again
    progress: called with a `FleetProgress` when something changes, on any thread
    jobs_executor: inspect the guests there instead of on threads of this process: a ProcessPoolExecutor,
        Dask's `Client.get_executor()`, any `concurrent.futures.Executor`. Jobs and reports are pickled. If
        you leave the loop early, jobs that run there go on until they finish or time out
    options, parts, keys, mode, verify, handle: as in `inspect`; so are format, backing, protocols,
        snapshot, in_use, blocksize, unpack, cache
    """
    if isinstance(asked.guests, AsyncIterable):
        raise TypeError("inspect_many() takes an iterable of guests; guestkit.aio.inspect_many an async one")
    return _inspect_many(asked, asked.guests)


def _inspect_many(asked: Many, guests: Iterable[Guest]) -> Generator[Report, None, None]:
    tally = Tally(asked.progress)
    executor = asked.executor
    if executor is not None:
        yield from _reports(
            guests, asked.at_once, lambda index, guest: executor.submit(elsewhere, asked.job, guest), tally
        )
        return
    local = _Local(asked.job, tally)
    with ThreadPoolExecutor(asked.at_once, thread_name_prefix="guestkit-fleet") as threads:
        try:
            yield from _reports(
                guests, asked.at_once, lambda index, guest: threads.submit(local.report, index, guest), tally
            )
        finally:
            local.end()


def _reports(
    guests: Iterable[Guest], at_once: int, submit: Submit, tally: Tally
) -> Generator[Report, None, None]:
    running: dict[Future[Report], tuple[int, Guest]] = {}
    waiting = enumerate(guests)
    are_known, are_more = isinstance(guests, Collection), True
    wrong: Exception | None = None
    # concurrent.futures.wait would wait for ever for a future that a shutdown of the executor cancels.
    done: SimpleQueue[Future[Report]] = SimpleQueue()
    try:
        while are_more or running:
            # To name the next guest may take a while: a report that is ready comes first.
            if are_more and len(running) < at_once and (are_known or done.empty()):
                following = None
                try:
                    following = next(waiting, None)
                except Exception as error:  # the guests named before are reported first
                    wrong = error
                if following is None:
                    are_more = False
                else:
                    future = _submitted(submit, *following)
                    running[future] = following
                    future.add_done_callback(done.put)
                continue
            future = done.get()
            index, guest = running.pop(future)
            try:
                outcome = future.result()
            except CancelledError:
                outcome = failed(guest, dropped(), 0.0)
            except Exception as error:  # the process died, or the result does not pickle
                outcome = failed(guest, error, 0.0)
            yield tally.told(replace(outcome, index=index))
        if wrong is not None:
            raise wrong
    finally:
        for future in running:
            future.cancel()


def _submitted(submit: Submit, index: int, guest: Guest) -> Future[Report]:
    try:
        return submit(index, guest)
    except Exception as error:  # it is broken or shut down
        refused: Future[Report] = Future()
        refused.set_exception(error)
        return refused


class Tally:
    """Tracks a fleet's progress: how many guests are reported, and the step of each other. Thread-safe."""

    def __init__(self, progress: Callable[[FleetProgress], object] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        #: The name that is told and the step, by the guest's index: disks may have one name.
        self._steps: dict[int, tuple[str, str]] = {}
        self._done = 0
        self._seconds = 0.0
        self._inspected = 0
        self._longest: float | None = None

    def following(self, index: int, guest: Guest) -> Callable[[str], object] | None:
        """Return the function to call with each step of the guest; None if nobody follows the progress."""
        return None if self._progress is None else functools.partial(self._step, index, names_of(guest)[0])

    def _step(self, index: int, name: str, text: str) -> None:
        with self._lock:
            if index in self._steps:
                name, _ = self._steps[index]
            else:
                taken = {other for other, _ in self._steps.values()}
                while name in taken:
                    name += f" ({index + 1})"
            self._steps[index] = name, text
        self._tell()

    def ended(self, index: int) -> None:
        """Forget the guest's step: its inspection has ended."""
        with self._lock:
            self._steps.pop(index, None)

    def told(self, report: Report) -> Report:
        """Count a report, and return it."""
        with self._lock:
            self._done += 1
            if report.error is None:
                self._inspected += 1
                self._seconds += report.seconds
                self._longest = max(self._longest or 0.0, report.seconds)
        self._tell()
        return report

    def _tell(self) -> None:
        if self._progress is not None:
            with self._lock:
                progress = FleetProgress(
                    done=self._done,
                    steps=dict(self._steps.values()),
                    mean=self._seconds / self._inspected if self._inspected else None,
                    longest=self._longest,
                )
            self._progress(progress)


class _Local:
    """Inspects guests on this process' threads."""

    def __init__(self, job: InspectionJob, tally: Tally) -> None:
        self._job = job
        self._tally = tally
        self._lock = threading.Lock()
        self._handles: set[Guestfs] = set()
        self._ended = False

    def report(self, index: int, guest: Guest) -> Report:
        begun = time.monotonic()
        try:
            with Guestfs(self._job.handle) as g:
                try:
                    with self._lock:
                        self._handles.add(g)
                        if self._ended:
                            g.terminate()
                    return inspected(self._job, g, guest, self._tally.following(index, guest))
                finally:
                    with self._lock:
                        self._handles.discard(g)
                    self._tally.ended(index)
        except Exception as error:
            return failed(guest, error, time.monotonic() - begun)

    def end(self) -> None:
        """Kill the inspections that still run: nobody waits for them any more."""
        with self._lock:
            self._ended = True
            for handle in self._handles:
                handle.terminate()


def elsewhere(job: InspectionJob, guest: Guest) -> Report:
    """Inspect a guest; runs in another process."""
    return _Local(job, Tally(None)).report(0, guest)


# ---- reports


def inspected(job: InspectionJob, g: Guestfs, guest: Guest, step: Callable[[str], object] | None) -> Report:
    """Inspect a guest on a new handle; return the report, or raise why there is none."""
    begun = time.monotonic()
    inspection = job.run(g, guest, step)
    languages = job.languages_in(g, guest, inspection, step)
    names = names_of(guest)
    return Report(
        disk=names[0],
        disks=names,
        inspection=inspection,
        languages=languages,
        seconds=time.monotonic() - begun,
    )


def failed(guest: Guest, error: Exception, seconds: float) -> Report:
    """Return the report of a guest that failed: one line that begins with its first disk's name."""
    names = names_of(guest)
    log.debug("inspecting %r failed", names, exc_info=error)
    failure = Failure(
        kind=type(error).__name__,
        message=_naming(names[0] or "''", error),
        errno=getattr(error, "errno", None) or 0,
        op=getattr(error, "op", "inspect"),
        cause=getattr(error, "cause", "unknown"),
        hint=" ".join(getattr(error, "hint", "").split()),
    )
    return Report(disk=names[0], disks=names, error=failure, seconds=seconds)


def _naming(disk: str, error: Exception) -> str:
    if not isinstance(error, Error):
        return f"{disk}: {type(error).__name__}: {' '.join(str(error).split())}"
    reason = " ".join(error.message.split())
    return reason if reason.startswith(f"{disk}: ") else f"{disk}: {reason}"
