"""Reports that `guestkit inspect --json` or `--jsonl` wrote earlier."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import logging
import sys
import typing
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

import cattrs
from cattrs.errors import BaseValidationError

from guestkit.errors import Error
from guestkit.fleet import Report

_log = logging.getLogger("guestkit")


def load(path: str) -> Iterator[Report]:
    """Yield the reports in a file, one by one; what a later version has added to them is left out."""
    done = 0
    name = "stdin" if path == "-" else path
    with _opened(path) as file:
        try:
            for document in _documents(file, name):
                yield _CONVERTER.structure(document, Report)
                done += 1
        except (ValueError, TypeError, RecursionError, BaseValidationError) as error:
            reason = cattrs.transform_error(error)[0] if isinstance(error, BaseValidationError) else error
            message = f"{name}: its report {done + 1} is not what guestkit inspect --json or --jsonl writes"
            raise Error("report", f"{message}: {reason}", errno.EINVAL) from error


def _opened(path: str) -> TextIO:
    if path == "-":
        return open(sys.stdin.fileno(), encoding="utf-8", closefd=False)
    return open(path, encoding="utf-8")


def _documents(file: TextIO, name: str) -> Iterator[Any]:
    """Yield the elements of a list, or what each line holds."""
    first = file.readline()
    if first.startswith("["):
        yield from json.loads(first + file.read())
        return
    if not first:
        _log.warning("%s: is empty: no guest is in it", name)
        return
    for line in chain([first], file):
        try:
            yield json.loads(line)
        except ValueError:
            if line.endswith("\n") or not line.startswith("{"):
                raise
            _log.warning("%s: its last line is not finished and is left out: a guest may be missing", name)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(bytes, lambda value, _: _decoded(value))
    converter.register_structure_hook(int, lambda value, _: _number(value))
    converter.register_structure_hook(bool, lambda value, _: _truth(value))  # to cattrs it is an int
    # A later version may know more words.
    converter.register_structure_hook_func(_is_literal, lambda value, _: str(value))
    return converter


def _is_literal(kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    return origin is typing.Literal


def _number(value: Any) -> int:
    number = int(value)
    if number.bit_length() > 64:
        raise ValueError("a number of more than 64 bits")
    return number


def _truth(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError("neither true nor false")
    return bool(value)


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, binascii.Error) as error:
        raise ValueError(str(error)) from None


_CONVERTER = _converter()
