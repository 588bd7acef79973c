"""Operators: their matrices, their adjoints, and what is refused."""

import pytest
import torch
from oracles import double, draw

from lowerbound.errors import InputError
from lowerbound.inverse import Blur, Downsample, LinearOperator, Mask
from lowerbound.inverse.operators import check_operator

KERNEL_1 = double([0.5, 0.3, -0.1])
KERNEL_2 = draw(3, 5, seed=1)
OPERATORS = {
    "shared mask": (Mask(draw(2, 6) > 0), (2, 6)),
    "mask per row": (Mask(draw(4, 2, 6) > 0), (2, 6)),
    "vectors": (Mask(draw(5) > 0), (5,)),
    "pool 1-D": (Downsample(3), (2, 6)),
    "pool 2-D": (Downsample(2), (3, 4, 6)),
    "pool 3-D": (Downsample(2), (1, 2, 4, 6)),
    "blur 1-D": (Blur(KERNEL_1), (2, 6)),
    "blur 2-D": (Blur(KERNEL_2), (2, 4, 6)),
    "blur 3-D": (Blur(draw(3, 1, 3)), (1, 4, 3, 5)),
    "circular 1-D": (Blur(KERNEL_1, "circular"), (2, 6)),
    "circular 2-D": (Blur(KERNEL_2, "circular"), (2, 4, 6)),
    "function": (LinearOperator(lambda x: x @ draw(5, 3).to(x), lambda y: y @ draw(5, 3).to(y).T), (5,)),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_operator_passes_the_dot_product_test(name, dtype):
    operator, shape = OPERATORS[name]
    x = draw(4, *shape).to(dtype)
    y = operator.forward(x)
    check_operator(operator, shape, y, 0.1)
    assert y.dtype == dtype
    torch.testing.assert_close(operator.forward(2 * x - x.flip(1)), 2 * y - operator.forward(x.flip(1)))


def test_pooling_takes_means():
    x = draw(2, 3, 4, 6)
    torch.testing.assert_close(Downsample(2).forward(x), torch.nn.functional.avg_pool2d(x, 2))


def test_blurring_convolves():
    x = torch.zeros(1, 1, 7, dtype=torch.float64)
    x[..., 3] = 1
    torch.testing.assert_close(Blur(KERNEL_1).forward(x)[0, 0, 2:5], KERNEL_1)
    x = x.roll(3, -1)  # at the last place, so that a third of the kernel comes round
    torch.testing.assert_close(Blur(KERNEL_1, "circular").forward(x)[0, 0, [5, 6, 0]], KERNEL_1)
    assert Blur(KERNEL_1).forward(x)[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("operator", "shape", "y", "message"),
    [
        (LinearOperator(lambda x: 2 * x, lambda y: y), (3,), draw(4, 3), "dot-product test"),
        (LinearOperator(lambda x: x.abs(), lambda y: y), (3,), draw(4, 3), "or not linear"),
        (LinearOperator(lambda x: x.roll(1, 1), lambda y: y.roll(1, 1)), (3,), draw(4, 3), r"<A x, u> = -?\d"),
        (LinearOperator(lambda x: x * torch.nan, lambda y: y), (3,), draw(4, 3), "dot-product test"),
        (LinearOperator(lambda x: x[:, :2], lambda y: y), (3,), draw(4, 2), "adjoint makes"),
        (LinearOperator(lambda x: x[:, :2], lambda y: y), (3,), draw(4, 3), r"give \(4, 2\)"),
        (Mask(torch.ones(4, dtype=torch.bool)), (3,), draw(4, 3), "the shape of one example, or of all"),
        (Downsample(2), (1, 3), draw(4, 1, 1), "must divide each length"),
        (Downsample(2), (4,), draw(4, 2), "after the channels"),
        (Blur(KERNEL_1), (1, 4, 4), draw(4, 1, 4, 4), "for each one after the channels"),
        (Blur(KERNEL_1), (1, 2), draw(4, 1, 2), "no longer than theirs"),
    ],
)
def test_what_does_not_fit_is_refused(operator, shape, y, message):
    with pytest.raises(InputError, match=message):
        check_operator(operator, shape, y, 0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Downsample(0),
        lambda: Blur(draw(2)),
        lambda: Blur(draw(3), "reflect"),
        lambda: check_operator(OPERATORS["vectors"][0], (5,), draw(2, 5), -1.0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(InputError):
        make()
