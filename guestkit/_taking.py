"""One list of arguments for a blocking function and its async twin."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


def taking(asked: Callable[P, A]) -> Callable[[Callable[[A], T]], Callable[P, T]]:
    """Give a function the signature of `asked`; the function receives the value that `asked` returns."""

    def decorate(function: Callable[[A], T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> T:
            return function(asked(*arguments, **keywords))

        of_function = signature(function)
        call.__signature__ = signature(asked).replace(  # type: ignore[attr-defined]
            return_annotation=of_function.return_annotation
        )
        return call

    return decorate
