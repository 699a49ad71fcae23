"""libguestfs' actions as commands: their arguments from words, their results for people."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from getpass import getpass
from typing import Any

from guestkit._file_errors import about, check_regular, failure
from guestkit.cli.shell.parsing import Word, words_in
from guestkit.cli.shell.session import Session, host_path
from guestkit.cli.text import columns, printable, visible
from guestkit.cli.usage import UsageError
from guestkit.generated.arguments import ARGUMENTS
from guestkit.handle import Guestfs

#: Actions that return a whole file: of one larger than this, in bytes, a part has to be asked for.
LONGEST = 64 << 20
_WHOLE_FILE = ("cat", "read_file", "read_lines")

#: Actions that end the appliance when all is on the disk.
_ENDING = ("shutdown", "kill_subprocess")

#: A table with more columns is shown row by row.
_WIDE = 8

#: Of an action with more options the usage does not name them; its help does.
_MANY = 6

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

#: The page of an action in libguestfs' manual.
PAGE = "https://libguestfs.org/guestfs.3.html#guestfs_"


def action_named(word: str) -> str:
    """Return the action of that name, "" if there is none; list-devices is list_devices."""
    name = word.replace("-", "_")
    return name if name in ARGUMENTS else ""


def similar(word: str, names: Sequence[str]) -> str:
    """Return what the user may have meant, as the end of a sentence."""
    close = difflib.get_close_matches(word.replace("-", "_"), {*names, *ARGUMENTS}, cutoff=0.75)
    return f": did you mean {', '.join(close)}?" if close else ": help lists what there is"


def call(session: Session, name: str, words: Sequence[Word]) -> None:
    """Call an action with the arguments that the words are, and show its result. Raise UsageError."""
    required, optional = ARGUMENTS[name]
    given, rest = words[: len(required)], words[len(required) :]
    if len(given) < len(required):
        raise UsageError(f"{name}: {list(required)[len(given)]} is missing; {usage(name)}")
    arguments = [
        _argument(session, name, of, kind, word)
        for (of, kind), word in zip(required.items(), given, strict=True)
    ]
    options = {}
    for word in rest:
        of, equals, value = word.partition("=")
        if not equals or of not in optional:
            raise UsageError(f"{name}: {word!r} is one argument too many; {usage(name)}")
        options[of] = _argument(session, name, of, optional[of], Word(value))
    if name in _WHOLE_FILE:
        _check_size(session.g, arguments[0])
    try:
        result = getattr(session.g, name)(*arguments, **options)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, RuntimeError):  # HandleClosed is a ValueError, too
            raise
        raise UsageError(f"{name}: {error}") from error
    if name in _ENDING or name == "launch":
        session.shut_down = name in _ENDING
    session.screen.write("".join(f"{line}\n" for line in shown(result)))


def usage(name: str) -> str:
    """Return the line that tells an action's arguments."""
    required, optional = ARGUMENTS[name]
    options = [f"[{one}=…]" for one in optional] if len(optional) <= _MANY else ["[NAME=VALUE …]"]
    return f"usage: {' '.join([name, *map(str.upper, required), *options])}"


def manual(name: str) -> str:
    """Return what there is to know about an action."""
    method = getattr(Guestfs, name, None)
    about = "The installed libguestfs is older than this action." if method is None else method.__doc__
    return f"{usage(name)}\n\n{about}\n\n{PAGE}{name}\n"


def summary(name: str) -> str:
    """Return an action's description in one line."""
    return str(getattr(getattr(Guestfs, name, None), "__doc__", None) or "").partition("\n")[0]


def takes_key(words: Sequence[str]) -> bool:
    """Return whether a command has a secret among its words."""
    name = next((one for one in words if one != "call"), "")
    required, optional = ARGUMENTS.get(action_named(name), ({}, {}))
    return "key" in {*required.values(), *optional.values()}


# ---- arguments


def _argument(session: Session, action: str, name: str, kind: str, word: Word) -> Any:
    """Return the argument that a word means."""
    if kind.startswith("list"):
        _, _, of = kind.partition(" of ")
        return [_argument(session, action, name, of or "plain", one) for one in words_in(word)]
    if kind in ("int", "int64"):
        return _number(action, name, word)
    if kind == "bool":
        if word.lower() not in _TRUE + _FALSE:
            raise UsageError(f"{action}: {name}: true or false, not {word!r}")
        return word.lower() in _TRUE
    if kind == "opt_string":
        return str(word) or None
    if kind == "buffer_in":
        return os.fsencode(word)
    if kind in ("filein", "fileout"):
        return host_path(word)
    if kind == "key" and word == "-":
        try:
            return getpass(f"{name}: ")
        except EOFError:
            raise UsageError(f"{action}: {name}: nobody has typed it") from None
    return _text(session, kind, word)


def _text(session: Session, kind: str, word: Word) -> str:
    if kind == "pathname" or (kind in ("dev_or_path", "mountable_or_path") and not _is_device(word)):
        return session.path(word)
    return str(word)


def _is_device(word: str) -> bool:
    return word.startswith(("/dev/", "btrfsvol:"))


def _number(action: str, name: str, word: str) -> int:
    """Return a number as C and dd(1) write them: 16, 0x10, 020, 1M."""
    matched = re.fullmatch(r"([+-]?)(0[xX][0-9A-Fa-f]+|0[0-7]*|[1-9][0-9]*)([KMGT]?)", word)
    if matched is None:
        raise UsageError(f"{action}: {name}: a number, as 16, 0x10, 0644 or 1M, not {word!r}")
    sign, digits, unit = matched.groups()
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    return int(digits, base) * _UNITS[unit] * (-1 if sign == "-" else 1)


def _check_size(g: Guestfs, path: str) -> None:
    with about(path):
        seen = g.statns(path)
    check_regular(path, seen["st_mode"])
    if seen["st_size"] > LONGEST:
        raise failure(
            errno.EFBIG,
            path,
            f"has {seen['st_size']} bytes: less shows it, get copies it, pread reads a part",
        )


# ---- results


def shown(result: Any) -> Iterator[str]:
    """Yield the lines that show what an action returned; everything is escaped."""
    if isinstance(result, dict):
        yield from _pairs(result)
    elif isinstance(result, list) and result and isinstance(result[0], dict):
        yield from _table([_used(row) for row in result])
    elif isinstance(result, list):
        yield from (printable(one) for one in result)
    elif result is not None:
        text = _value(result)
        yield from visible(text.removesuffix("\n")).split("\n") if text else ()


def _used(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a struct without what libguestfs keeps for later releases."""
    return {name: value for name, value in row.items() if "_spare" not in name}


def _pairs(values: Mapping[str, Any]) -> list[str]:
    rows = [(f"{name}:", _value(value)) for name, value in _used(values).items()]
    return columns(rows) if rows else []


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(rows[0]) <= _WIDE:
        yield from columns([tuple(rows[0]), *(tuple(map(_value, row.values())) for row in rows)])
        return
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield from _pairs(row)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "-" if value is None else str(value)
