"""`HandleOptions`: everything that can be chosen about a handle, as one value.

It is checked here, once, and then travels whole: through whatever opens a handle, to `handle_options_of` in
bindings/handle.cpp.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Literal, TypedDict, get_args

#: How the appliance's processor runs.
Accel = Literal["auto", "kvm", "tcg"]
#: Whether an emulated appliance's kernel gets arguments that make it faster.
Tuning = Literal["auto", "none"]

#: How far QEMU is confined.
Sandbox = Literal["auto", "strict", "none"]

#: `HandleOptions` as C++ takes them: environment, accel, whether tuning is automatic, sandbox, appliance, the
#: log's level, and the limits in seconds: launch, call, close, admission, cancel_grace, queue.
NativeHandleOptions = tuple[
    bool, Accel, bool, Sandbox, bytes, int, float | None, float, float, float, float, float
]

_log = logging.getLogger("guestkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleOptions:
    """The options of a new handle: `Guestfs(options)`, or `Guestfs(accel="tcg")` for one or another.

    The limits are in seconds, also of a fraction; a call that takes longer is stopped and raises CallTimeout.
    None is no limit, except for launch_timeout and cancel_grace. Raises TypeError or ValueError that names
    the wrong option.

    Attributes:
        environment: take LIBGUESTFS_* and TMPDIR from the environment
        close_on_exit: close the handle when the interpreter exits, if it is still open and idle
        accel: how the appliance's processor runs: "kvm" (or the launch fails), "tcg" (emulation: works
            everywhere, several times slower), "auto" (KVM where it works, else TCG, with a line in the log)
        tuning: "auto": pass an emulated appliance kernel arguments that make it faster; "none": do not
        sandbox: how far QEMU, which runs as your user, is confined in case a disk takes it over: "auto": it
            filters its system calls (seccomp) where it can, which `launch_info().sandbox` tells; "strict":
            it does, and reaches of what is yours no more than its disks (SECURITY.md), or the launch
            fails; "none": not at all, as parameters of `config` by which QEMU runs programs need it
        appliance: "auto": the fastest one that `guestkit appliance build` has made, as long as it matches
            what is installed and you set neither a search path nor a hypervisor; "inspection": like "auto",
            but a restored one is ready sooner, since its udev sleeps until a block device appears or changes:
            programs of the guest may miss links in /dev/disk; "system": libguestfs' own; or the directory of
            a fixed appliance
        launch_timeout: for `launch`; None: 60 with KVM, 300 otherwise; `math.inf`: no limit
        call_timeout: for every other call, from when it starts to run
        close_timeout: for `close`; then the hypervisor is killed
        admission_timeout: how long `launch` may wait for memory that this process' other appliances use;
            launch_timeout starts only after that
        cancel_grace: how long a call may go on after a cancel or timeout before the hypervisor is killed; a
            number, never None, since a call that does not stop would go on for ever
        queue_timeout: how long a call may wait for its turn while the handle's earlier calls run; after that
            it does not run at all
    """

    environment: bool = True
    close_on_exit: bool = True
    accel: Accel = "auto"
    tuning: Tuning = "auto"
    sandbox: Sandbox = "auto"
    appliance: str | os.PathLike[str] = "auto"
    launch_timeout: float | None = None
    call_timeout: float | None = None
    close_timeout: float | None = 60.0
    admission_timeout: float | None = 600.0
    cancel_grace: float = 2.0
    queue_timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("environment", "close_on_exit"):
            if not isinstance(given := getattr(self, name), bool):
                raise TypeError(f"Guestfs() argument '{name}' must be bool, not {type(given).__name__}")
        if not isinstance(self.accel, str):
            raise TypeError(f"Guestfs() argument 'accel' must be str, not {type(self.accel).__name__}")
        if self.accel not in get_args(Accel):
            raise ValueError(f'accel must be "auto", "kvm" or "tcg", not {self.accel!r}')
        if self.tuning not in get_args(Tuning):
            raise ValueError(f'tuning must be "auto" or "none", not {self.tuning!r}')
        if self.sandbox not in get_args(Sandbox):
            raise ValueError(f'sandbox must be "auto", "strict" or "none", not {self.sandbox!r}')
        directory = os.fsencode(self.appliance)
        if b"\0" in directory or not directory:
            raise ValueError(
                f'appliance must be "auto", "inspection", "system" or a directory, not {self.appliance!r}'
            )
        for name in _LIMITS:
            check_limit("Guestfs", name, getattr(self, name))
        if self.cancel_grace is None:  # a call that cannot be stopped would go on for ever
            raise TypeError("Guestfs() argument 'cancel_grace' must be a number of seconds, not None")

    def native(self) -> NativeHandleOptions:
        """Return the options as C++ takes them, with the level that the log has now."""
        return (
            self.environment,
            self.accel,
            self.tuning == "auto",
            self.sandbox,
            os.fsencode(self.appliance),
            _log.getEffectiveLevel(),
            self.launch_timeout,  # None is not infinite: it depends on the accelerator
            _seconds(self.call_timeout),
            _seconds(self.close_timeout),
            _seconds(self.admission_timeout),
            self.cancel_grace,
            _seconds(self.queue_timeout),
        )


class LaunchKeywords(TypedDict, total=False):
    """The fields of `HandleOptions` as keyword arguments, without those about single calls."""

    environment: bool
    close_on_exit: bool
    accel: Accel
    tuning: Tuning
    sandbox: Sandbox
    appliance: str | os.PathLike[str]
    launch_timeout: float | None
    close_timeout: float | None
    admission_timeout: float | None
    queue_timeout: float | None


class HandleKeywords(LaunchKeywords, total=False):
    """The fields of `HandleOptions` as keyword arguments, for type checkers and editors."""

    call_timeout: float | None
    cancel_grace: float


def options_from(
    options: HandleOptions | None,
    keywords: HandleKeywords,
    default: HandleOptions | None = None,
    op: str = "Guestfs",
) -> HandleOptions:
    """Return the options of op, None for the default, with the keywords in place of their fields."""
    if options is None:
        options = default or HandleOptions()
    if not isinstance(options, HandleOptions):
        raise TypeError(f"{op}() takes HandleOptions, not {type(options).__name__}")
    if unknown := set(keywords) - set(HandleOptions.__dataclass_fields__):
        if "timeout" in unknown:
            raise TypeError(
                f"{op}() takes no 'timeout': call_timeout= limits each call, launch_timeout= the launch"
            )
        raise TypeError(f"{op}() got an unexpected keyword argument {min(unknown)!r}")
    return replace(options, **keywords)


def name_options_of(function: Callable[..., object], *values: object, without: Collection[str] = ()) -> None:
    """Have help() and `inspect.signature` name the options that the function takes as **keywords.

    values: what the options are where none is given: their names are those of its fields
    without: fields that it does not take
    """
    of_function = signature(function)
    own = [each for each in of_function.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    known = {*of_function.parameters, *without}
    options = [
        each.replace(default=getattr(value, each.name))
        for value in values
        for each in signature(type(value)).parameters.values()
    ]
    all_of_them = [*own, *(each for each in options if each.name not in known)]
    all_of_them.sort(key=lambda each: each.name == "on_cancel")  # last, as everywhere
    function.__signature__ = of_function.replace(parameters=all_of_them)  # type: ignore[attr-defined]


#: The fields that are limits, in seconds.
_LIMITS = tuple(name for name in HandleOptions.__dataclass_fields__ if name.endswith(("_timeout", "_grace")))


def check_limit(op: str, name: str, given: float | None) -> None:
    """Raise TypeError or ValueError, naming the argument of op, if this is no limit."""
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(
            f"{op}() argument '{name}' must be a number of seconds or None, not {type(given).__name__}"
        )
    if not given >= 0:
        raise ValueError(f"{op}() argument '{name}' must not be negative: {given}")


def _seconds(given: float | None) -> float:
    return math.inf if given is None else given


#: For handles that inspect a guest.
INSPECTION = HandleOptions(appliance="inspection")
