"""The words of a command line, sorted into options and operands.

An operand may stand anywhere: `guestkit ls web.qcow2 -l /etc`. argparse by itself would end a list of
operands, even one without a word in it, at the next option.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple


class Words(NamedTuple):
    """What was typed.

    Attributes:
        options: the options, each with its value behind it, in their order
        operands: all else, in its order
        used: the parser's options, each as often as it is given
    """

    options: list[str]
    operands: list[str]
    used: list[argparse.Action]


def sort(words: Sequence[str], parser: argparse.ArgumentParser) -> Words:
    """Sort the words as the parser would take them."""
    found = Words([], [], [])
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            found.operands.extend(reversed(rest))
            break
        if _is_operand(word, parser):
            found.operands.append(word)
            continue
        found.options.append(word)
        used, wants_value = _options_in(word, parser)
        found.used.extend(used)
        if wants_value and rest and rest[-1] != "--" and _is_operand(rest[-1], parser):
            found.options.append(rest.pop())
    return found


def _is_operand(word: str, parser: argparse.ArgumentParser) -> bool:
    return parser._parse_optional(word) is None


def _options_in(word: str, parser: argparse.ArgumentParser) -> tuple[list[argparse.Action], bool]:
    """Return the options of a word, such as -l and -d of -ld, and whether the next word is a value."""
    known = parser._option_string_actions
    name, equals, _ = word.partition("=")
    if name in known:
        return [known[name]], known[name].nargs is None and not equals
    used: list[argparse.Action] = []
    if not word.startswith("--"):
        for place, letter in enumerate(word[1:], start=2):
            option = known.get(f"-{letter}")
            if option is None:
                break
            used.append(option)
            if option.nargs != 0:  # what follows in the word is its value
                return used, place == len(word)
    return used, False
