"""How types and shapes are checked in tests: as annotated, and what was found right once not again.

jaxtyping takes the annotations, beartype enforces them (where an int is a float, as Python's typing says). Their checks cost
more than the arithmetic of small tensors. The verdict follows from the types of a call's values and, where annotations ask
for more than a class, from the shapes and dtypes of its arrays, its words and whole numbers; so a call is checked when one
of these differs from all calls that were right.
"""

import dataclasses
import functools
import inspect
import threading
import typing
from collections import defaultdict
from collections.abc import Callable, Collection
from types import FunctionType, UnionType
from typing import Any

import jaxtyping
import numpy as np
import torch
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
MOST_ENTRIES = 32
"""Of a container that is described; a longer one is checked at each call."""


class Indescribable(Exception):  # noqa: N818
    """What a check finds does not follow from a short description."""


class Describers(dict):
    """By type, what returns all of a value that a check can depend on, hashable."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, torch.Tensor | np.ndarray):
            describe = lambda array: (kind, array.dtype, array.shape)  # noqa: E731
        elif issubclass(kind, str | int | type | None):
            describe = lambda value: (kind, value)  # noqa: E731
        elif issubclass(kind, dict):
            describe = lambda pairs: (kind, *each(pairs), *each(pairs.values()))  # noqa: E731
        elif issubclass(kind, tuple | list | set | frozenset):
            describe = lambda entries: (kind, *each(entries))  # noqa: E731
        elif issubclass(kind, Collection) and not issubclass(kind, bytes | range):
            describe = refuse
        else:
            describe = lambda value: kind  # noqa: E731
        return self.setdefault(kind, describe)


DESCRIBERS = Describers()


def describe(value: Any) -> Any:
    return DESCRIBERS[type(value)](value)


def describe_all(values: Collection) -> tuple:
    return tuple([DESCRIBERS[type(value)](value) for value in values])


def types(values: Collection) -> tuple:
    return tuple(map(type, values))


def describers(annotations: dict[str, Any]) -> tuple[Callable[[Collection], tuple], Callable[[Any], Any]]:
    """Of a call's arguments and of its result: by their types alone where plain classes are all that is asked for."""
    # a result's shape may depend on the value of an argument
    return (
        types if all(map(is_plain, annotations.values())) else describe_all,
        type if is_plain(annotations.get("return", Any)) else describe,
    )


def is_plain(annotation: Any) -> bool:
    """Whether it asks for a class and no more, or for one of several: a metaclass of its own, such as an array's annotation
    has, may look at more, but that of tensors does not."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return all(map(is_plain, typing.get_args(annotation)))
    return type(annotation) is type or annotation is torch.Tensor or annotation in (None, Any)


def each(entries: Collection) -> tuple:
    """The descriptions of entries."""
    if len(entries) > MOST_ENTRIES:
        raise Indescribable
    return describe_all(entries)


def refuse(value: Any):
    raise Indescribable


RIGHT: defaultdict[tuple, dict[Any, set]] = defaultdict(dict)
"""Descriptions of results by those of the arguments that they belong to, of each function; an inner one keeps them from one
making to the next."""


def remembering(decorate: Callable, function: Callable) -> Callable:
    """The function as decorated at calls that differ from those that were right, and itself at others."""
    if not function.__annotations__:
        return function
    right = RIGHT[function.__module__, function.__qualname__, function.__code__, str(function.__annotations__)]
    returned = threading.local()
    of_arguments, of_result = describers(function.__annotations__)

    @functools.cache
    def whole() -> Callable:
        return decorate(function)

    @functools.cache
    def result_alone() -> Callable:
        def again(*args, **kwargs):
            return returned.result

        # annotations that are strings are looked up in the function's own module
        body = FunctionType(again.__code__, function.__globals__, closure=again.__closure__)
        return decorate(functools.update_wrapper(body, function))

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            given = of_arguments(args)
            if kwargs:
                given = (*given, *kwargs, *of_arguments(kwargs.values()))
        except Indescribable:
            return whole()(*args, **kwargs)
        results = right.get(given)  # once: a tuple is hashed anew each time
        if known := results is not None:
            result = function(*args, **kwargs)
        else:
            result = whole()(*args, **kwargs)
            results = right[given] = set()
        try:
            found = of_result(result)
        except Indescribable:
            found = None
        if found is None or found not in results:
            if known:
                returned.result = result
                result_alone()(*args, **kwargs)
                del returned.result
            results.add(found)
        return result

    return call


def jaxtyped(thing: Any = None, *, typechecker: Callable, original: Callable = jaxtyping.jaxtyped) -> Any:
    """In the place of jaxtyping's own decorator of functions and of classes, of which data classes are checked."""
    if thing is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if not inspect.isclass(thing):
        return remembering(original(typechecker=typechecker), thing)
    if dataclasses.is_dataclass(thing) and getattr(thing.__init__, "__globals__", None) is not globals():
        thing.__init__ = jaxtyped(thing.__init__, typechecker=typechecker)
    return thing


def install() -> None:
    """Check the whole package, whose modules take the decorator from jaxtyping as they are imported."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("lowerbound", "typechecking.check")
