"""Reports that `guestkit inspect --json` or `--jsonl` wrote earlier."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import typing
from collections.abc import Iterator
from typing import Any, TextIO

import cattrs
from cattrs.errors import BaseValidationError

from guestkit.errors import Error
from guestkit.fleet import Report


def load(path: str) -> Iterator[Report]:
    """Yield the reports in a file, one by one; what a later version has added to them is left out."""
    done = 0
    with open(path, encoding="utf-8") as file:
        try:
            for document in _documents(file):
                yield _CONVERTER.structure(document, Report)
                done += 1
        except (ValueError, TypeError, RecursionError, BaseValidationError) as error:
            reason = cattrs.transform_error(error)[0] if isinstance(error, BaseValidationError) else error
            message = f"{path}: its report {done + 1} is not what guestkit inspect --json or --jsonl writes"
            raise Error("report", f"{message}: {reason}", errno.EINVAL) from error


def _documents(file: TextIO) -> Iterator[Any]:
    """Yield the elements of a list, or what each line holds."""
    first = file.readline()
    if first.startswith("["):
        yield from json.loads(first + file.read())
        return
    yield json.loads(first)
    yield from map(json.loads, file)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(bytes, lambda value, _: _decoded(value))
    # A later version may know more words.
    converter.register_structure_hook_func(_is_literal, lambda value, _: str(value))
    return converter


def _is_literal(kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    return origin is typing.Literal


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, binascii.Error) as error:
        raise ValueError(str(error)) from None


_CONVERTER = _converter()
