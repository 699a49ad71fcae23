"""`Inspection.to_xml` writes the bytes of virt-inspector. tests/appliance compares whole guests."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from guestkit.demo import DEMO_SYSTEM
from guestkit.inspection import Filesystem, OperatingSystem, PartFailure, WindowsFacts
from tests.inspections import NOTHING_FOUND


def filesystem(device: str, **facts: str) -> Filesystem:
    return Filesystem(**{"type": "", "label": "", "uuid": "", **facts}, device=device, size=None, used=None)


def xml(*systems: OperatingSystem, filesystems: tuple[Filesystem, ...] = ()) -> str:
    return replace(NOTHING_FOUND, filesystems=filesystems, operating_systems=systems).to_xml()


# ---- libxml2 itself, through ctypes: libguestfs needs it, so it is installed


class LibXml:
    """Writes elements with libxml2, in the same way as virt-inspector."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libxml2.so.2")
        self._buffer = ctypes.c_void_p(self._call("xmlBufferCreate", result=ctypes.c_void_p))
        self._writer = ctypes.c_void_p(
            self._call("xmlNewTextWriterMemory", self._buffer, 0, result=ctypes.c_void_p)
        )
        self._write("SetIndent", 1)
        self._write("SetIndentString", b"  ")
        self._write("StartDocument", None, None, None)

    def _call(self, name: str, *arguments: object, result: Any = ctypes.c_int) -> Any:
        function = getattr(self._library, name)
        function.restype = result
        return function(*arguments)

    def _write(self, name: str, *arguments: object) -> None:
        assert self._call(f"xmlTextWriter{name}", self._writer, *arguments) >= 0

    @contextmanager
    def element(self, name: bytes, **attributes: str) -> Iterator[None]:
        self._write("StartElement", name)
        for key, value in attributes.items():
            self._write("WriteAttribute", key.encode(), value.encode())
        yield
        self._write("EndElement")

    def text(self, text: str) -> None:
        self._write("WriteString", text.encode())

    def base64(self, content: bytes) -> None:
        self._write("WriteBase64", content, 0, len(content))

    def end(self) -> str:
        self._write("EndDocument")
        self._call("xmlFreeTextWriter", self._writer, result=None)
        content: bytes = self._call("xmlBufferContent", self._buffer, result=ctypes.c_char_p)
        self._call("xmlBufferFree", self._buffer, result=None)
        return content.decode()


def document_of(mountpoint: str, device: str) -> str:
    """Return what libxml2 writes for the mountpoints of a system."""
    libxml = LibXml()
    with libxml.element(b"mountpoints"), libxml.element(b"mountpoint", dev=device):
        libxml.text(mountpoint)
    return libxml.end()


def block(name: str, document: str) -> list[str]:
    """Return the lines of an element of the document, without their indentation."""
    lines = [line.strip(" ") for line in document.split("\n")]
    return lines[lines.index(f"<{name}>") : lines.index(f"</{name}>") + 1]


# ---- whole documents


def test_nothing_was_found() -> None:
    assert xml() == '<?xml version="1.0"?>\n<operatingsystems/>\n'


BARE = replace(
    DEMO_SYSTEM,
    root="/dev/sda2",
    type="linux",
    arch="unknown",
    distro="unknown",
    product_name="",
    product_variant="unknown",
    major_version=0,
    minor_version=0,
    package_format="unknown",
    package_management="unknown",
    hostname="unknown",
    osinfo="unknown",
    mountpoints={},
    filesystems=(),
    applications=(),
)

BARE_XML = """\
<?xml version="1.0"?>
<operatingsystems>
  <operatingsystem>
    <root>/dev/sda2</root>
    <name>linux</name>
    <product_name></product_name>
    <major_version>0</major_version>
    <minor_version>0</minor_version>
    <mountpoints/>
    <filesystems/>
    <applications/>
  </operatingsystem>
</operatingsystems>
"""


def test_empty_elements_had_a_blank_before_their_slash() -> None:
    assert xml(BARE) == BARE_XML


WINDOWS = replace(
    BARE,
    type="windows",
    arch="x86_64",
    distro="windows",
    product_name='Windows "NT" <& \'co>',
    product_variant="Server",
    major_version=10,
    osinfo="win2k19",
    windows=WindowsFacts(
        systemroot="/Windows", software_hive="x", system_hive="x", current_control_set="ControlSet001"
    ),
    mountpoints={"/srv/long": "/dev/sda3", "/": "/dev/sda2", "/é": "/dev/sda9", "/abc": "/dev/sda4"},
    filesystems=("/dev/sda3", "/dev/mapper/ü", "/dev/sda2", "/dev/sda10"),
    drive_mappings={"d": "/dev/sda3", "C": "/dev/sda2"},
    icon=bytes(range(60)),
    applications=(
        replace(
            DEMO_SYSTEM.applications[0],
            name="a",
            display_name="A & B",
            epoch=2,
            version="1.0",
            release="3",
            arch="i686",
            install_path="C:\\a",
            publisher="P",
            url="http://x/?a&b",
            source_package="src",
            summary='says "hello"',
            description="one\n two\ttabs\r",
        ),
    ),
)

