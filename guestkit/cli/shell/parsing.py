r"""What is typed, as commands and words; and words as they have to be typed.

The quotes are those of bash: 'text', "text", \; and $'text' for what cannot be typed, such as $'\xff'. There
are no variables. `;` and line breaks separate commands, `#` begins a comment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

_PIECE = re.compile(
    r"""
    (?P<blank>[ \t\r\f\v]+)
  | (?P<end>[;\n])
  | \$'(?P<escaped>(?:[^'\\]|\\.)*)'
  | '(?P<single>[^']*)'
  | "(?P<double>(?:[^"\\]|\\.)*)"
  | \\(?P<one>.)
  | (?P<plain>[^ \t\r\f\v\n;'"\\$]+|\$(?!'))
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"#[^\n]*")
_WILD = re.compile(r"[*?[]")
_SPECIAL = re.compile(r"([*?[\]\\])")
_NEEDS_BACKSLASH = re.compile(r"([^\w@%+=:,./-])")

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_ESCAPED = dict(
    zip((b"%c" % name for name in b"abefnrtv"), (b"%c" % code for code in b"\a\b\x1b\f\n\r\t\v"), strict=True)
)


class Word(str):
    """A word without its quotes.

    Attributes:
        pattern: the same as a pattern of glob(7), if a wildcard in it is not quoted; else ""
    """

    pattern: str = ""


class Unfinished(ValueError):
    """What is typed ends too early: a quote is not closed."""


class Typed(NamedTuple):
    """A line up to the cursor.

    Attributes:
        words: the finished words of the command that is being typed
        word: the one at the cursor, as far as it is typed
        start: where that begins in the line
    """

    words: list[Word]
    word: Word
    start: int


class _Token(NamedTuple):
    start: int
    end: int
    word: Word | None  # None: the end of a command
    closed: bool = True


def commands(text: str) -> list[list[Word]]:
    """Return the commands, each with its words. Raise Unfinished."""
    found: list[list[Word]] = [[]]
    for token in _tokens(text):
        if not token.closed:
            raise Unfinished("a quote is not closed")
        if token.word is None:
            found.append([])
        else:
            found[-1].append(token.word)
    return [words for words in found if words]


def words_in(text: str) -> list[Word]:
    """Return the words of a list. Raise Unfinished: a ; or a line break in it has to be quoted, too."""
    found: list[Word] = []
    for token in _tokens(text, comments=False):
        if token.word is None or not token.closed:
            raise Unfinished("in a list, a quote is not closed, or a ; or line break is not quoted")
        found.append(token.word)
    return found


def typed(text: str) -> Typed:
    """Return what is typed so far, for completions; a quote may still be open."""
    words: list[Word] = []
    for token in _tokens(text):
        if token.word is None:
            words = []
        elif token.end == len(text):
            return Typed(words, token.word, token.start)
        else:
            words.append(token.word)
    return Typed(words, Word(), len(text))


def _tokens(text: str, *, comments: bool = True) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        if text[place] == "#" and comments:
            comment = _COMMENT.match(text, place)
            assert comment is not None
            place = comment.end()
            continue
        piece = _PIECE.match(text, place)
        if piece is not None and piece.lastgroup == "blank":
            place = piece.end()
        elif piece is not None and piece.lastgroup == "end":
            yield _Token(place, piece.end(), None)
            place = piece.end()
        else:
            token = _word(text, place)
            yield token
            place = token.end


def _word(text: str, start: int) -> _Token:
    place, plain, pattern, wild = start, "", "", False
    while (piece := _PIECE.match(text, place)) is not None and piece.lastgroup not in ("blank", "end"):
        place = piece.end()
        said = _said(piece)
        plain += said
        if piece.lastgroup == "plain":
            pattern += said
            wild = wild or _WILD.search(said) is not None
        else:
            pattern += as_pattern(said)
    closed = piece is not None or place == len(text)
    if not closed:
        plain += _open(text[place:])
        place = len(text)
    word = Word(plain)
    word.pattern = pattern if wild else ""
    return _Token(start, place, word, closed)


def _said(piece: re.Match[str]) -> str:
    said = piece[piece.lastgroup or 0]
    if piece.lastgroup == "escaped":
        return _unescaped(said)
    if piece.lastgroup == "double":
        return re.sub(r'\\(["\\$`])', r"\1", said)
    return said


def _open(text: str) -> str:
    """Return what is behind a quote that is not closed, or behind a single backslash."""
    return _unescaped(text[2:]) if text.startswith("$'") else text[1:]


def _unescaped(text: str) -> str:
    return os.fsdecode(_ESCAPE.sub(_byte, os.fsencode(text)))


def _byte(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes([int(escape[1], 16)])
    if escape[2]:
        return bytes([int(escape[2], 8) & 0xFF])
    return _ESCAPED.get(escape[3], escape[3])


def as_pattern(text: str) -> str:
    """Return the pattern of glob(7) that only this text matches."""
    return _SPECIAL.sub(r"\\\1", text)


def quote(text: str) -> str:
    r"""Return a word as it has to be typed: `a\ b`, or `$'\xff'` for what is not visible."""
    if not text:
        return "''"
    if text.isprintable():
        return _NEEDS_BACKSLASH.sub(r"\\\1", text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
