"""HTTP for browsers and other readers, and WebDAV without locks, by aiohttp."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import logging
import os
import re
import secrets
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from aiohttp import HttpVersion11, web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from guestkit import _operations as operations
from guestkit._file_errors import NOT_THERE, check_regular, failure, is_about_a_file
from guestkit._operations import Entry
from guestkit.serving import pages
from guestkit.serving.gate import Gate
from guestkit.serving.guest import GuestFiles, path_of, reason
from guestkit.serving.limits import CONNECTIONS, IDLE

if TYPE_CHECKING:
    import socket

    from guestkit.handle import Guestfs

_log = logging.getLogger("guestkit")


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether an error is worth a line: anybody can send what is no HTTP, and aiohttp tells of it."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_errors = logging.getLogger("guestkit.serving")
_errors.addFilter(_is_ours)

#: How much of an upload is written in one turn, and of a page sent at once.
_BLOCK = 1 << 20

#: How many symlinks are followed in one turn.
_LINKS = 64

_READING = ("GET", "HEAD", "OPTIONS", "PROPFIND")
_WRITING = ("COPY", "DELETE", "MKCOL", "MOVE", "PUT")

#: What HTTP calls an error of a file; all others are the server's.
_STATUS = {
    **dict.fromkeys(NOT_THERE, HTTPStatus.NOT_FOUND),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL), HTTPStatus.FORBIDDEN),
    **dict.fromkeys((errno.EISDIR, errno.ENOTEMPTY, errno.EXDEV), HTTPStatus.CONFLICT),
    errno.EEXIST: HTTPStatus.PRECONDITION_FAILED,
    errno.EBUSY: HTTPStatus.LOCKED,
    errno.ENFILE: HTTPStatus.SERVICE_UNAVAILABLE,
    errno.ETXTBSY: HTTPStatus.LOCKED,
    errno.EFBIG: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errno.ENOSPC: HTTPStatus.INSUFFICIENT_STORAGE,
    errno.EDQUOT: HTTPStatus.INSUFFICIENT_STORAGE,
    errno.ETIMEDOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


async def listen(place: socket.socket, guest: GuestFiles, gate: Gate) -> web.ServerRunner:
    """Serve HTTP on the socket; the runner's `cleanup` ends it."""
    server = _Server(
        Site(guest, gate).answer,
        access_log=None,
        logger=_errors,
        auto_decompress=False,
        keepalive_timeout=IDLE,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, place).start()
    return runner


