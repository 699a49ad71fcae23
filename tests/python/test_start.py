"""What `import guestkit` does not do, since every command of the command line waits for it."""

from __future__ import annotations

import subprocess
import sys


def printed(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_guestkit_makes_no_asynchronous_action_before_it_is_used() -> None:
    made = "sum(inspect.isfunction(each) for each in vars(AsyncActions).values())"
    program = (
        "import inspect, guestkit\n"
        "from guestkit.aio.actions import AsyncActions\n"
        f"print({made})\n"
        "guestkit.AsyncGuestfs.mount, guestkit.AsyncGuestfs.mount\n"
        f"print({made}, guestkit.AsyncGuestfs.mount is guestkit.AsyncGuestfs.mount)\n"
    )
    assert printed(program).split() == ["0", "1", "True"]


def test_an_action_in_a_subclass_is_found_and_can_be_replaced() -> None:
    program = (
        "import guestkit\n"
        "class Mine(guestkit.AsyncGuestfs):\n"
        "    def umount(self): return super().umount\n"
        "print(Mine.mount is guestkit.AsyncGuestfs.mount, Mine.umount is guestkit.AsyncGuestfs.umount)\n"
    )
    assert printed(program) == "True False"
