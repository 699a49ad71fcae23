from collections.abc import Callable, Iterable
from typing import Literal, overload

from _typeshed import ReadableBuffer, StrOrBytesPath
from typing_extensions import deprecated

from guestkit.errors import Error
from guestkit.generated import structs

def use_error_types(types: tuple[type[Error], type[Error], type[Error], type[Error]]) -> None:
    """Have these classes raised: Error, HandleClosed, LaunchError, ApplianceCrashed."""

class Handle:
    """A libguestfs handle: the actions. guestkit.Guestfs is the class to use."""

    def __init__(self, environment: bool, accel: str, log_level: int) -> None: ...
    def close(self) -> None: ...
    def is_open(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def add_event_callback(self, callback: Callable[[int, int, str, list[int]], object], events: int) -> int: ...
    def delete_event_callback(self, number: int) -> None: ...

    # @actions