class _Server(web.Server):
    """aiohttp's, with a limit of connections."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > CONNECTIONS:
            asyncio.get_running_loop().call_soon(transport.abort)  # aiohttp is just beginning with it


class Refused(Exception):
    """A request that HTTP itself has an answer for."""

    def __init__(self, status: HTTPStatus, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Site:
    """Answers requests."""

    def __init__(self, guest: GuestFiles, gate: Gate) -> None:
        self._guest = guest
        self._gate = gate
        self._admitted: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._tag = secrets.token_hex(4)  # another server at this address may have another disk
        self._methods: dict[str, Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]] = {
            "COPY": self._copy,
            "DELETE": self._delete,
            "GET": self._get,
            "HEAD": self._get,
            "MKCOL": self._mkcol,
            "MOVE": self._move,
            "OPTIONS": self._options,
            "PROPFIND": self._propfind,
            "PUT": self._put,
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever it is."""
        try:
            await self._admit(request)
            if request.headers.get("Expect", "100-continue").lower() != "100-continue":
                raise Refused(HTTPStatus.EXPECTATION_FAILED, "no expectation is met but 100-continue")
            method = self._methods.get(request.method)
            if method is None:
                raise Refused(
                    HTTPStatus.METHOD_NOT_ALLOWED, "there is no such method here", Allow=self._allowed
                )
            return await method(request, path_of(unquote_to_bytes(request.rel_url.raw_path)))
        except Refused as refused:
            return _failed(request, refused.status, refused.reason, refused.headers)
        except ClientPayloadError:
            return _failed(request, HTTPStatus.BAD_REQUEST, "the request broke off")
        except ConnectionError:  # the client has gone, which aiohttp would log as an error of this server
            response = web.Response()
            response.force_close()
            return response
        except OSError as error:
            status = _STATUS.get(error.errno or 0, HTTPStatus.INTERNAL_SERVER_ERROR)
            return _failed(request, status, reason(error))
        except Exception:  # a fault of this program
            if request.writer.output_size:  # too late for a status
                raise
            _errors.exception("a request failed")
            return _failed(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed")

    async def _admit(self, request: web.BaseRequest) -> None:
        challenge = {"WWW-Authenticate": 'Basic realm="guestkit", charset="UTF-8"'}
        try:
            kind, _, given = request.headers["Authorization"].partition(" ")
            user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (KeyError, ValueError):
            kind = colon = ""
        if not colon or kind.lower() != "basic":
            raise Refused(HTTPStatus.UNAUTHORIZED, "a user and a password are needed", **challenge)
        connection = request.transport
        if connection in self._admitted and self._gate.is_right(user, password):
            return  # whatever others guess meanwhile
        if not await self._gate.admits(request.remote or "", user, password):
            raise Refused(HTTPStatus.UNAUTHORIZED, "a wrong user or password", **challenge)
        if connection is not None:
            self._admitted.add(connection)

    @property
    def _allowed(self) -> str:
        return ", ".join(_READING if self._guest.readonly else sorted(_READING + _WRITING))

    # ---- reading

    async def _options(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        return _done(HTTPStatus.OK, Allow=self._allowed, DAV="1")

    async def _get(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        known = await self._guest.look(operations.info, path)
        if known["type"] == "directory":
            if not request.rel_url.raw_path.endswith("/"):
                return _done(HTTPStatus.MOVED_PERMANENTLY, Location=pages.link(path, directory=True))
            headers = {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Security-Policy": pages.PAGE_POLICY,
            }
            async with self._guest.entries(path) as entries:
                return await _send(request, HTTPStatus.OK, headers, pages.page(path, entries))
        check_regular(path, known["mode"])
        return await self._get_file(request, path, known)

    async def _get_file(self, request: web.BaseRequest, path: str, known: Entry) -> web.StreamResponse:
        size = known["size"]
        response = web.StreamResponse(
            headers={
                **pages.HEADERS,
                "Accept-Ranges": "bytes",
                # Never shown: a page or a picture of the guest's would be one of this server's.
                "Content-Type": "application/octet-stream",
                "Content-Disposition": "attachment",
                "Content-Security-Policy": pages.FILE_POLICY,
            }
        )
        changed = pages.http_date(known["mtime"])
        if changed:
            response.headers["Last-Modified"] = changed
        if self._guest.readonly:  # else one second has many states
            tag = f"{self._tag}-{known['mtime']:x}-{size:x}"
            response.headers["ETag"] = f'"{tag}"'
            if _has(request, tag, known["mtime"]):
                return _done(HTTPStatus.NOT_MODIFIED, ETag=response.headers["ETag"])
        start, end = 0, size
        same = request.headers.get("If-Range", "")
        if not same or (self._guest.readonly and same in (response.headers["ETag"], changed)):
            wanted = _range(request.headers.get("Range", ""), size)
            if wanted is not None:
                start, end = wanted
                response.set_status(HTTPStatus.PARTIAL_CONTENT)
                response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response.content_length = end - start
        await response.prepare(request)
        if request.method == "GET":
            try:
                async for part in self._guest.parts(path, start, end, known):
                    await response.write(part)
            except ConnectionError:
                raise
            except OSError as error:
                _log.warning("a download was broken off: %s", reason(error))
                if request.transport is not None:  # too late for a status: the client misses the rest
                    request.transport.abort()
                return response
        await response.write_eof()
        return response

    async def _propfind(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        depth = request.headers.get("Depth", "infinity")
        if depth not in ("0", "1"):
            raise Refused(HTTPStatus.FORBIDDEN, "a depth of 0 or 1 is answered, no whole tree")
        known = await self._guest.look(operations.info, path)
        if known["type"] != "directory":
            check_regular(path, known["mode"])
        found = [(path, known)]
        headers = {"Content-Type": "application/xml; charset=utf-8"}
        async with contextlib.AsyncExitStack() as stack:
            if depth == "1" and known["type"] == "directory":
                found += await self._followed(await stack.enter_async_context(self._guest.entries(path)))
            return await _send(request, HTTPStatus.MULTI_STATUS, headers, pages.multistatus(found))

    async def _followed(self, entries: list[Entry]) -> list[tuple[str, Entry]]:
        """Return the files and directories, with what symlinks lead to: WebDAV knows nothing else."""
        links = [entry["name"] for entry in entries if entry["type"] == "link"]
        known = {entry["name"]: entry for entry in entries}
        for begin in range(0, len(links), _LINKS):
            known |= await self._guest.look(_behind, links[begin : begin + _LINKS])
        return [(path, entry) for path, entry in known.items() if entry["type"] in ("file", "directory")]

    # ---- changing

    async def _put(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if "Content-Range" in request.headers:
            raise Refused(HTTPStatus.BAD_REQUEST, "a file is stored as a whole")
        created = await self._prepare(path)
        await self._heed(request, path)
        await _go_on(request)
        with _about_its_place():
            await self._guest.store(path, _blocks(request))
        return _done(HTTPStatus.CREATED if created else HTTPStatus.NO_CONTENT)

    async def _copy(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        known = await self._guest.look(operations.info, path)
        if known["type"] == "directory":
            raise Refused(HTTPStatus.FORBIDDEN, "only files are copied")
        check_regular(path, known["mode"])
        new = _destination(request, path)
        created = await self._prepare(new, request)
        await self._heed(request, path)
        with _about_its_place():
            parts = self._guest.parts(path, 0, known["size"], known)
            await self._guest.store(new, parts, known["mode"] & operations.COPIED_MODE)
        return _done(HTTPStatus.CREATED if created else HTTPStatus.NO_CONTENT)

    async def _move(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        new = _destination(request, path)
        await self._guest.look(operations.check_there, path)
        created = await self._prepare(new, request)
        await self._heed(request, path)
        with _about_its_place():
            await self._guest.change(operations.rename, path, new, True)
        return _done(HTTPStatus.CREATED if created else HTTPStatus.NO_CONTENT)

    async def _delete(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if not self._guest.readonly:
            await self._heed(request, path)
        await self._guest.change(operations.remove, path, True)
        return _done(HTTPStatus.NO_CONTENT)

    async def _mkcol(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.body_exists:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a new directory has no content")
        if not await self._prepare(path):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "it is there already", Allow=self._allowed)
        await self._heed(request, path)
        with _about_its_place():
            await self._guest.change(operations.mkdir, path, False)
        return _done(HTTPStatus.CREATED)

    async def _prepare(self, path: str, request: web.BaseRequest | None = None) -> bool:
        """Return whether a file will be new; raise if it has no place, or must not be replaced."""
        if self._guest.readonly:
            raise failure(errno.EACCES, path, "served read-only")
        if not await self._is_there(path):
            with _about_its_place():
                folder = await self._guest.look(operations.info, os.path.dirname(path))
            if folder["type"] != "directory":
                raise Refused(HTTPStatus.CONFLICT, "there is no directory for it")
            return True
        if request is not None and request.headers.get("Overwrite", "T") == "F":
            raise Refused(HTTPStatus.PRECONDITION_FAILED, "it is there already")
        return False

    async def _heed(self, request: web.BaseRequest, path: str) -> None:
        """Raise if the file is not as the request says that it is: another client may have changed it."""
        is_as_said = True
        if (wanted := request.headers.get("If-Match")) is not None:
            # What can be changed has no ETag, so that no other value is one.
            is_as_said = wanted.strip() == "*" and await self._is_there(path)
        elif (since := request.if_unmodified_since) is not None and await self._is_there(path):
            known = await self._guest.look(operations.info, path)
            is_as_said = known["mtime"] <= since.timestamp()
        if request.headers.get("If-None-Match", "").strip() == "*" and await self._is_there(path):
            is_as_said = False
        if not is_as_said:
            raise Refused(HTTPStatus.PRECONDITION_FAILED, "it is not as the request says that it is")

    async def _is_there(self, path: str) -> bool:
        try:
            await self._guest.look(operations.check_there, path)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            return False
        return True


def _has(request: web.BaseRequest, tag: str, changed: int) -> bool:
    """Return whether the request says that the client has the file of that tag, last changed then."""
    if (known := request.if_none_match) is not None:
        return any(one.value in ("*", tag) for one in known)
    since = request.if_modified_since
    return since is not None and changed <= since.timestamp()


@contextlib.contextmanager
def _about_its_place() -> Iterator[None]:
    """Answer 409 if a new file cannot be where it is wanted: 404 would be about what is moved or copied."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
        raise Refused(HTTPStatus.CONFLICT, f"there is no place for it: {reason(error)}") from error


def _behind(g: Guestfs, links: list[str]) -> dict[str, Entry]:
    """Return what symlinks lead to, as far as they lead to something that can be told."""
    found: dict[str, Entry] = {}
    for path in links:
        try:
            found[path] = operations.info(g, path)
        except OSError as error:
            if not is_about_a_file(error):
                raise
    return found


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Return where the wanted range begins and ends; None: all, as for several ranges."""
    found = re.fullmatch(r"bytes=([0-9]{0,19})-([0-9]{0,19})", text.replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {size} bytes",
            **{"Content-Range": f"bytes */{size}"},
        )
    return start, end


def _destination(request: web.BaseRequest, source: str) -> str:
    try:
        url = urlsplit(request.headers.get("Destination", ""))
        path = unquote_to_bytes(url.path) if url.path.startswith("/") else b""
    except ValueError:  # brackets that are none of an address, bytes that are no text
        path = b""
    if not path:
        raise Refused(HTTPStatus.BAD_REQUEST, "the header Destination is no URL of a file")
    if url.netloc and url.netloc.rpartition("@")[2] != request.host:
        raise Refused(HTTPStatus.BAD_GATEWAY, "the destination is another server's")
    if (new := path_of(path)) == source:
        raise Refused(HTTPStatus.FORBIDDEN, "the destination is the file itself")
    return new


async def _go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its content: aiohttp does so in applications alone."""
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


async def _blocks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield what a client sends, in blocks: each takes a turn."""
    block = bytearray()
    async for piece in request.content.iter_any():
        block += piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


async def _send(
    request: web.BaseRequest, status: HTTPStatus, headers: dict[str, str], lines: Iterator[str]
) -> web.StreamResponse:
    """Send a text of any length."""
    response = web.StreamResponse(status=status, headers={**pages.HEADERS, **headers})
    await response.prepare(request)
    if request.method != "HEAD":
        block = ""
        for line in lines:
            block += line
            if len(block) >= _BLOCK:
                await response.write(block.encode())
                block = ""
        if block:
            await response.write(block.encode())
    await response.write_eof()
    return response


def _done(status: HTTPStatus, **headers: str) -> web.Response:
    return web.Response(status=status, headers={**pages.HEADERS, **headers})


def _failed(
    request: web.BaseRequest, status: HTTPStatus, reason: str, headers: dict[str, str] | None = None
) -> web.Response:
    response = web.Response(
        status=status,
        headers={**pages.HEADERS, "Content-Security-Policy": pages.FILE_POLICY, **(headers or {})},
        text=pages.error(f"{status.value} {status.phrase}", reason),
        content_type="text/html",
        charset="utf-8",
    )
    if request.can_read_body:  # what a refused client still sends is not read
        response.force_close()
    return response
