"""Guests of libvirt's test driver, which keeps them in a file: virsh -c test:///FILE."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr


def write(path: Path, *domains: str) -> str:
    """Write the file; return libvirt's URI for it."""
    name = "http://libvirt.org/schemas/domain/test/1.0"
    path.write_text(f"<node xmlns:test='{name}'>{''.join(domains)}</node>", encoding="utf-8")
    return f"test://{path}"


def domain(name: str, *disks: str, runs: bool = False, saved: bool = False) -> str:
    state = "" if runs else "<test:runstate>5</test:runstate>"
    kept = "<test:hasmanagedsave>1</test:hasmanagedsave>" if saved else ""
    return (
        f"<domain type='test'>{state}{kept}<name>{name}</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{''.join(disks)}</devices></domain>"
    )


def disk(path: Path | None, format: str | None = "qcow2", device: str = "disk", target: str = "vda") -> str:
    source = "" if path is None else f"<source file={quoteattr(str(path))}/>"
    driver = "" if format is None else f"<driver name='qemu' type='{format}'/>"
    return f"<disk type='file' device='{device}'>{driver}{source}<target dev='{target}'/></disk>"


def network_disk(protocol: str, name: str, host: str) -> str:
    return (
        f"<disk type='network'><driver name='qemu' type='raw'/>"
        f"<source protocol='{protocol}' name='{name}'>{host}</source><target dev='vdb'/></disk>"
    )
