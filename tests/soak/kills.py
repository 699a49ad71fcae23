"""Programs that use guestkit in each way, whose processes are killed and stopped at random moments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.images.corpus import images
from tests.soak.case import Case, Skipped, expect
from tests.soak.leftovers import arguments, children, command_line, parent, processes, within
from tests.soak.running import ROOT

ABOUT = "QEMU, supermin, qemu-img, nbdkit and the program itself killed and stopped at any moment"
LIMIT = 900.0

#: How often each way of using guestkit is chosen; "cpp" is examples/cpp/inspect_vm.cpp.
WAYS = ("blocking",) * 4 + ("async",) * 3 + ("pool",) * 2 + ("convert", "served", "cold", "cpp", "cpp")
SIGNALS = (signal.SIGKILL,) * 4 + (signal.SIGTERM, signal.SIGSTOP, signal.SIGSTOP, signal.SIGSEGV)

#: What a program ends with unless a signal hit one of its own processes: all went well, or guestkit said no.
GOOD = {"cpp": (0, 1)}

CPP = ROOT / "build" / "meson" / "examples" / "cpp" / "inspect_vm"


def run(case: Case) -> None:
    """Start a program, and send signals to its processes."""
    chance = case.random
    how = chance.choice(WAYS)
    (disk,) = images(["debian"]).values()
    with ExitStack() as stack:
        if how == "served":
            _serve(case, disk, stack)
        words = [sys.executable, "-m", "tests.soak.work", how, str(disk), str(case.input), case.sandbox]
        if how == "cpp":
            if not CPP.exists():
                raise Skipped("the C++ examples are not built")
            words = [str(CPP), str(disk), "raw"]
        case.will_kill()
        output = stack.enter_context((case.output / "program").open("wb"))
        # Out of the case's process group, which the signals of a terminal would reach.
        program = stack.enter_context(
            subprocess.Popen(
                words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        )
        stack.callback(_continue, program.pid)
        hit = _hit(case, program, longest=20.0 if how == "cold" else 8.0)
        ended = within(LIMIT / 3, lambda: program.poll() is not None)
        said = (case.output / "program").read_text(errors="backslashreplace")
        if not ended:
            left = [command_line(pid) for pid in children(program.pid)]
            program.kill()
            expect(
                False, "the program ends within its limits", f"it waits with {left}; it said: {said[-1500:]}"
            )
    if how == "pool" and program.returncode < 0:
        _end_workers(case)
    case.tried(" ".join(said.split()[-4:]) if how != "cpp" else f"status {program.returncode}")
    if not hit:
        good = GOOD.get(how, (0,))
        expect(program.returncode in good, f"a status of {good}", f"{program.returncode}: {said[-3000:]}")
    died = program.returncode in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS)
    expect(
        not died or -program.returncode in hit,
        "the program does not crash",
        f"{program.returncode}: {said[-3000:]}",
    )


def _end_workers(case: Case) -> None:
    """End a killed program's workers: those of concurrent.futures do not notice, and wait for ever."""
    started = [pid for pid in processes(case.folder) if b"multiprocessing" in b" ".join(arguments(pid))]
    for pid in [pid for pid in started if not _is_guard(pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_guard(pid: int) -> bool:
    """Return whether that is libguestfs' recovery process, which ends QEMU when its parent is gone."""
    return arguments(pid) == arguments(parent(pid))


def _serve(case: Case, disk: Path, stack: ExitStack) -> None:
    if shutil.which("nbdkit") is None:
        raise Skipped("there is no nbdkit")
    socket = case.input / "nbd"
    server = subprocess.Popen(["nbdkit", "-f", "-r", "-U", socket, "file", disk], stdout=subprocess.DEVNULL)
    stack.enter_context(server)
    stack.callback(server.kill)
    if not within(60, socket.exists):
        raise Skipped("nbdkit does not start")


def _continue(program: int) -> None:
    """Let everything of the program that is stopped go on, so that it can end."""
    for pid in (program, *children(program)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _hit(case: Case, program: subprocess.Popen[bytes], longest: float) -> set[int]:
    """Send some signals; return those that the program itself, or its helpers in Python, got."""
    chance = case.random
    own: set[int] = set()
    guarded = True  # whether libguestfs' process that looks after QEMU is there
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        with suppress(subprocess.TimeoutExpired):
            program.wait(chance.uniform(0, longest))
            break
        number = chance.choice(SIGNALS)
        aim = chance.random()  # before the choice, so that the case's later numbers are the same
        victims = [program.pid] if aim < 0.15 else _victims(case, program.pid)
        if not victims:
            continue
        victim = victims[int(aim * 9973) % len(victims)]
        name = _name(victim)
        is_own = victim == program.pid or b"spawn_main" in b" ".join(arguments(victim))
        if is_own and not guarded:
            continue  # whoever kills both leaves QEMU alone
        if not is_own and _is_guard(victim):
            name, guarded = "libguestfs' recovery process", False
        with suppress(ProcessLookupError):
            os.kill(victim, number)
        if is_own:
            own.add(int(number))
        case.tried(f"{signal.Signals(number).name} to {name}")
        if number == signal.SIGSTOP and (is_own or chance.random() < 0.7):
            time.sleep(chance.uniform(0, 3))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)
    return own


def _victims(case: Case, program: int) -> list[int]:
    """Return what the program has started, and nbdkit."""
    found = children(program)
    # Half of the processes are those that look after QEMU: they are hit less often.
    guards = [pid for pid in found if _is_guard(pid)]
    if len(guards) < len(found) and case.random.random() < 0.8:
        found = [pid for pid in found if pid not in guards]
    served = [pid for pid in children(os.getpid()) if arguments(pid)[0].endswith(b"nbdkit")]
    return [pid for pid in (*found, *served) if b"resource_tracker" not in b" ".join(arguments(pid))]


def _name(pid: int) -> str:
    return os.path.basename(arguments(pid)[0].decode(errors="replace")) or "a process that has just ended"
