"""What HTTP's clients get to read: pages of directories, and WebDAV's answers.

Names are the guest's. In a page they are escaped twice, as for a terminal and as HTML; in a link or an answer
they are bytes in percent signs, so that nothing of theirs is HTML, XML or the beginning of a URL.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from html import escape
from urllib.parse import quote

from guestkit._operations import Entry
from guestkit._text import printable
from guestkit.files import kind_of, word_for

_STYLE = (
    "body{font:14px/1.5 sans-serif;margin:2em;color:#222;background:#fff}"
    "table{border-spacing:0}td{padding:0 2em 0 0;white-space:pre}td+td{color:#666}"
    "td:nth-child(2){text-align:right}a{text-decoration:none}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: What a browser may do with a page: show it with this style, and follow its links.
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; sandbox allow-downloads"
)

#: And with a file of the guest's: nothing.
FILE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"


def link(path: str, *, directory: bool = False) -> str:
    """Return the path of a URL. It begins with one slash, and so never names a host or a scheme."""
    return quote(os.fsencode(path), safe="/") + ("/" if directory and path != "/" else "")


def page(path: str, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the page of a directory, line by line."""
    title = escape(printable(path))
    yield f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
    yield f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<table>\n"
    if path != "/":
        yield f'<tr><td><a href="{link(os.path.dirname(path), directory=True)}">../</a></td></tr>\n'
    for entry in entries:
        yield _row(entry)
    yield "</table></body></html>\n"


def _row(entry: Entry) -> str:
    kind = entry["type"]
    name = escape(printable(os.path.basename(entry["name"])))
    if kind == "directory":
        shown = f'<a href="{link(entry["name"], directory=True)}">{name}/</a>'
    elif kind == "other":  # nobody opens it
        shown = f"{name} ({word_for(kind_of(entry['mode']))})"
    else:
        shown = f'<a href="{link(entry["name"])}">{name}</a>'
    if kind == "link":
        shown += f" → {escape(printable(entry['destination']))}"
    size = entry["size"] if kind == "file" else ""
    return f"<tr><td>{shown}</td><td>{size}</td><td>{_when(entry['mtime'])}</td></tr>\n"


def _when(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # the guest may claim any number
        return ""


def http_date(seconds: int) -> str:
    """Return the time as HTTP writes it; "" for one that it cannot write."""
    try:
        return formatdate(seconds, usegmt=True)
    except (OverflowError, ValueError, OSError):
        return ""


def multistatus(entries: Iterable[tuple[str, Entry]]) -> Iterator[str]:
    """Yield WebDAV's answer that tells of files, each with the path by which it was found."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">\n'
    for path, entry in entries:
        yield _response(path, entry)
    yield "</D:multistatus>\n"


def _response(path: str, entry: Entry) -> str:
    directory = entry["type"] == "directory"
    known = [f"<D:resourcetype>{'<D:collection/>' if directory else ''}</D:resourcetype>"]
    if not directory:
        known.append(f"<D:getcontentlength>{entry['size']}</D:getcontentlength>")
    if changed := http_date(entry["mtime"]):
        known.append(f"<D:getlastmodified>{changed}</D:getlastmodified>")
    return (
        f"<D:response><D:href>{link(path, directory=directory)}</D:href><D:propstat><D:prop>{''.join(known)}"
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>\n"
    )


def error(status: str, reason: str) -> str:
    """Return the page that says why there is no other."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(status)}</title></head>'
        f"<body><h1>{escape(status)}</h1><p>{escape(printable(reason))}</p></body></html>\n"
    )


#: Headers of every answer.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "guestkit",
    "X-Content-Type-Options": "nosniff",
}
