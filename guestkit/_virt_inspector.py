"""An `Inspection` as virt-inspector(1) XML, formatted as libxml2 does it; ElementTree formats differently."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager

from guestkit.generated.values import Application, Inspection, OperatingSystem

# Characters that XML cannot represent; a guest's text may contain them.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Characters that libxml2 writes as references in text, plus invisible ones, which must not reach a terminal.
# libxml2 writes the invisible ones literally: only there do our bytes differ, with the same meaning.
_IN_TEXT = re.compile(
    '[<>&"\r\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb'
    "\U000e0000-\U000e0fff]"
)
# Characters that libxml2 writes as references in attributes if the document states no encoding.
_IN_ATTRIBUTE = re.compile('[<>&"\t\n\r]|[^\x00-\x7e]')
_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}


def to_xml(inspection: Inspection) -> str:
    """Return the document; encode it as UTF-8. Characters that XML cannot represent become U+FFFD."""
    xml = _Writer()
    with xml.element("operatingsystems"):
        for system in inspection.operating_systems:
            with xml.element("operatingsystem"):
                _operating_system(xml, inspection, system)
    return "".join(f"{line}\n" for line in ['<?xml version="1.0"?>', *xml.lines])


class _Writer:
    """Writes elements, one per line; each holds either other elements or text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._indent = ""

    @contextmanager
    def element(self, name: str, **attributes: str) -> Iterator[None]:
        """Write an element; it holds whatever the block writes."""
        before, begin = len(self.lines), f"{self._indent}<{name}{_written(attributes)}"
        self.lines.append(f"{begin}>")
        self._indent += "  "
        yield
        self._indent = self._indent[2:]
        if len(self.lines) == before + 1:
            self.lines[before] = f"{begin}/>"
        else:
            self.lines.append(f"{self._indent}</{name}>")

    def text(self, name: str, text: object, /, **attributes: str) -> None:
        """Write an element that holds text."""
        escaped = _escaped(str(text), _IN_TEXT)
        self.lines.append(f"{self._indent}<{name}{_written(attributes)}>{escaped}</{name}>")

    def base64(self, name: str, content: bytes) -> None:
        """Write an element that holds bytes: base64 in lines of 72 characters, with CRLF as in mail."""
        text = base64.b64encode(content).decode("ascii")
        lines = "\r\n".join(text[begin : begin + 72] for begin in range(0, len(text), 72))
        self.lines.append(f"{self._indent}<{name}>{lines}</{name}>")


def _written(attributes: dict[str, str]) -> str:
    return "".join(f' {name}="{_escaped(value, _IN_ATTRIBUTE)}"' for name, value in attributes.items())


def _escaped(text: str, special: re.Pattern[str]) -> str:
    return special.sub(_reference, _UNWRITABLE.sub("\ufffd", text))


def _reference(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _NAMED.get(match[0]) or (f"&#{code};" if code < 32 else f"&#x{code:X};")


def _bytes(text: str) -> bytes:
    """Return a sort key, because virt-inspector sorts with C's strcmp."""
    return text.encode("utf-8", "surrogatepass")


# ---- the elements, in virt-inspector's order


def _operating_system(xml: _Writer, inspection: Inspection, system: OperatingSystem) -> None:
    facts: list[tuple[str, object]] = [
        ("root", system.root),
        ("name", system.type),
        ("arch", system.arch),
        ("distro", system.distro),
        ("product_name", system.product_name),
        ("product_variant", system.product_variant),
        ("major_version", system.major_version),
        ("minor_version", system.minor_version),
        ("package_format", system.package_format),
        ("package_management", system.package_management),
        *_windows(system),
        ("hostname", system.hostname),
        ("osinfo", system.osinfo),
    ]
    for name, value in facts:
        if value != "unknown":
            xml.text(name, value)
    with xml.element("mountpoints"):
        by_length = sorted(system.mountpoints, key=lambda path: (len(_bytes(path)), _bytes(path)))
        for path in by_length:
            xml.text("mountpoint", path, dev=system.mountpoints[path])
    _filesystems(xml, inspection, system)
    if system.drive_mappings:
        with xml.element("drive_mappings"):
            for letter in sorted(system.drive_mappings, key=str.lower):
                xml.text("drive_mapping", system.drive_mappings[letter], name=letter)
    if _asked_for_applications(system):
        with xml.element("applications"):
            for app in system.applications:
                with xml.element("application"):
                    _application(xml, app, _unknown_to_libguestfs(system))
    if system.icon is not None:
        xml.base64("icon", system.icon)


def _windows(system: OperatingSystem) -> Iterator[tuple[str, str]]:
    """Yield the Windows facts that libguestfs has found."""
    if system.windows and system.windows.systemroot:
        yield "windows_systemroot", system.windows.systemroot
    if system.windows and system.windows.current_control_set:
        yield "windows_current_control_set", system.windows.current_control_set


def _asked_for_applications(system: OperatingSystem) -> bool:
    """Return whether the applications were asked for: they are complete, or a failure says why not."""
    return system.applications_complete or any(one.part == "applications" for one in system.failures)


def _filesystems(xml: _Writer, inspection: Inspection, system: OperatingSystem) -> None:
    known = {filesystem.device: filesystem for filesystem in inspection.filesystems}
    with xml.element("filesystems"):
        for device in sorted(system.filesystems, key=_bytes):
            found = known.get(device)
            with xml.element("filesystem", dev=device):
                for name in ("type", "label", "uuid"):
                    if value := getattr(found, name, ""):
                        xml.text(name, value)


def _unknown_to_libguestfs(system: OperatingSystem) -> set[str]:
    """Return which facts about packages of that system only guestkit reads."""
    if system.type == "windows":
        return set()
    return {"publisher"} if system.package_format == "deb" else {"publisher", "source_package"}


def _application(xml: _Writer, app: Application, unknown: set[str]) -> None:
    for name in (
        "name",
        "display_name",
        "epoch",
        "version",
        "release",
        "arch",
        "install_path",
        "publisher",
        "url",
        "source_package",
        "summary",
        "description",
    ):
        if name not in unknown and (value := getattr(app, name)):
            xml.text(name, value)
