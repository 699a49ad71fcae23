"""A guest's files for every tool that takes fsspec's filesystems: pandas, pyarrow, Dask, universal_pathlib.

    fsspec.open("guestkit:///etc/os-release::file:///images/web.qcow2")
    GuestFileSystem("web.qcow2").ls("/etc")

Importing this module registers the protocol "guestkit"; for an installed guestkit, fsspec finds it by itself.
The names here are public; the modules of this package are not.
"""

from guestkit._extras import install

try:
    import fsspec  # type: ignore[import-untyped]
except ImportError as _error:
    raise ImportError(f"guestkit.fs needs fsspec: {install('fs')}", name="fsspec") from _error

from guestkit.fs.filesystem import GuestFileSystem

__all__ = ["GuestFileSystem"]

fsspec.register_implementation("guestkit", GuestFileSystem, clobber=True)
