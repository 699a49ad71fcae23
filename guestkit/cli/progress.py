"""Progress displays. Names and steps are escaped here."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

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


def seconds_left(ages: Collection[float], waiting: int, progress: FleetProgress) -> float | None:
    """Estimate how long a fleet still takes. None: nobody can tell.

    A disk is expected to take as long as those that were inspected did on average; one that already takes
    longer, as long as the slowest of them. One that takes longer than any is of a kind that was not seen yet,
    and so may be all that wait. Those that failed, mostly at once, say nothing about the others.

    ages: how long each running inspection has taken so far, in seconds
    waiting: how many have not begun
    """
    if progress.mean is None or progress.longest is None or not ages:
        return None
    if max(ages) >= progress.longest:
        return None
    left = [(progress.mean if age < progress.mean else progress.longest) - age for age in ages]
    return max(*left, (sum(left) + waiting * progress.mean) / len(left))


class _SecondsLeft(ProgressColumn):
    """Shows "ETA 0:01:30"."""

    max_refresh = 0.5

    def __init__(self, estimate: Callable[[], float | None]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._estimate = estimate

    def render(self, task: Task) -> Text:
        left = self._estimate()
        if left is None:
            return Text("ETA -:--:--")
        minutes, seconds = divmod(math.ceil(left), 60)
        return Text(f"ETA {minutes // 60}:{minutes % 60:02}:{seconds:02}")


class Fleet:
    """The progress of a fleet: a line for each disk in work, and one for all of them."""

    def __init__(self, console: Console, total: int) -> None:
        self._disks = _steps(console)
        self._all = Progress(
            _text("all"),
            BarColumn(),
            MofNCompleteColumn(),
            _SecondsLeft(self._seconds_left),
            console=console,
        )
        self._total = self._all.add_task("", total=total)
        self._count = total
        self._seen = FleetProgress(done=0, steps={})
        self._begun: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self.renderable: RenderableType = Group(self._disks, self._all) if total > 1 else self._disks

    def tell(self, progress: FleetProgress) -> None:
        with self._lock:
            self._follow(progress)

    def _seconds_left(self) -> float | None:
        now = time.monotonic()
        begun = tuple(self._begun.values())
        waiting = self._count - self._seen.done - len(begun)
        return seconds_left([now - one for one in begun], waiting, self._seen)

    def _follow(self, progress: FleetProgress) -> None:
        now = time.monotonic()
        self._begun = {disk: self._begun.get(disk, now) for disk in progress.steps}
        self._seen = progress
        self._all.update(self._total, completed=progress.done)
        for disk in set(self._tasks) - set(progress.steps):
            self._disks.remove_task(self._tasks.pop(disk))
        for disk, step in progress.steps.items():
            if disk not in self._tasks:
                self._tasks[disk] = self._disks.add_task(printable(disk), step="")
            self._disks.update(self._tasks[disk], step=printable(step))
