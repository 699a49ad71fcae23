"""Licences as package databases name them, and as SPDX does."""

from __future__ import annotations

import re

from license_expression import get_spdx_licensing  # type: ignore[import-untyped]

#: Expressions that are looked at; real ones have some hundred characters.
_USUAL = re.compile(r"[A-Za-z0-9 ().+:_-]{1,500}")

#: GNU licences in SPDX's words of old, which stand for those of today.
_GNU = re.compile(r"((?:[al]?gpl|gfdl)-[\d.]+)(\+?)")

#: How many different licences of a guest are looked at, some milliseconds each; a distribution has hundreds.
MOST = 2000

_LICENSING = get_spdx_licensing()


class Expressions:
    """The licences of one guest as expressions."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, text: str) -> str:
        """Return `spdx_expression` of the text; "" if MOST others were asked for before."""
        known = self._known.get(text)
        if known is None:
            if len(self._known) == MOST:
                return ""
            known = self._known[text] = spdx_expression(text)
        return known


def spdx_expression(text: str) -> str:
    """Return the text as an expression of SPDX; "" if it is none, as in old packages of rpm."""
    if not _USUAL.fullmatch(text) or not text.strip():
        return ""
    try:
        found = _LICENSING.validate(text, strict=True)
    except Exception:  # the parser fails on odd texts with whatever it stumbles over, such as an IndexError
        return ""
    expression = "" if found.errors else str(found.normalized_expression)
    # It also knows names of other lists, and takes "GPL" for version 1, which is more than the text says.
    is_literal = _words(text) == _words(expression) and "licenseref-" not in text.lower()
    return expression if is_literal else ""


def _words(text: str) -> list[str]:
    return [_today(word) for word in re.findall(r"[^\s()]+", text.lower())]


def _today(word: str) -> str:
    old = _GNU.fullmatch(word)
    return word if old is None else f"{old[1]}-{'or-later' if old[2] else 'only'}"
