"""Progress displays. Names and steps are escaped here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from guestkit.cli.text import printable
from guestkit.fleet import FleetProgress


def _text(template: str, *, shrinks: bool = False) -> TextColumn:
    column = Column(no_wrap=True, overflow="ellipsis", ratio=1 if shrinks else None)
    return TextColumn(template, markup=False, table_column=column)


def _steps(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        _text("{task.description}"),
        _text("{task.fields[step]}", shrinks=True),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


#: If no progress is shown, a step that takes longer than this is reported, in seconds.
LONG = 10.0


class Patience:
    """Reports once, in one line, which step of which disk takes long. Thread-safe."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._since: dict[tuple[str, str], float] = {}
        self._ended = False
        self._changed = threading.Condition()
        self._watch = threading.Thread(target=self._run, name="guestkit-patience", daemon=True)
        self._watch.start()

    def follow(self, steps: Mapping[str, str]) -> None:
        """Set the current step of each disk."""
        with self._changed:
            now = time.monotonic()
            self._since = {step: self._since.get(step, now) for step in steps.items()}
            self._changed.notify()

    def end(self) -> None:
        """Stop reporting."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._watch.join()

    def _run(self) -> None:
        if (overdue := self._wait()) is not None:
            self._tell(f"{': '.join(filter(None, overdue))} takes more than {LONG:g} seconds")

    def _wait(self) -> tuple[str, str] | None:
        with self._changed:
            while not self._ended:
                oldest = min(self._since, key=self._since.__getitem__, default=None)
                left = None if oldest is None else self._since[oldest] + LONG - time.monotonic()
                if left is not None and left <= 0:
                    return oldest
                self._changed.wait(left)
        return None


class Steps:
    """The progress of one disk: its current step."""

    def __init__(self, console: Console, title: str) -> None:
        self._progress = _steps(console)
        self._task = self._progress.add_task(printable(title), step="")
        self.renderable: RenderableType = self._progress

    def tell(self, step: str) -> None:
        self._progress.update(self._task, step=printable(step))


class Transfer:
    """The progress of a transfer, in bytes or as a fraction of 1."""

    def __init__(self, console: Console, title: str, of_bytes: bool) -> None:
        columns: list[ProgressColumn] = [_text("{task.description}"), BarColumn()]
        if of_bytes:
            columns += [DownloadColumn(), TransferSpeedColumn()]
        else:
            columns += [_text("{task.percentage:.0f}%")]
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._task = self._progress.add_task(printable(title), total=None)
        self.renderable: RenderableType = self._progress

    def tell(self, done: float, total: float) -> None:
        self._progress.update(self._task, completed=done, total=total)


class Fleet:
    """The progress of a fleet: a line for each disk in work, and one for all of them."""

    def __init__(self, console: Console, total: int) -> None:
        self._disks = _steps(console)
        self._all = Progress(
            _text("all"),
            BarColumn(),
            MofNCompleteColumn(),
            _text("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._total = self._all.add_task("", total=total)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self.renderable: RenderableType = Group(self._disks, self._all) if total > 1 else self._disks

    def tell(self, progress: FleetProgress) -> None:
        with self._lock:
            self._follow(progress)

    def _follow(self, progress: FleetProgress) -> None:
        self._all.update(self._total, completed=progress.done)
        for disk in set(self._tasks) - set(progress.steps):
            self._disks.remove_task(self._tasks.pop(disk))
        for disk, step in progress.steps.items():
            if disk not in self._tasks:
                self._tasks[disk] = self._disks.add_task(printable(disk), step="")
            self._disks.update(self._tasks[disk], step=printable(step))
