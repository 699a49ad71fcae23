"""The actions of `AsyncGuestfs`: each passes its arguments on to the handle's method of the same name."""

import functools
import inspect
import types

from guestkit import _native
from guestkit._missing import add_missing_actions
from guestkit.generated.progress import PROGRESS


class AsyncActions:
    """Base of AsyncGuestfs: every libguestfs action as a method that returns a coroutine."""


def _keywords(name):
    """Yield the parameters that the async call adds to those of the method."""
    kind = inspect.Parameter.KEYWORD_ONLY
    if name in PROGRESS:
        yield inspect.Parameter("progress", kind, default=None)
    yield inspect.Parameter("on_cancel", kind, default="end")


def _action(name, method):
    keywords = list(_keywords(name))
    defaults = {parameter.name: parameter.default for parameter in keywords}

    @functools.wraps(method)
    def call(self, /, *arguments, **options):
        given = {key: options.pop(key, default) for key, default in defaults.items()}
        return self._submit(name, lambda handle: method(handle, *arguments, **options), **given)

    del call.__wrapped__
    signature = inspect.signature(method)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *keywords])
    call.__qualname__ = f"AsyncGuestfs.{name}"
    return call


class _Deferred:
    """Creates the method when it is first looked up: creating all 600 at import would take 80 ms."""

    def __init__(self, name, method):
        self._name = name
        self._method = method

    def __get__(self, instance, owner=None):
        call = _action(self._name, self._method)
        setattr(AsyncActions, self._name, call)
        return call if instance is None else types.MethodType(call, instance)


for _name, _method in vars(_native.Handle).items():
    if isinstance(_method, types.MethodDescriptorType):
        setattr(AsyncActions, _name, _Deferred(_name, _method))

add_missing_actions(AsyncActions)
