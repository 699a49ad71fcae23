"""The command `serve`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from guestkit.cli.guests import check_format_is_stated, guests_of, opened_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.screen import Screen
from guestkit.cli.text import printable
from guestkit.cli.usage import UsageError
from guestkit.disks import names_of
from guestkit.serving import Served, ServeOptions, bind, require, serve

DESCRIPTION = """\
Serve a guest's files by SFTP, and by HTTP to browsers and WebDAV clients, until Ctrl-C. It needs neither root
nor FUSE. Clients on this host can connect, with a random password, which is printed once.

Symlinks are the guest's and never lead to this host's files. FIFOs and devices are not opened. It needs
the Python libraries aiohttp and asyncssh."""
EXAMPLES = (
    "guestkit serve web.qcow2",
    "guestkit serve --rw --format qcow2 --password-file password web.qcow2",
)

#: The variable that has the password.
VARIABLE = "GUESTKIT_SERVE_PASSWORD"

#: How many characters a password in a file may have.
_LONGEST_PASSWORD = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `serve` takes."""
    add_disk_argument(parser)
    parser.add_argument("--rw", action="store_true", help="clients may write; needs --format")
    parser.add_argument("--json", action="store_true", help="tell the addresses as JSON, in one line")
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--protocol",
        choices=("sftp", "http"),
        help="only that one (default: both; SFTP alone where other hosts can connect: HTTP is not encrypted)",
    )
    group.add_argument(
        "--listen",
        metavar="ADDRESS",
        default=ServeOptions.listen,
        help="the address of this host that clients connect to (default: %(default)s)",
    )
    group.add_argument(
        "--port",
        type=_port,
        default=0,
        help="of SFTP, and HTTP has the next one; with --protocol, of that one (default: any that are free)",
    )
    group.add_argument(
        "--user", default=ServeOptions.user, help="the name that clients log in with (default: %(default)s)"
    )
    group.add_argument(
        "--password-file",
        metavar="FILE",
        help=f"its first line is the password; else {VARIABLE} in the environment is (default: a random one)",
    )
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.rw:
        check_format_is_stated(arguments)
    require()  # before the launch, as what follows
    given = _password(arguments.password_file)
    try:
        options = ServeOptions(
            readonly=not arguments.rw,
            protocols=None if arguments.protocol is None else (arguments.protocol,),
            listen=arguments.listen,
            port=arguments.port,
            user=arguments.user,
            **({} if given is None else {"password": given}),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None

    def ready(served: Served) -> None:
        screen.write(_told(served, arguments.json, given is None))
        what = "to be read and written" if arguments.rw else "to be read"
        screen.note(f"{printable(names_of(guests_of(arguments)[0])[0])} is served {what}; Ctrl-C ends it")

    # How long the thread that asks the guest waits for Python when the event loop has it: by default 5 ms, in
    # which the guest could answer ten requests.
    sys.setswitchinterval(0.0005)
    with bind(options) as bound, opened_guest(arguments, screen, readonly=not arguments.rw) as g:
        serve(g, bound, ready=ready)
    return 0


def _told(served: Served, as_json: bool, with_password: bool) -> str:
    if as_json:
        told = asdict(served)
        if not with_password:
            del told["password"]
        return json.dumps(told) + "\n"
    rows = (
        ("SFTP", served.sftp),
        ("host key", served.host_key),
        ("HTTP", served.http),
        ("user", served.user),
        ("password", served.password if with_password else ""),
    )
    return "".join(f"{name + ':':<10} {value}\n" for name, value in rows if value)


def _password(path: str | None) -> str | None:
    """Return the password that the user gives; None: none."""
    given = os.environ.pop(VARIABLE, "")  # not for the programs that are started
    if path is None:
        return given or None
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        password = file.readline(_LONGEST_PASSWORD + 1).rstrip("\r\n")
    if not password:
        raise UsageError(f"{path}: its first line is empty, and is to be the password")
    if len(password) > _LONGEST_PASSWORD:
        raise UsageError(f"{path}: its first line is longer than {_LONGEST_PASSWORD} characters")
    return password


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"not a port: {text!r}")
    return int(text)
