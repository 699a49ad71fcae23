from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from _typeshed import ReadableBuffer, StrOrBytesPath
from typing_extensions import deprecated

from guestkit.errors import Error
from guestkit.generated import structs
from guestkit.generated.values import ApplianceMode
from guestkit.guest import NativeMountOptions
from guestkit.handle_options import NativeHandleOptions
from guestkit.opening import NativeOpenDiskOptions
from guestkit.inspection import NativeInspectOptions

LIBGUESTFS: str  # the release that the module was built for
MAX_DEPTH: int  # the limits of walk and extract: guestkit.files says of what
MAX_ENTRIES: int
MAX_TEXT: int
MAX_BYTES: int

def use_error_types(types: tuple[type[Error], ...]) -> None:
    """Have these raised: Error, HandleClosed, LaunchError, ApplianceCrashed, ApplianceKilled, CallTimeout."""

def probe(path: StrOrBytesPath, format: StrOrBytesPath | None) -> dict[str, Any]:
    """Read the header of a disk image. guestkit.probe is the function to use."""

def set_appliance_limit(limit: int | None) -> None:
    """guestkit.set_appliance_limit is the function to use."""

def check_disk(op: str, path: StrOrBytesPath, options: NativeOpenDiskOptions, inherited: bool) -> tuple[dict[str, Any], str, tuple[int, ...]]:
    """Open the disk and all that it leads to: what it is, as QEMU's JSON, by descriptors that the caller closes.

    inherited: for a program that has them open under the same numbers
    """

def cage_program() -> str:
    """Tell which program shuts QEMU's programs in: that of the best appliance that is built; "" if there is none."""

def mountpoint(directory: StrOrBytesPath) -> str:
    """guestkit.fuse.mountpoint is the function to use."""

def cache_directory() -> str:
    """Tell where appliances are kept: guestkit.appliance.cache_directory is the function to use."""

def appliance_caches() -> tuple[str, ...]:
    """Tell where a launch looks for appliances: guestkit.appliance.search_path is the function to use."""

def system_appliance_cache() -> str:
    """Tell where root may keep appliances for all users: guestkit.appliance.SYSTEM_CACHE."""

def appliance_fault(directory: StrOrBytesPath) -> str:
    """Tell why an appliance must not be used. guestkit.appliance.check is the function to use."""

def template_reason(lean: StrOrBytesPath) -> str:
    """Tell why a launch boots this lean appliance instead of restoring a warm one; "" if it restores one."""

def unknown_rules(major: int, minor: int, release: int, extra: str) -> str:
    """Tell why an inspection asks libguestfs of that version about every guest; "" if it need not."""

def kvm_status(qemu: str) -> tuple[bool, str]:
    """Tell whether KVM works with that QEMU, and if not, why. guestkit.doctor tells it with the rest."""

def sandbox_status(qemu: str) -> tuple[bool, str]:
    """Tell whether that QEMU can filter its system calls, and if not, why; as kvm_status."""

def landlock_version() -> int:
    """Return the version of the kernel's Landlock, which sandbox="strict" needs; 0 if there is none."""

def available_memory() -> int:
    """Return how much memory this process may still take, in bytes, its control groups' limits included."""

def appliance_memory(mode: ApplianceMode) -> int:
    """Return how much memory an appliance comes to use, in bytes: what a launch waits for."""

def available_processors() -> int:
    """Return how many processors this process may use, the quotas of its control groups included."""

def private_directory_fault(directory: StrOrBytesPath) -> str:
    """Tell why what lies in a directory must not be trusted: others than this user and root can change it."""

def make_directory(directory: StrOrBytesPath, mode: int) -> str:
    """Create the directory and missing parents with that mode; return why that fails, "" if it is there.

    In another user's directory nothing is made: root's would keep that user from making their own.
    """

def make_private_directory(directory: StrOrBytesPath, mode: int) -> str:
    """Do the same, and return why the directory must not be used, such as that another user could change it.

    Where it must not, nothing that was made for it is left.
    """

def gil_seconds(rounds: int) -> float:
    """Measure what releasing the GIL and taking it back takes, for benchmarks/calls.py."""

class Handle:
    """A libguestfs handle: the actions. guestkit.Guestfs is the class to use."""

    def __init__(self, options: NativeHandleOptions) -> None: ...
    def close(self) -> None: ...
    def is_open(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def cancel(self) -> None: ...
    def terminate(self) -> None: ...
    def _begin_turn(self, name: str) -> None: ...
    def _begin_opening(self) -> None: ...
    def _check_turn(self) -> None: ...
    def _end_turn(self) -> None: ...
    def _turn_seconds(self, rounds: int) -> float: ...
    def _inspect(self, disks: Iterable[StrOrBytesPath], options: NativeInspectOptions, spent: float) -> dict[str, Any]: ...
    def _mount_guest(self, options: NativeMountOptions) -> dict[str, Any]: ...
    def _mount(self, directory: StrOrBytesPath, readonly: bool, allow_other: bool, dedicated: bool) -> str: ...
    def _await_unmount(self) -> None: ...
    def _unmount(self) -> None: ...
    def _read_small(self, path: StrOrBytesPath, limit: int) -> bytes: ...
    def _read_files(self, paths: Iterable[StrOrBytesPath], limit: int) -> dict[str, bytes | tuple[str, int]]: ...
    def _walk(self, directory: StrOrBytesPath, max_depth: int, max_entries: int, size: int) -> tuple[dict[str, Any], ...]: ...
    def _extract(
        self,
        path: StrOrBytesPath,
        host_directory: StrOrBytesPath,
        max_bytes: int,
        max_entries: int,
        progress: Callable[[str, int], object] | None,
    ) -> dict[str, Any]: ...
    def _open_disk(self, path: StrOrBytesPath, options: NativeOpenDiskOptions) -> dict[str, Any]: ...
    def last_launch(self) -> dict[str, Any] | None: ...
    def add_event_callback(self, callback: Callable[[int, int, str, list[int]], object], events: int) -> int: ...
    def delete_event_callback(self, number: int) -> None: ...

    # @actions
