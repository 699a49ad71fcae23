"""The actions of `AsyncGuestfs`: each passes its arguments on to the handle's method of the same name."""

import functools
import types

from guestkit import _native


class AsyncActions:
    """Every action of libguestfs as a method that returns a coroutine: what AsyncGuestfs inherits."""


def _action(name, method):
    @functools.wraps(method)  # name, documentation, and the signature by __wrapped__
    def call(self, /, *arguments, **options):
        return self._submit(name, lambda handle: method(handle, *arguments, **options))

    call.__qualname__ = f"AsyncGuestfs.{name}"
    return call


for _name, _method in vars(_native.Handle).items():
    if isinstance(_method, types.MethodDescriptorType):
        setattr(AsyncActions, _name, _action(_name, _method))
