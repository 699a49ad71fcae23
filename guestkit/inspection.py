"""What is on a guest's disks, as values: `guestkit.inspect` and `Guestfs.inspect` return an `Inspection`.

Every text in it is the guest's: hostile.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: The name of the JSON form, with its version: keys are added under the same one, never taken away.
SCHEMA = "guestkit.inspection/2"

#: What can be gathered beyond the operating systems themselves. Each costs time.
Part = Literal[
    "filesystems",
    "applications",
    "users",
    "kernels",
    "services",
    "network",
    "locale",
    "machine_id",
    "icon",
]
DEFAULT_PARTS: Collection[Part] = ("filesystems", "applications")
ALL_PARTS: Collection[Part] = get_args(Part)

Mode = Literal["auto", "libguestfs"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key for encrypted disks. Its repr, the logs and all errors are without the secret.

    Attributes:
        passphrase: the key itself
        file: the file on this host that begins with it, up to the first line break
        device: what it is for: the appliance's name, such as "/dev/sda2", or a UUID; "": all are tried
    """

    passphrase: str | bytes | None = field(default=None, repr=False)
    file: str | bytes | os.PathLike[str] | None = None
    device: str = ""

    def __post_init__(self) -> None:
        if (self.passphrase is None) == (self.file is None):
            raise ValueError("a key is either a passphrase or a file")

    def _native(self) -> tuple[bytes, bytes, bool]:
        if self.file is not None:
            return os.fsencode(self.device), os.fsencode(self.file), True
        assert self.passphrase is not None
        secret = self.passphrase if isinstance(self.passphrase, bytes) else self.passphrase.encode()
        return os.fsencode(self.device), secret, False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFailure:
    """Something that was asked for and could not be found out.

    Attributes:
        part: what is missing, such as "applications"
        message: why, in one line
        op: the libguestfs action that failed; "": none did
        errno: an errno value, 0 where there is none
    """

    part: str
    message: str
    op: str
    errno: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk under its name in the appliance. `format` is "" where guestkit did not open it itself."""

    device: str
    format: str
    virtual_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition; in bytes. `type` is a GUID in a GPT, in an MBR a number such as "0x83"."""

    device: str
    disk: str
    number: int
    start: int
    size: int
    scheme: str
    type: str
    uuid: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What is between the partitions and the filesystems.

    Attributes:
        kind: "lvm" (a volume group), "luks", "bitlocker", "md"
        level: of an array: "raid1", …
        members: the devices beneath
        devices: the devices on top; none: it was not opened
    """

    kind: str
    name: str
    uuid: str
    level: str
    members: Sequence[str]
    devices: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """A filesystem or swap space. Sizes in bytes, None where it was not mounted."""

    device: str
    type: str
    label: str
    uuid: str
    size: int | None
    used: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnopenedFilesystem:
    """What may be a filesystem, but nobody could look inside.

    Attributes:
        type: as far as known: "crypto_LUKS", "ntfs", …
        uuid: by which a `Key` can be given
        reason: "encrypted", "hibernated", "unknown" or "damaged"
        message: the same for people: which key it wants, what the kernel said
    """

    device: str
    type: str
    uuid: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An installed package, in the terms of its package format."""

    name: str
    display_name: str
    epoch: int
    version: str
    release: str
    arch: str
    install_path: str
    publisher: str
    url: str
    source_package: str
    summary: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    full_name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel: the paths of its image and initrd, "" for none, and whether its modules are there."""

    version: str
    image: str
    initrd: str
    modules: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInterface:
    """A network interface as the file `source` sets it up; `method`: "dhcp", "static", … as it says."""

    name: str
    method: str
    addresses: Sequence[str]
    gateway: str
    dns: Sequence[str]
    mac: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsFacts:
    """What only Windows has; "" where libguestfs did not find it."""

    systemroot: str
    software_hive: str
    system_hive: str
    current_control_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """An operating system on the disks. libguestfs says "unknown", and 0 for versions, where it cannot tell.

    Attributes:
        root: the filesystem that holds it
        osinfo: libosinfo's short name
        build_id: of Windows; "" where libguestfs is too old to tell
        mountpoints: mountpoint to filesystem, shorter mountpoints first
        filesystems: what belongs to it, mounted or not
        drive_mappings: Windows' drive letters
        os_release: what that file itself says
        icon: a PNG
        applications_complete: whether `applications` are all: never for a database that cannot be read
        services: that start by themselves
        failures: what was asked for and could not be found out
    """

    root: str
    type: str
    distro: str
    product_name: str
    product_variant: str
    major_version: int
    minor_version: int
    arch: str
    hostname: str
    package_format: str
    package_management: str
    osinfo: str
    build_id: str
    mountpoints: Mapping[str, str]
    filesystems: Sequence[str]
    drive_mappings: Mapping[str, str]
    windows: WindowsFacts | None
    os_release: Mapping[str, str]
    icon: bytes | None
    applications: Sequence[Application]
    applications_complete: bool
    users: Sequence[User]
    kernels: Sequence[Kernel]
    services: Sequence[str]
    network: Sequence[NetworkInterface]
    timezone: str
    locale: str
    machine_id: str
    failures: Sequence[PartFailure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How the answer was found.

    Attributes:
        way: "fast": guestkit's own rules; "libguestfs": inspect_os
        reason: why it was not fast; "": it was
        guestkit, libguestfs: the versions
        verified: whether both ways were gone
        differences: where they differ; then libguestfs' answer is the one reported
    """

    way: str
    reason: str
    guestkit: str
    libguestfs: str
    verified: bool
    differences: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything known about the disks of one guest.

    Attributes:
        layers: LVM's volume groups, encrypted devices, arrays
        unopened: filesystems that could not be opened, each with the reason
    """

    schema: str = field(default=SCHEMA, init=False)
    provenance: Provenance
    disks: Sequence[Disk]
    partitions: Sequence[Partition]
    layers: Sequence[Layer]
    filesystems: Sequence[Filesystem]
    unopened: Sequence[UnopenedFilesystem]
    operating_systems: Sequence[OperatingSystem]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as dictionaries, for `json.dumps`; `json_schema` describes them.

        Keys are only ever added. An icon is in base64.
        """
        found = asdict(self)
        for system in found["operating_systems"]:
            if system["icon"] is not None:
                system["icon"] = base64.b64encode(system["icon"]).decode("ascii")
        return found

    def to_xml(self) -> str:
        """Return the operating systems as virt-inspector(1) writes them, with what was gathered."""
        from guestkit._virt_inspector import to_xml

        return to_xml(self)


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of `Inspection.to_dict`."""
    text = resources.files("guestkit").joinpath("inspection.schema.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def inspection(found: Mapping[str, Any]) -> Inspection:
    """Make the value of the bindings' dict."""
    return Inspection(
        provenance=Provenance(**found["provenance"]),
        disks=tuple(Disk(**disk) for disk in found["disks"]),
        partitions=tuple(Partition(**partition) for partition in found["partitions"]),
        layers=tuple(Layer(**layer) for layer in found["layers"]),
        filesystems=tuple(Filesystem(**filesystem) for filesystem in found["filesystems"]),
        unopened=tuple(UnopenedFilesystem(**filesystem) for filesystem in found["unopened"]),
        operating_systems=tuple(_operating_system(system) for system in found["operating_systems"]),
    )


