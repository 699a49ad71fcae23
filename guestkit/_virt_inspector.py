"""An `Inspection` in the XML of virt-inspector(1)."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

from guestkit.generated.values import Application, Inspection, OperatingSystem

# What XML has no way to write: a guest's text may hold it.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(inspection: Inspection) -> str:
    """Return the document. Characters that XML cannot have are written as U+FFFD."""
    top = ElementTree.Element("operatingsystems")
    for system in inspection.operating_systems:
        _operating_system(top, inspection, system)
    ElementTree.indent(top)
    return f'<?xml version="1.0"?>\n{ElementTree.tostring(top, encoding="unicode")}\n'


def _text(parent: ElementTree.Element, name: str, text: object, /, **attributes: str) -> None:
    element = ElementTree.SubElement(parent, name, {key: _safe(value) for key, value in attributes.items()})
    element.text = _safe(str(text))


def _safe(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)


def _operating_system(top: ElementTree.Element, inspection: Inspection, system: OperatingSystem) -> None:
    element = ElementTree.SubElement(top, "operatingsystem")
    windows = system.windows
    for name, value in (
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
        ("windows_systemroot", windows.systemroot if windows else ""),
        ("windows_current_control_set", windows.current_control_set if windows else ""),
        ("hostname", system.hostname),
        ("osinfo", system.osinfo),
    ):
        if value not in ("unknown", ""):
            _text(element, name, value)
    mountpoints = ElementTree.SubElement(element, "mountpoints")
    for mountpoint, device in sorted(system.mountpoints.items(), key=lambda item: (len(item[0]), item[0])):
        _text(mountpoints, "mountpoint", mountpoint, dev=device)
    _filesystems(element, inspection, system)
    if system.drive_mappings:
        mappings = ElementTree.SubElement(element, "drive_mappings")
        for letter, device in sorted(system.drive_mappings.items(), key=lambda item: item[0].lower()):
            _text(mappings, "drive_mapping", device, name=letter)
    applications = ElementTree.SubElement(element, "applications")
    for app in system.applications:
        _application(applications, app)
    if system.icon is not None:
        _text(element, "icon", base64.b64encode(system.icon).decode("ascii"))


def _filesystems(parent: ElementTree.Element, inspection: Inspection, system: OperatingSystem) -> None:
    known = {filesystem.device: filesystem for filesystem in inspection.filesystems}
    filesystems = ElementTree.SubElement(parent, "filesystems")
    for device in sorted(system.filesystems):
        element = ElementTree.SubElement(filesystems, "filesystem", {"dev": _safe(device)})
        found = known.get(device)
        if found is None:
            continue
        for name, value in (("type", found.type), ("label", found.label), ("uuid", found.uuid)):
            if value:
                _text(element, name, value)


def _application(parent: ElementTree.Element, app: Application) -> None:
    element = ElementTree.SubElement(parent, "application")
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
        value = getattr(app, name)
        if value:
            _text(element, name, value)
