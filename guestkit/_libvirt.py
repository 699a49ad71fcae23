"""The disks of a guest of libvirt, and whether it runs.

virsh is asked, as it is there wherever libvirt is used and works with any Python; libvirt's own module for
Python has to be compiled. Nothing depends on the words of its messages.
"""

from __future__ import annotations

import errno
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

from guestkit._programs import LOST, TooLong, lost, pieces, running, status
from guestkit._system import hint
from guestkit._text import printable
from guestkit._xml import parsed
from guestkit.errors import Error

_LONGEST = 4 << 20  # bytes of an answer; a domain's XML has some 10,000
_MOST_SAID = 1 << 14  # bytes of its complaints
_MOST_DISKS = 256
_PATIENCE = 60.0  # seconds for an answer of libvirt
_END = 1.0  # seconds from the end of the answer to that of virsh


def disks_of_domain(
    op: str, name: str, uri: str, beat: Callable[[], object], *, readonly: bool
) -> Sequence[tuple[str, str]]:
    """Return the disks of a domain of this host, in its own order, without CD-ROMs and floppies.

    Each is a file, a block device or a URL, and its format, as the domain states it.

    beat: called many times a second while libvirt is asked; an exception from it ends that

    Raises Error if libvirt does not answer or does not know it, if a disk is of a kind that guestkit does not
    open, or if the domain runs, or keeps a saved state, and its disks are to be written.
    """
    libvirt = _Libvirt(op, name, uri, beat)
    libvirt.check_host()
    definition = libvirt.definition()
    if not readonly:
        libvirt.check_idle(definition)
    found = [disk for each in definition.iterfind("devices/disk") if (disk := libvirt.disk(each)) is not None]
    if not found:
        raise libvirt.error("has no disk")
    if len(found) > _MOST_DISKS:
        raise libvirt.error(f"has more than {_MOST_DISKS} disks")
    return found


