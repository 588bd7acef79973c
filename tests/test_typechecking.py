"""What is found right once is not checked again; whatever differs from it is, arguments as well as results."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
import typechecking
from jaxtyping import Float, TypeCheckError
from torch import Tensor

checked = typechecking.jaxtyped(typechecker=typechecking.check)


def test_arguments_are_checked_when_they_differ():
    @checked
    def both(x: Float[Tensor, "batch dims"], y: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        return x.sum(1) + y

    for _ in range(2):
        assert both(torch.ones(3, 2), torch.ones(3)).tolist() == [3, 3, 3]
    wrong = [
        (torch.ones(3, 2), torch.ones(1)),
        (torch.ones(3, 2, 1), torch.ones(3)),
        (torch.ones(3, 2), torch.ones(3, dtype=torch.int64)),
        (torch.ones(3, 2), np.ones(3)),
        (torch.ones(3, 2), None),
    ]
    for arguments in wrong * 2:
        with pytest.raises(TypeCheckError):
            both(*arguments)
    with pytest.raises(TypeCheckError):
        both(torch.ones(3, 2), y=torch.ones(2))


def test_results_are_checked_when_they_differ():
    results = [torch.ones(3), torch.ones(3), torch.ones(2), torch.ones(2), None, torch.ones(3)]

    @checked
    def following(x: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        return results.pop(0)

    outcomes = []
    for _ in range(len(results)):
        try:
            outcomes.append(following(torch.zeros(3)) is not None)
        except TypeCheckError:
            outcomes.append(False)
    assert outcomes == [True, True, False, False, False, True]


def test_words_numbers_and_entries_are_seen():
    @checked
    def choose(word: Literal["one", "two"], count: Literal[1, 2], pair: tuple[float, str], many: list[int]) -> str:
        return word

    right = ("one", 1, (0.5, "a"), [1, 2])
    assert choose(*right) == choose(*right) == "one"
    for i, wrong in enumerate(["three", 3, (0.5, 1), ["a"]]):
        for _ in range(2):
            with pytest.raises(TypeCheckError):
                choose(*right[:i], wrong, *right[i + 1 :])
    long = [1] * (typechecking.MOST_ENTRIES + 1)
    assert choose("one", 1, (0.5, "a"), long) == "one"
    with pytest.raises(TypeCheckError):
        choose("one", 1, (0.5, "a"), ["a"] * len(long))


def test_where_classes_are_asked_for_all_else_of_a_value_is_the_same():
    @checked
    def repeat(word: str, count: int = 2, anything: Any = None) -> str:
        return word * count if count else None

    @checked
    def ones(count: int) -> Float[Tensor, "{count}"]:
        return torch.ones(min(count, 3))

    assert repeat("a") == "aa"
    assert repeat("b") == "bb"
    assert repeat("c", 3) == "ccc"
    for wrong in ((1,), ("a", 0), ("a", "b")):
        for _ in range(2):
            with pytest.raises(TypeCheckError):
                repeat(*wrong)
    for _ in range(2):
        assert ones(3).shape == (3,)
        with pytest.raises(TypeCheckError):
            ones(4)


def test_data_classes_are_checked():
    @checked
    @dataclass
    class Pair:
        x: Float[Tensor, "batch"]
        y: Float[Tensor, "batch"]

    for _ in range(2):
        assert Pair(torch.ones(2), torch.ones(2)).x.shape == (2,)
        with pytest.raises(TypeCheckError):
            Pair(torch.ones(2), torch.ones(3))


def test_inner_functions_are_one_where_their_annotations_are():
    def make(kind):
        @checked
        def same(x: kind) -> Float[Tensor, "batch"]:
            return torch.ones(x) if x else torch.ones(1, 1)

        return same

    assert make(int)(1).shape == make(int)(1).shape == (1,)
    for _ in range(2):
        with pytest.raises(TypeCheckError):
            make(str)(1)
        with pytest.raises(TypeCheckError):
            make(int)(0)


def test_the_package_is_checked():
    from lowerbound.denoiser.exact import Gaussian
    from lowerbound.schedule import LinearGamma

    denoiser, level = Gaussian(torch.zeros(2), torch.eye(2), LinearGamma()), LinearGamma().level(0.5)
    assert denoiser.predict(torch.ones(3, 2), level, None, None).x.shape == (3, 2)
    with pytest.raises(TypeCheckError):
        denoiser.predict("three", level, None, None)
