from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal, overload

from _typeshed import ReadableBuffer, StrOrBytesPath
from typing_extensions import deprecated

from guestkit.generated import structs

_ProgressCallback = Callable[[int, int], object]

class AsyncActions:
    """Every action of libguestfs as a method that returns a coroutine: what AsyncGuestfs inherits."""

    # @actions
