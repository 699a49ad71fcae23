"""The tree of exceptions, and their messages."""

from __future__ import annotations

import contextlib
import copy
import errno
import inspect
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tblib import pickling_support  # type: ignore[import-untyped]

import guestkit
from guestkit import (
    ActionMissing,
    ApplianceCrashed,
    ApplianceError,
    ApplianceKilled,
    CallTimeout,
    Error,
    Guestfs,
    HandleClosed,
    LaunchError,
)
from guestkit.guest import mount_guest

if TYPE_CHECKING:
    from tests.python.conftest import Hypervisor

BASES: dict[type[Error], tuple[type[BaseException], ...]] = {
    Error: (RuntimeError,),
    HandleClosed: (Error, ValueError),
    ActionMissing: (Error, AttributeError),
    LaunchError: (Error,),
    ApplianceError: (Error,),
    ApplianceCrashed: (Error,),
    ApplianceKilled: (ApplianceCrashed,),
    CallTimeout: (Error, TimeoutError),
}

#: One of each, with every attribute that its class has.
SAMPLES: list[tuple[Error, dict[str, object]]] = [
    (Error("mount", "no such device", errno.ENODEV), {}),
    (HandleClosed("mount", "the handle is closed", errno.EBADF), {}),
    (ActionMissing("sh_out", "libguestfs lacks this action", errno.ENOSYS), {}),
    (
        ApplianceError("appliance", "no kernel", errno.ENOENT, "kernel_unreadable", "install one"),
        {"cause": "kernel_unreadable", "hint": "install one"},
    ),
    (ApplianceCrashed("mount", "the appliance is gone", errno.EPIPE), {}),
    (ApplianceKilled("mount", "cancelled", errno.EINTR), {}),
    (
        LaunchError("launch", "no KVM", errno.EACCES, "kvm", "use TCG", ["line 1", "line \udcff"]),
        {"cause": "kvm", "hint": "use TCG", "console": ("line 1", "line \udcff")},
    ),
    (
        CallTimeout("launch", "too slow", errno.ETIMEDOUT, 1.5, "launch_timeout", ["line 1"], False),
        {"seconds": 1.5, "clock": "launch_timeout", "console": ("line 1",), "handle_usable": False},
    ),
]


