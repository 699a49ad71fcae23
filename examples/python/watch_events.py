"""Show what happens in a handle while it works on an empty disk: watch_events.py"""

from __future__ import annotations

import sys

from guestkit import Error, Event, Guestfs, printable


# Callbacks run inside the call, on its thread: be brief.
def console(event: Event, number: int, text: str, numbers: list[int]) -> None:
    # A guest's disk can influence this: hostile text.
    print(printable(text), file=sys.stderr)


def life(event: Event, number: int, text: str, numbers: list[int]) -> None:
    print("close" if event == Event.CLOSE else "launch_done", flush=True)


def main() -> None:
    with Guestfs() as g:
        g.set_verbose(True)
        g.set_event_callback(console, Event.APPLIANCE | Event.LIBRARY)
        g.set_event_callback(life, Event.LAUNCH_DONE | Event.CLOSE)
        g.add_drive_scratch(64 << 20)
        g.launch()
        calls = g.set_event_callback(lambda event, number, text, numbers: print("enter", text), Event.ENTER)
        g.mkfs("ext4", "/dev/sda")
        g.mount("/dev/sda", "/")
        g.delete_event_callback(calls)
        g.umount_all()


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(printable(str(error)))