def _operating_system(found: Mapping[str, Any]) -> OperatingSystem:
    windows = found["windows"]
    values: dict[str, Any] = {
        **found,
        "mountpoints": dict(found["mountpoints"]),
        "windows": None if windows is None else WindowsFacts(**windows),
        "applications": tuple(Application(**app) for app in found["applications"]),
        "users": tuple(User(**user) for user in found["users"]),
        "kernels": tuple(Kernel(**kernel) for kernel in found["kernels"]),
        "network": tuple(NetworkInterface(**interface) for interface in found["network"]),
        "failures": tuple(PartFailure(**failure) for failure in found["failures"]),
    }
    return OperatingSystem(**values)


def parts_number(parts: Iterable[str]) -> int:
    """Return the parts as the bindings take them. ValueError for an unknown part."""
    if isinstance(parts, (str, bytes)):
        raise TypeError(f"inspect() argument 'parts' must be a collection of names, not {parts!r}")
    order = get_args(Part)
    number = 0
    for part in parts:
        if part not in order:
            raise ValueError(f"inspect() argument 'parts' has {part!r}; there are: {', '.join(order)}")
        number |= 1 << order.index(part)
    return number


def native_keys(keys: Iterable[Key]) -> tuple[tuple[bytes, bytes, bool], ...]:
    """Return the keys as the bindings take them."""
    return tuple(key._native() for key in keys)


def is_automatic(mode: str) -> bool:
    """Tell whether guestkit's own rules may be used."""
    if mode not in get_args(Mode):
        raise ValueError(f'inspect() argument \'mode\' must be "auto" or "libguestfs", not {mode!r}')
    return mode == "auto"


def path_list(disk: StrOrBytesPath | Sequence[StrOrBytesPath]) -> tuple[StrOrBytesPath, ...]:
    """Return the disks of one guest: a path, or a sequence of them."""
    return (disk,) if isinstance(disk, (str, bytes, os.PathLike)) else tuple(disk)