class _Libvirt:
    """Asks virsh about one domain."""

    def __init__(self, op: str, name: str, uri: str, beat: Callable[[], object]) -> None:
        self._op = op
        self._name = name
        self._uri = uri
        self._beat = beat
        self._said = ""

    def error(self, message: str, number: int = errno.EINVAL, remedy: str = "") -> Error:
        message = f"the domain {printable(repr(self._name))} {message}"
        return Error(self._op, message, number, hint=remedy)

    def check_host(self) -> None:
        """Refuse the libvirt of another host: the names of its disks mean nothing here."""
        self._check_host(self._uri)
        self._check_host(self._told("uri").strip())  # what was given may be an alias

    def _check_host(self, uri: str) -> None:
        try:
            host = urlsplit(uri).hostname
        except ValueError:
            host = "?"
        if host not in (None, "", "localhost"):
            raise self.error(
                f"is on another host, {printable(uri)}: run guestkit there, or have its disks served by NBD",
                errno.EREMOTE,
            )

    def definition(self) -> ET.Element:
        found = self._defined(self._name)
        if found is not None and not (
            found.findtext("name") == self._name or found.findtext("uuid") == self._name.lower()
        ):
            # virsh takes a number for the ID of a guest that runs, rather than for a name.
            lines = self._told("list", "--all", "--uuid", "--name").splitlines()
            names = {name.strip(): uuid for uuid, _, name in (line.partition(" ") for line in lines)}
            found = self._defined(names[self._name]) if self._name in names else None
        if found is None:
            known = [one for one in self._told("list", "--all", "--name").splitlines() if one]
            raise self.error(
                "is unknown to libvirt; there "
                + (f"are: {printable(', '.join(known[:20]))}" if known else "is none")
                + ("" if len(known) <= 20 else f" and {len(known) - 20} more"),
                errno.ENOENT,
            )
        return found

    def _defined(self, name: str) -> ET.Element | None:
        text = self._run("dumpxml", f"--domain={name}")
        if text is None:
            return None
        try:
            return parsed(text, "the definition")
        except ValueError as error:
            raise self.error(f"cannot be read: {printable(str(error))}") from error

    def check_idle(self, definition: ET.Element) -> None:
        """Refuse to write below a guest that runs, or that has its filesystems in a saved memory."""
        if definition.get("id") is not None:
            raise self.error(
                "runs: its disks are only read meanwhile; shut it down to write to them", errno.EBUSY
            )
        name = definition.findtext("name", "")
        if name in self._told("list", "--all", "--with-managed-save", "--name").splitlines():
            raise self.error(
                "has a saved state, whose memory would not know what is written: start it and shut it down,"
                " or forget that state (virsh managedsave-remove)",
                errno.EBUSY,
            )

    def disk(self, disk: ET.Element) -> tuple[str, str] | None:
        """Return the disk; None for a drive of another kind, or an empty one."""
        source = disk.find("source")
        if disk.get("device", "disk") in ("cdrom", "floppy") or source is None:
            return None
        target = disk.find("target")
        place = printable("?" if target is None else target.get("dev", "?"))
        driver = disk.find("driver")
        kind = disk.get("type", "")
        if source.find("slices") is not None:
            raise self.error(f"has a disk {place} that is a slice of a file: guestkit opens whole ones")
        if kind == "file":
            path = source.get("file", "")
        elif kind == "block":
            path = source.get("dev", "")
        elif kind == "volume":
            words = [f"--vol={source.get('volume', '')}", f"--pool={source.get('pool', '')}"]
            path = self._told("vol-path", *words).strip("\n")
        elif kind == "network" and source.get("protocol") in ("nbd", "http", "https", "ssh"):
            path = _url(source)
        else:
            what = source.get("protocol", "the network") if kind == "network" else kind
            raise self.error(
                f"has a disk {place} on {printable(what)}, which guestkit does not open: have it served by"
                " NBD (docs/images.md), or name the other disks",
                errno.ENOTSUP,
            )
        if not path:
            return None
        # libvirt takes a disk whose format is not stated for raw.
        return path, ("raw" if driver is None else driver.get("type", "raw"))

    def _told(self, *words: str) -> str:
        """Return what virsh says; raise Error if that is nothing but an error."""
        text = self._run(*words)
        if text is None:
            reason = self._said or "virsh fails"
            remedy = "start libvirt, or name the guest's disks themselves"
            raise self.error(f"cannot be asked about: {reason}", errno.EIO, remedy)
        return os.fsdecode(text)

    def _run(self, *words: str) -> bytes | None:
        """Return what virsh says; None if it fails, with the reason in _said."""
        uri = [f"--connect={self._uri}"] if self._uri else []
        text, said = bytearray(), b""
        try:
            with running(
                ["virsh", "--quiet", "--readonly", *uri, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as virsh:
                assert virsh.stdout is not None
                assert virsh.stderr is not None
                for pipe, piece in pieces([virsh.stdout, virsh.stderr], self._beat, _PATIENCE):
                    if pipe is virsh.stderr:
                        said = (said + piece)[-_MOST_SAID:]
                    elif len(text) + len(piece) <= _LONGEST:
                        text += piece
                    else:
                        raise self.error(f"cannot be asked about: virsh says more than {_LONGEST} bytes")
                if status(virsh, _END) is None:
                    raise self.error("cannot be asked about: virsh does not end", errno.ETIMEDOUT)
        except FileNotFoundError:
            message = "cannot be asked about: virsh is not installed"
            raise self.error(message, errno.ENOENT, hint("virsh")) from None
        except TooLong:
            message = f"cannot be asked about: libvirt has not answered for {_PATIENCE:g} seconds"
            raise self.error(message, errno.ETIMEDOUT) from None
        if virsh.returncode == LOST:
            raise self.error(f"cannot be asked about: {lost('virsh')}", errno.ECHILD)
        lines = said.decode("utf-8", "replace").splitlines()
        self._said = printable(lines[-1].removeprefix("error: "))[:300] if lines else ""
        return bytes(text) if virsh.returncode == 0 else None


def _url(source: ET.Element) -> str:
    host = source.find("host")
    protocol, name = source.get("protocol", ""), source.get("name", "")
    if host is None:
        return ""
    if protocol == "nbd":
        if source.get("tls") == "yes":
            protocol = "nbds"  # which guestkit refuses
        if host.get("transport") == "unix":
            return f"{protocol}+unix:///{name}?socket={quote(host.get('socket', ''))}"
    port = host.get("port", "")
    address = host.get("name", "")
    where = (f"[{address}]" if ":" in address else address) + (f":{port}" if port else "")
    query = source.get("query", "")
    path = name if protocol == "nbd" else quote(name.lstrip("/"))
    return f"{protocol}://{where}/{path}" + (f"?{query}" if query else "")
