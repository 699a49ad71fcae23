"""./run soak: an hour of abuse. Each case is a random attempt to have guestkit crash, hang, leak or tell.

A case is determined by its section, the seed and its number. The sections take turns, so that each has its
share of the time. What goes wrong is kept with the command that repeats it. A soak that was ended goes on
where it was.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from guestkit.cli.text import printable
from tests.soak.case import SECTIONS, section
from tests.soak.running import ROOT, Outcome, run_case

ASIDE = ("planted",)
#: How much more time a section gets than the others.
SHARES = {"guests": 3, "attacks": 2}
DIRECTORY = ROOT / "build" / "soak"


@dataclass
class Tally:
    """A section's progress with a seed: the number of its next case, the time it took, what came of it."""

    next: int = 0
    seconds: float = 0.0
    good: int = 0
    found: int = 0
    skipped: int = 0


class State:
    """What a soak knows about earlier ones, by seed and section: a small file, always complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seeds: dict[str, dict[str, Tally]] = {}
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._seeds = {
                seed: {name: Tally(**tally) for name, tally in sections.items()}
                for seed, sections in kept.items()
            }

    def tally(self, seed: int, name: str) -> Tally:
        return self._seeds.setdefault(str(seed), {}).setdefault(name, Tally())

    def forget(self, seed: int) -> None:
        self._seeds.pop(str(seed), None)

    def write(self) -> None:
        kept = {
            seed: {name: asdict(tally) for name, tally in sections.items()}
            for seed, sections in self._seeds.items()
        }
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        os.replace(new, self._path)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="./run soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="sections:\n"
        + "".join(f"  {name:9}{section(name).ABOUT}\n" for name in SECTIONS if name not in ASIDE)
        + "\nexit status: 0 nothing was found, 1 something was, 2 the soak itself failed",
    )
    made.add_argument("--minutes", type=_positive, default=60.0, help="how long (default: %(default)g)")
    made.add_argument("--seed", type=int, help="default: the date, so that each night has its own")
    made.add_argument("--only", metavar="SECTION", action="append", choices=list(SECTIONS), default=[],
                      help="this section; may be given again")  # fmt: skip
    made.add_argument("--case", metavar="N", type=int, help="repeat this case; needs one --only")
    made.add_argument("--cases", metavar="N", type=int, help="instead of --minutes: each section's first N")
    made.add_argument("--limit", metavar="SECONDS", type=_positive,
                      help="how long a case may take (default: what its section says)")  # fmt: skip
    made.add_argument("--fresh", action="store_true", help="begin with the seed's first case again")
    made.add_argument("--cgroup", metavar="DIR", default="",
                      help="a control group of memory that is yours, to limit some cases")  # fmt: skip
    made.add_argument("--directory", metavar="DIR", type=Path, default=DIRECTORY,
                      help="where the state and the findings are (default: build/soak)")  # fmt: skip
    return made


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"no time: {text}")
    return value


class Soak:
    """A run of the program."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        today = datetime.date.today()
        self.seed: int = arguments.seed if arguments.seed is not None else int(f"{today:%Y%m%d}")
        self._minutes: float = arguments.minutes
        self._limit: float | None = arguments.limit
        self._cgroup: str = arguments.cgroup
        self._directory: Path = arguments.directory.resolve()
        self._cases: int | None = arguments.cases
        self.names = arguments.only or [name for name in SECTIONS if name not in ASIDE]
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self._directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another soak runs in {self._directory}") from None
        self._state = State(self._directory / "state.json")
        if arguments.fresh:
            self._state.forget(self.seed)
        self.here = {name: Tally() for name in self.names}

    def turns(self) -> Iterator[str]:
        """Yield the section whose turn it is: the one that has had the least of its share of the time."""
        end = time.monotonic() + 60 * self._minutes
        while True:
            left = [name for name in self.names if self._has_more(name)]
            if not left or (self._cases is None and time.monotonic() > end):
                return
            yield min(left, key=lambda name: self.here[name].seconds / SHARES.get(name, 1))

    def _has_more(self, name: str) -> bool:
        return self._cases is None or self._state.tally(self.seed, name).next < self._cases

    def run(self) -> None:
        """Run the cases in turn, and keep the state."""
        for name in self.turns():
            tally = self._state.tally(self.seed, name)
            outcome = self.run_one(name, tally.next)
            for one in (tally, self.here[name]):
                one.next += 1
                one.seconds += outcome.seconds
                setattr(one, outcome.kind, getattr(one, outcome.kind) + 1)
            self._state.write()

    def run_one(self, name: str, number: int) -> Outcome:
        """Run a case, print what came of it, and keep it if it is a finding."""
        folder = self._directory / "work" / f"{name}-{self.seed}-{number}"
        # A case that repeats something takes its share of the time, within reason.
        limit = self._limit or section(name).LIMIT
        seconds = min(max(60 * self._minutes / 20, 5.0), limit / 3)
        outcome = run_case(name, self.seed, number, folder, seconds, limit, self._cgroup)
        result = {"good": "ok", "found": "FOUND", "skipped": "skipped: " + outcome.happened}[outcome.kind]
        tried = (
            outcome.tried if len(outcome.tried) < 500 else f"{outcome.tried[:330]} … {outcome.tried[-150:]}"
        )
        print(printable(f"{name} {number}: {tried}: {result}, {outcome.seconds:.1f} s"), flush=True)
        if outcome.kind == "found":
            self._keep(name, number, folder, outcome)
        shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _keep(self, name: str, number: int, folder: Path, outcome: Outcome) -> None:
        kept = self._directory / "findings" / folder.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        folder.rename(kept)
        again = f"./run soak --seed {self.seed} --only {name} --case {number}"
        if name == "load":
            again += f" --minutes {self._minutes:g}"
        if self._directory != DIRECTORY:
            again += f" --directory {shlex.quote(str(self._directory))}"
        if self._limit:
            again += f" --limit {self._limit:g}"
        if self._cgroup:
            again += f" --cgroup {self._cgroup}"
        text = (
            f"{name}, seed {self.seed}, case {number}\n\ntried: {outcome.tried}\n\n"
            f"expected: {outcome.expected}\n\nhappened: {outcome.happened}\n\nrepeat it: {again}\n"
        )
        (kept / "finding.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
        for label, said in (("expected", outcome.expected), ("happened", outcome.happened)):
            for line in said.splitlines():
                print(f"  {label}: {printable(line)}")
        print(f"  kept in {kept}\n  repeat it: {again}", flush=True)

    def closing(self, seconds: float) -> str:
        """Return the last line: how many cases of each section there were, and the findings."""
        counts = ", ".join(
            f"{name} {tally.next}{f' ({tally.skipped} skipped)' if tally.skipped else ''}"
            for name, tally in self.here.items()
        )
        found = self.found()
        told = f"{found or 'no'} finding{'' if found == 1 else 's'}"
        where = f" in {self._directory}/findings" if found else ""
        return f"soak: seed {self.seed}: {counts} cases in {seconds:.0f} s; {told}{where}"

    def found(self) -> int:
        return sum(tally.found for tally in self.here.values())


def main() -> int:
    """Run the command line; return the exit status."""
    commands = parser()
    arguments = commands.parse_args()
    if arguments.case is not None and len(arguments.only) != 1:
        commands.error("--case needs one --only SECTION")
    # Shells have what they start in the background ignore it, and so would all that the cases start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        soak = Soak(arguments)
        if arguments.case is not None:
            return int(soak.run_one(arguments.only[0], arguments.case).kind == "found")
        begun = time.monotonic()
        try:
            soak.run()
        except KeyboardInterrupt:
            print("ended; the same command goes on with the case that was cut", file=sys.stderr)
            return 130
        finally:
            print(soak.closing(time.monotonic() - begun), flush=True)
    except (OSError, ValueError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    return int(soak.found() > 0)


if __name__ == "__main__":
    sys.exit(main())
