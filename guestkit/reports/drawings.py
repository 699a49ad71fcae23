"""How a guest's disks are divided, as bars to scale: disks with partitions, volume groups with volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from guestkit._usage import share_of
from guestkit.inspection import Filesystem, Inspection, Layer

#: How many bars a guest gets, and how many pieces a bar.
MOST_BARS = 40
MOST_PIECES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a bar.

    Attributes:
        start: in bytes
        size: in bytes
        device: its name; "": what is left over, or unknown
        label: what it holds
        kind: "filesystem", "layer" (another bar shows what is in it), "swap", "closed" (it could not be
            opened), "other", "rest" (of a layer: what has no known size)
        used: the share that is used, from 0 to 1; None: unknown
    """

    start: int
    size: int
    device: str
    label: str
    kind: str
    used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A disk or a layer.

    Attributes:
        share: its size, of that of the guest's largest bar, from 0 to 1
    """

    title: str
    size: int
    share: float
    pieces: Sequence[Piece]


def bars(inspection: Inspection) -> tuple[Bar, ...]:
    """Return the bars of a guest: its disks, then what lies on them. What has no known size has no bar."""
    drawn = list(islice(_Drawing(inspection).bars(), MOST_BARS))
    largest = max((size for _, size, _ in drawn), default=0)
    return tuple(
        Bar(title=title, size=size, share=size / largest, pieces=tuple(pieces[:MOST_PIECES]))
        for title, size, pieces in drawn
    )


class _Drawing:
    def __init__(self, inspection: Inspection) -> None:
        self._found = inspection
        self._filesystems = {one.device: one for one in inspection.filesystems}
        self._closed = {one.device: one for one in inspection.unopened}
        self._layer_on = {member: layer for layer in inspection.layers for member in layer.members}
        self._sizes: dict[str, int] = {one.device: one.size or 0 for one in inspection.filesystems}
        self._names = {one.device: one.name for one in inspection.partitions}
        self._sizes.update((one.device, one.size) for one in inspection.partitions)
        self._sizes.update((one.device, one.virtual_size) for one in inspection.disks)
        self._capacities = self._measured()

    def _measured(self) -> Mapping[int, int]:
        """Return the size of each layer, by its number. A layer can lie on another, whatever their order."""
        capacities: dict[int, int] = {}
        for _ in self._found.layers:
            before = len(capacities)
            for number, layer in enumerate(self._found.layers):
                if number in capacities or not all(map(self._sizes.get, layer.members)):
                    continue
                capacities[number] = _capacity(layer, [self._sizes[member] for member in layer.members])
                if layer.kind != "lvm":  # the one device on top is the whole
                    self._sizes.update(dict.fromkeys(layer.devices, capacities[number]))
            if len(capacities) == before:
                break
        return capacities

    def bars(self) -> Iterator[tuple[str, int, list[Piece]]]:
        for disk in self._found.disks:
            parts = [
                self._piece(one.device, one.start, one.size)
                for one in sorted(self._found.partitions, key=lambda one: (one.start, -one.size))
                if one.disk == disk.device
            ]
            whole = [] if parts else [self._piece(disk.device, 0, disk.virtual_size)]
            if disk.virtual_size > 0:
                yield disk.device, disk.virtual_size, parts or whole
        for number, layer in enumerate(self._found.layers):
            capacity = self._capacities.get(number, 0)
            if capacity > 0:
                yield _title(layer), capacity, list(self._volumes(layer, capacity))

    def _piece(self, device: str, start: int, size: int) -> Piece:
        layer = self._layer_on.get(device)
        filesystem = self._filesystems.get(device)
        if layer is not None:
            return Piece(start=start, size=size, device=device, label=_title(layer), kind="layer")
        if filesystem is not None:
            return Piece(
                start=start, size=size, device=device, label=_said(filesystem), kind=_kind(filesystem),
                used=share_of(filesystem),
            )  # fmt: skip
        closed = self._closed.get(device)
        if closed is not None:
            return Piece(
                start=start, size=size, device=device, label=closed.type or closed.reason, kind="closed"
            )
        return Piece(start=start, size=size, device=device, label=self._names.get(device, ""), kind="other")

    def _volumes(self, layer: Layer, capacity: int) -> Iterator[Piece]:
        """Return the devices on a layer one after the other: where in it they lie is not known."""
        if layer.kind != "lvm":
            for device in layer.devices[:1]:
                yield self._piece(device, 0, capacity)
            if not layer.devices:
                yield Piece(start=0, size=capacity, device="", label="not opened", kind="closed")
            return
        place = 0
        unsized = []
        for device in layer.devices:
            size = min(self._sizes.get(device, 0), capacity - place)
            if size > 0:
                yield self._piece(device, place, size)
                place += size
            else:
                unsized.append(device)
        if place < capacity:
            label = ", ".join([*unsized[:MOST_PIECES], "rest"])
            yield Piece(start=place, size=capacity - place, device="", label=label, kind="rest")


def _title(layer: Layer) -> str:
    words = {"lvm": "volume group", "luks": "LUKS", "bitlocker": "BitLocker", "md": layer.level or "RAID"}
    name = layer.name or " ".join(layer.members)
    return f"{words.get(layer.kind, layer.kind)} {name}".strip()


def _capacity(layer: Layer, sizes: Sequence[int]) -> int:
    """Return what a layer holds at most."""
    smallest, count = min(sizes, default=0), len(sizes)
    match layer.level if layer.kind == "md" else "":
        case "raid1":
            return smallest
        case "raid4" | "raid5":
            return smallest * (count - 1)
        case "raid6":
            return smallest * (count - 2)
        case "raid10":
            return smallest * count // 2
        case _:
            return sum(sizes)


def _kind(filesystem: Filesystem) -> str:
    if filesystem.type == "swap":
        return "swap"
    return "other" if filesystem.type == "unknown" else "filesystem"


def _said(filesystem: Filesystem) -> str:
    return " ".join(word for word in (filesystem.type, filesystem.label) if word)