def name(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


# ---- the tree


@pytest.mark.parametrize(("kind", "bases"), BASES.items(), ids=name)
def test_each_class_stands_where_it_should(kind: type[Error], bases: tuple[type, ...]) -> None:
    assert kind.__bases__ == bases
    assert getattr(guestkit, kind.__name__) is kind
    assert issubclass(kind, RuntimeError)  # what upstream's binding raises
    assert kind.__doc__


def test_there_are_no_other_classes() -> None:
    public = {
        thing
        for thing in vars(guestkit).values()
        if inspect.isclass(thing) and issubclass(thing, BaseException)
    }
    assert public == set(BASES)
    assert {type(error) for error, _ in SAMPLES} == set(BASES)


@pytest.mark.parametrize(("error", "extra"), SAMPLES, ids=name)
def test_attributes(error: Error, extra: dict[str, object]) -> None:
    assert (error.op, error.message, error.errno) == error.args[:3]
    assert {attribute: getattr(error, attribute) for attribute in extra} == extra


@pytest.mark.parametrize("kind", BASES, ids=name)
def test_all_but_op_and_message_can_be_left_out(kind: type[Error]) -> None:
    error = kind("mount", "no such device")
    assert (error.op, error.message, error.errno) == ("mount", "no such device", 0)
    assert str(error) == "mount: no such device"
    incomplete: Any = kind
    with pytest.raises(TypeError):
        incomplete("mount")


def test_what_a_launch_error_has_by_default() -> None:
    error = LaunchError("launch", "failed")
    assert (error.cause, error.hint, error.console) == ("unknown", "", ())


def test_what_a_timeout_has_by_default() -> None:
    error = CallTimeout("launch", "failed")
    assert (error.seconds, error.clock, error.console) == (0.0, "call_timeout", ())
    assert error.cause == "call_timeout"
    assert CallTimeout("launch", "failed", clock="queue_timeout").cause == "queue_timeout"


# ---- text


@pytest.mark.parametrize(("error", "extra"), SAMPLES, ids=name)
def test_the_text_names_the_call_and_the_reason(error: Error, extra: dict[str, object]) -> None:
    assert str(error) == f"{error.op}: {error.message}" + (f"; {error.hint}" if error.hint else "")


@pytest.mark.parametrize("kind", [Error, LaunchError])
def test_the_text_ends_with_the_hint(kind: type[Error]) -> None:
    assert str(kind("launch", "no KVM", hint="use TCG")) == "launch: no KVM; use TCG"
    assert str(kind("launch", "no KVM")) == "launch: no KVM"


def test_only_what_is_known_of_an_error_is_in_its_repr() -> None:
    assert repr(Error("mount", "no", 2)) == "Error('mount', 'no', 2)"
    assert repr(Error("mount", "no", 2, "url", "x")) == "Error('mount', 'no', 2, 'url', 'x')"


@pytest.mark.parametrize(("error", "extra"), SAMPLES, ids=name)
def test_repr_can_be_read_back(error: Error, extra: dict[str, object]) -> None:
    again = eval(repr(error), dict(vars(guestkit)))
    assert type(again) is type(error)
    assert again.args == error.args


# ---- copies


@pytest.mark.parametrize(("error", "extra"), SAMPLES, ids=name)
@pytest.mark.parametrize(
    "copied",
    [
        *(
            lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        copy.copy,
        copy.deepcopy,
    ],
    ids=[*(f"pickle {n}" for n in range(pickle.HIGHEST_PROTOCOL + 1)), "copy", "deepcopy"],
)
def test_a_copy_has_everything(
    error: Error, extra: dict[str, object], copied: Callable[[Error], Error]
) -> None:
    error.add_note("a note")
    again = copied(error)
    assert type(again) is type(error)
    assert again is not error
    assert again.args == error.args
    assert (again.op, again.message, again.errno) == (error.op, error.message, error.errno)
    assert {attribute: getattr(again, attribute) for attribute in extra} == extra
    assert str(again) == str(error)
    assert again.__notes__ == error.__notes__


@pytest.mark.parametrize(("error", "extra"), SAMPLES, ids=name)
def test_an_error_crosses_dasks_processes(error: Error, extra: dict[str, object]) -> None:
    """Regression: once Dask's tblib was imported, no CallTimeout could be unpickled."""
    rebuild, arguments, *_ = pickling_support.pickle_exception(error)
    again = rebuild(*pickle.loads(pickle.dumps(arguments)))
    assert type(again) is type(error)
    assert (again.op, again.message, again.errno) == (error.op, error.message, error.errno)
    assert {attribute: getattr(again, attribute) for attribute in extra} == extra
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", BASES, ids=name)
def test_a_subclass_can_be_pickled_too(kind: type[Error]) -> None:
    again = pickle.loads(pickle.dumps(SUBCLASSES[kind]("mount", "no such device", 5)))
    assert type(again) is SUBCLASSES[kind]
    assert (again.op, again.message, again.errno) == ("mount", "no such device", 5)


def subclass(kind: type[Error]) -> type[Error]:
    made = type(f"Sub{kind.__name__}", (kind,), {"__module__": __name__})
    globals()[made.__name__] = made
    return made


SUBCLASSES = {kind: subclass(kind) for kind in BASES}


def test_an_error_of_libguestfs_can_be_pickled(g: Guestfs) -> None:
    with pytest.raises(Error) as caught:
        g.internal_test_set_output("/nowhere/\udcff")
    again = pickle.loads(pickle.dumps(caught.value))
    assert vars(again) == vars(caught.value)
    assert str(again) == str(caught.value)


# ---- what libguestfs says

FAILING = [
    f"internal_test_r{kind}err"
    for kind in (
        "int", "int64", "bool", "conststring", "string", "stringlist", "struct", "structlist",
        "hashtable", "bufferout",
    )
]  # fmt: skip


@pytest.mark.parametrize("op", FAILING)
def test_each_kind_of_result_can_fail(g: Guestfs, op: str) -> None:
    with pytest.raises(Error) as caught:
        getattr(g, op)()
    error = caught.value
    assert type(error) is Error
    assert (error.op, error.message, error.errno) == (op, "error", 0)
    assert error.args == (op, "error", 0)
    assert str(error) == f"{op}: error"


def test_every_failing_test_action_is_covered(api: dict[str, Any]) -> None:
    names = {action["name"] for action in api["actions"] if action["name"].startswith("internal_test_r")}
    # This kind cannot fail: NULL means that the text is absent, which is None.
    assert {name for name in names if name.endswith("err")} == {*FAILING, "internal_test_rconstoptstringerr"}


def test_an_errno_comes_along(g: Guestfs) -> None:
    with pytest.raises(Error, match="No such file or directory") as caught:
        g.internal_test_set_output("/nowhere/output")
    assert caught.value.op == "internal_test_set_output"
    assert caught.value.errno == errno.ENOENT


def test_what_needs_an_appliance_was_called_by_the_name_of_its_first_action() -> None:
    with Guestfs(environment=False) as g:
        calls: dict[str, Callable[[], object]] = {
            "mount_guest": lambda: mount_guest(g),
            "walk": lambda: g.walk("/"),
            "read_small": lambda: g.read_small("/etc/fstab"),
            "ls": lambda: g.ls("/"),
        }
        for op, call in calls.items():
            with pytest.raises(Error) as caught:
                call()
            assert str(caught.value) == f"{op}: the handle is not launched; call launch() first"


def test_the_call_is_named_once_also_where_libguestfs_names_it(g: Guestfs) -> None:
    with pytest.raises(Error) as caught:
        g.internal_test_rint("no number")
    assert caught.value.message == "expecting int argument"
    assert str(caught.value) == "internal_test_rint: expecting int argument"


@pytest.mark.parametrize("op", ["internal_test_rint", "internal_test_rint64"])
def test_a_failure_without_a_reason_says_so_and_not_success(g: Guestfs, op: str) -> None:
    # These return their argument, and in C -1 means failure, here without a message or an errno.
    with pytest.raises(Error) as caught:
        getattr(g, op)("-1")
    assert caught.value.errno == 0
    assert caught.value.message
    assert "Success" not in str(caught.value)


def test_a_failure_without_a_reason_does_not_repeat_the_last_one(g: Guestfs) -> None:
    with pytest.raises(Error):
        g.internal_test_set_output("/nowhere/output")
    with pytest.raises(Error) as caught:
        g.internal_test_rint("-1")
    assert "nowhere" not in str(caught.value)
    assert caught.value.errno == 0


def test_a_message_is_any_text(g: Guestfs) -> None:
    with pytest.raises(Error) as caught:
        g.internal_test_set_output("/nowhere/%s%n é \udcff\n")
    assert "/nowhere/%s%n é \udcff\n" in caught.value.message


def test_a_call_that_needs_the_appliance_says_that_it_is_not_there(g: Guestfs) -> None:
    with pytest.raises(Error, match="^list_filesystems: .*launch") as caught:
        g.list_filesystems()
    assert type(caught.value) is Error
    assert caught.value.op == "list_filesystems"


def test_a_handle_works_after_an_error(g: Guestfs) -> None:
    for _ in range(3):
        with pytest.raises(Error):
            g.internal_test_rinterr()
        assert g.internal_test_rint("5") == 5


# ---- classes by what happened


@pytest.mark.parametrize(
    ("op", "arguments"), [("get_path", []), ("mount", ["/dev/sda", "/"]), ("launch", []), ("shutdown", [])]
)
def test_a_closed_handle(op: str, arguments: list[str]) -> None:
    g = Guestfs()
    g.close()
    with pytest.raises(HandleClosed, match=f"^{op}: the handle is closed$") as caught:
        getattr(g, op)(*arguments)
    error = caught.value
    assert (error.op, error.message, error.errno) == (op, "the handle is closed", errno.EBADF)
    assert isinstance(error, ValueError)
    assert isinstance(error, Error)


def test_a_closed_handle_takes_no_event_callback() -> None:
    g = Guestfs()
    number = g.set_event_callback(print)
    g.close()
    with pytest.raises(HandleClosed) as caught:
        g.set_event_callback(print)
    assert caught.value.op == "set_event_callback"
    with contextlib.suppress(HandleClosed):  # closing the handle has already removed it
        g.delete_event_callback(number)


def test_a_launch_that_fails(g: Guestfs, hypervisor: Hypervisor) -> None:
    hypervisor.release()
    hypervisor.serve(g)
    with pytest.raises(LaunchError, match="^launch: ") as caught:
        g.launch()
    error = caught.value
    assert type(error) is LaunchError
    assert error.op == "launch"
    assert str(hypervisor.path) in error.message
    assert "Success" not in str(error)


def test_a_hypervisor_that_is_not_there(g: Guestfs, hypervisor: Hypervisor) -> None:
    hypervisor.serve(g)
    g.set_hv("/nowhere/qemu")
    with pytest.raises(LaunchError, match="/nowhere/qemu"):
        g.launch()


def test_a_launch_without_a_disk(g: Guestfs) -> None:
    with pytest.raises(LaunchError, match="^launch: .*add_drive"):
        g.launch()
