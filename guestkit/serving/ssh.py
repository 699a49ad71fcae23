"""SFTP's server: what of asyncssh is replaced, so that no client has more of this host than it may."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, cast

import asyncssh
from asyncssh.constants import FXP_CLOSE, FXP_FSTAT, FXP_LSTAT, FXP_OPEN, FXP_READ, FXP_STAT, MSG_IGNORE
from asyncssh.packet import SSHPacket, SSHPacketLogger
from asyncssh.sftp import SFTPLimits, SFTPServerHandler
from asyncssh.stream import SSHReader, SSHServerStreamSession, SSHWriter

from guestkit.serving.gate import Gate
from guestkit.serving.guest import GuestFiles
from guestkit.serving.limits import AHEAD, AT_ONCE, CONNECTIONS, LOGIN, OPEN, SESSIONS
from guestkit.serving.sftp import Files

if TYPE_CHECKING:
    import socket

#: Every client has one of these. They take a third of the time that chacha20 takes in Python.
_CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)

#: Requests that leave no trace but in the file that they open, read or close.
_LOOKING = frozenset((FXP_OPEN, FXP_CLOSE, FXP_READ, FXP_STAT, FXP_LSTAT, FXP_FSTAT))

#: What is overridden or used of asyncssh that it does not promise to keep.
_PRIVATE: Mapping[type, Sequence[str]] = {
    SFTPServerHandler: (
        "_cleanup", "_extensions", "_packet_handlers", "_process_limits", "_process_packet", "_writer",
    ),
    SSHServerStreamSession: ("_chan", "_conn", "_init_sftp_server", "session_started"),
    asyncssh.SSHServerConnection: (
        "_deferred_packets", "create_task", "pause_writing", "resume_writing", "send_packet",
    ),
}  # fmt: skip


def lacking() -> str:
    """Return what the installed asyncssh has no more; "" if it is one that guestkit knows.

    Where a method that is overridden has another name, asyncssh's own would go on unnoticed.
    """
    missing = (
        f"{kind.__name__}.{name}"
        for kind, names in _PRIVATE.items()
        for name in names
        if not _has(kind, name)
    )
    return next(missing, "")


def _has(kind: type, name: str) -> bool:
    """Return whether the class has the attribute, or its objects get it as they are made."""
    makers = (vars(each).get("__init__") for each in kind.__mro__)
    return hasattr(kind, name) or any(
        name in maker.__code__.co_names for maker in makers if isinstance(maker, FunctionType)
    )


async def listen(place: socket.socket, guest: GuestFiles, gate: Gate, key: asyncssh.SSHKey) -> Listener:
    """Serve SFTP, and nothing else of SSH, on the socket."""
    clients = _Clients(guest)
    acceptor = await asyncssh.listen(
        sock=place,
        config=[],
        server_factory=partial(_Client, gate, clients),  # and it makes the sessions
        server_host_keys=[key],
        encoding=None,
        password_auth=True,
        public_key_auth=False,
        host_based_auth=False,
        kbdint_auth=False,
        gss_host=None,
        encryption_algs=_CIPHERS,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=LOGIN,
        server_version="guestkit",
    )
    return Listener(acceptor, clients.connections)


class Listener:
    """The server, and its clients."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor, clients: set[asyncssh.SSHServerConnection]) -> None:
        self._acceptor = acceptor
        self._clients = clients

    async def close(self) -> None:
        """Cut all clients off."""
        self._acceptor.close()
        clients = list(self._clients)
        for client in clients:
            client.abort()
        await asyncio.gather(self._acceptor.wait_closed(), *(client.wait_closed() for client in clients))


class _Clients:
    """All clients of a server.

    Attributes:
        opened: files and directories, as long as a session has them
    """

    def __init__(self, guest: GuestFiles) -> None:
        self.guest = guest
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.sessions: set[_Session] = set()
        self.opened: weakref.WeakSet[object] = weakref.WeakSet()