WINDOWS_XML = """\
<?xml version="1.0"?>
<operatingsystems>
  <operatingsystem>
    <root>/dev/sda2</root>
    <name>windows</name>
    <arch>x86_64</arch>
    <distro>windows</distro>
    <product_name>Windows &quot;NT&quot; &lt;&amp; 'co&gt;</product_name>
    <product_variant>Server</product_variant>
    <major_version>10</major_version>
    <minor_version>0</minor_version>
    <windows_systemroot>/Windows</windows_systemroot>
    <windows_current_control_set>ControlSet001</windows_current_control_set>
    <osinfo>win2k19</osinfo>
    <mountpoints>
      <mountpoint dev="/dev/sda2">/</mountpoint>
      <mountpoint dev="/dev/sda9">/é</mountpoint>
      <mountpoint dev="/dev/sda4">/abc</mountpoint>
      <mountpoint dev="/dev/sda3">/srv/long</mountpoint>
    </mountpoints>
    <filesystems>
      <filesystem dev="/dev/mapper/&#xFC;"/>
      <filesystem dev="/dev/sda10">
        <type>ext4</type>
      </filesystem>
      <filesystem dev="/dev/sda2">
        <type>ntfs</type>
        <label>data disk</label>
        <uuid>1234</uuid>
      </filesystem>
      <filesystem dev="/dev/sda3"/>
    </filesystems>
    <drive_mappings>
      <drive_mapping name="C">/dev/sda2</drive_mapping>
      <drive_mapping name="d">/dev/sda3</drive_mapping>
    </drive_mappings>
    <applications>
      <application>
        <name>a</name>
        <display_name>A &amp; B</display_name>
        <epoch>2</epoch>
        <version>1.0</version>
        <release>3</release>
        <arch>i686</arch>
        <install_path>C:\\a</install_path>
        <publisher>P</publisher>
        <url>http://x/?a&amp;b</url>
        <source_package>src</source_package>
        <summary>says &quot;hello&quot;</summary>
        <description>one
 two\ttabs&#13;</description>
      </application>
    </applications>
    <icon>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1\r
Njc4OTo7</icon>
  </operatingsystem>
</operatingsystems>
"""


def test_everything_that_virt_inspector_can_say() -> None:
    filesystems = (
        filesystem("/dev/sda2", type="ntfs", label="data disk", uuid="1234"),
        filesystem("/dev/sda10", type="ext4"),
        filesystem("/dev/sda3"),
    )
    assert xml(WINDOWS, filesystems=filesystems) == WINDOWS_XML


def test_packages_that_nobody_asked_for_are_left_out_and_unreadable_ones_are_not() -> None:
    """Like virt-inspector, with --no-applications and with a database that libguestfs cannot read."""
    unasked = replace(BARE, applications_complete=False)
    assert "applications" not in xml(unasked)
    failure = PartFailure(part="applications", message="no", op="", errno=0)
    assert xml(replace(unasked, failures=(failure,))) == BARE_XML


# ---- characters


@pytest.mark.parametrize(
    "text",
    ["", "plain", "<a href=\"x\">'&amp;'</a>", " \t\r\n ", "é日\U0001f600\ufffd", "a]]>b", "%s&#0;\\"],
    ids=ascii,
)
def test_texts_and_attributes_are_written_as_libxml2_does(text: str) -> None:
    expected = document_of(text, text)
    assert block("mountpoints", xml(replace(BARE, mountpoints={text: text}))) == block(
        "mountpoints", expected
    )


@pytest.mark.parametrize("size", [1, 53, 54, 55, 108, 5000])
def test_an_icon_is_written_as_libxml2_does(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    libxml = LibXml()
    with libxml.element(b"icon"):
        libxml.base64(content)
    expected = libxml.end().partition("\n")[2]
    assert f"    {expected}" in xml(replace(BARE, icon=content))


@pytest.mark.parametrize(
    "text", ["\x7f\x80\x9b31m", "a\u202eb\u2066\u200b\ufeff", "\u2028\U000e0041"], ids=ascii
)
def test_what_nobody_sees_reaches_no_terminal_and_means_the_same(text: str) -> None:
    hostile = replace(BARE, hostname=text, mountpoints={text: text})
    written = xml(hostile)
    assert not set(text) & set(written) - {"3", "1", "m", "a", "b"}
    top = ElementTree.fromstring(written)
    assert top.findtext("operatingsystem/hostname") == text
    (mountpoint,) = top.iter("mountpoint")
    assert (mountpoint.text, mountpoint.get("dev")) == (text, text)


def test_what_xml_cannot_have_is_replaced() -> None:
    top = ElementTree.fromstring(xml(replace(BARE, hostname="\x00\x1b\udcff\ud800\uffff!")))
    assert top.findtext("operatingsystem/hostname") == "\ufffd" * 5 + "!"


def test_what_libguestfs_does_not_tell_of_a_package_is_not_in_the_xml() -> None:
    """virt-inspector does not write it: libguestfs knows no maintainer, and few source packages."""
    more = replace(
        DEMO_SYSTEM.applications[0],
        publisher="maintainer",
        source_package="source",
        license="MIT",
        source_version="9",
    )
    for kind, told in (("deb", {"source"}), ("rpm", set()), ("apk", set()), ("pacman", set())):
        text = xml(replace(DEMO_SYSTEM, package_format=kind, applications=(more,)))
        assert {one for one in ("maintainer", "source", "MIT") if f">{one}<" in text} == told