class _Client(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, gate: Gate, clients: _Clients) -> None:
        self._gate = gate
        self._clients = clients
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        # What the event loop calls when what is to be sent piles up; asyncssh's own do nothing.
        vars(conn).update(pause_writing=self._writable.clear, resume_writing=self._writable.set)
        vars(conn).update(send_packet=partial(_send, conn.send_packet))
        self._clients.connections.add(conn)
        if len(self._clients.connections) > CONNECTIONS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._clients.connections.discard(self._connection)
        self._clients.sessions -= {session for session in self._clients.sessions if session.client is self}

    def session_requested(self) -> bool | tuple[asyncssh.SSHServerChannel[bytes], _Session]:
        if len(self._clients.sessions) >= SESSIONS:
            return False
        session = _Session(self, self._clients)
        self._clients.sessions.add(session)
        return self._connection.create_server_channel(), session

    async def sent(self) -> None:
        """Wait until most of what is to be sent is on its way."""
        await self._writable.wait()
        # Nothing tells when new keys have been agreed on, for which a client can take its time.
        while self._connection._deferred_packets and not self._connection.is_closed():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        address = self._connection.get_extra_info("peername")[0]
        return await self._gate.admits(address, username, password)


class _Session(SSHServerStreamSession[bytes]):
    """A channel for SFTP."""

    def __init__(self, client: _Client, clients: _Clients) -> None:
        super().__init__(None, partial(Files, guest=clients.guest, opened=clients.opened), 3)
        self.client = client
        self._clients = clients

    def session_started(self) -> None:
        channel, connection = self._chan, self._conn
        assert channel is not None
        assert connection is not None
        files = cast(Files, self._init_sftp_server())
        reader, writer = SSHReader[bytes](self, channel), SSHWriter[bytes](self, channel)
        connection.create_task(_Handler(self.client, files, reader, writer).run(), reader.logger)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clients.sessions.discard(self)


class _Handler(SFTPServerHandler):
    """Answers a request when the client has taken the answers before: asyncssh's own keeps them in memory.

    Where nothing can change, some requests are answered side by side, in any order: while the guest reads for
    one, others are received and sent. asyncssh takes one after the other.

    It has no copy-data: a file that is copied into itself has no end, also when the client has gone.
    """

    def __init__(
        self, client: _Client, files: Files, reader: SSHReader[bytes], writer: SSHWriter[bytes]
    ) -> None:
        super().__init__(files, reader, writer, 3)
        self._client = client
        self._side_by_side = _LOOKING if files.readonly else frozenset()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._extensions = [known for known in self._extensions if known[0] != b"copy-data"]
        self._packet_handlers = {
            **self._packet_handlers,
            b"copy-data": None,
            b"limits@openssh.com": _limits,
        }

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._writer is not None:
            await self._writer.drain()
        await self._client.sent()
        if pkttype not in self._side_by_side:
            await self._all_answered()
            await super()._process_packet(pkttype, pktid, packet)
            return
        await self._slots.acquire()
        answering = asyncio.create_task(self._answer(pkttype, pktid, packet))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        try:
            await super()._process_packet(pkttype, pktid, packet)
        except (OSError, asyncssh.Error) as error:  # as where they are received
            await self._cleanup(error)
        finally:
            self._slots.release()

    async def _all_answered(self) -> None:
        if self._answering:
            await asyncio.wait(self._answering)

    async def _cleanup(self, exc: Exception | None) -> None:
        if exc is None:  # the client asks no more, but waits for what it has asked
            await self._all_answered()
        await super()._cleanup(exc)


def _send(
    send_packet: Callable[..., None], kind: int, *parts: bytes, handler: SSHPacketLogger | None = None
) -> None:
    """Leave out what asyncssh sends before each packet, which protects only ciphers in the mode CBC."""
    if kind != MSG_IGNORE:
        send_packet(kind, *parts, handler=handler)


async def _limits(handler: SFTPServerHandler, packet: SSHPacket) -> SFTPLimits:
    """Have clients read as much at a time as they get: else they ask again for the rest of each part."""
    known = await handler._process_limits(packet)
    return SFTPLimits(known.max_packet_len, AHEAD, known.max_write_len, OPEN)
