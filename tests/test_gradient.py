"""Values and their gradient are the closed form's, can be differentiated again, and in every way."""

import pytest
import torch
from oracles import double, draw

from lowerbound.gradient import values_and_gradient
from lowerbound.schedule import Cosine


def quartic(x):
    return x.pow(4).sum(1)


def test_a_quartic_has_its_closed_form():
    x = draw(5, 3)
    values, gradient = values_and_gradient(quartic, x)
    torch.testing.assert_close(values, quartic(x))
    torch.testing.assert_close(gradient, 4 * x**3)
    assert not x.requires_grad


def test_both_are_differentiated_in_what_the_function_is_made_of():
    x, scale = draw(5, 3), double([2.0]).requires_grad_()
    values, gradient = values_and_gradient(lambda x: scale**2 * quartic(x), x)
    (of_values,) = torch.autograd.grad(values.sum(), scale, retain_graph=True)
    (of_gradient,) = torch.autograd.grad(gradient.sum(), scale)
    torch.testing.assert_close(of_values, 4 * quartic(x).sum()[None])
    torch.testing.assert_close(of_gradient, 16 * (x**3).sum()[None])


def test_in_x_too_where_that_asks_for_it():
    x = draw(5, 3).requires_grad_()
    _, gradient = values_and_gradient(quartic, x)
    torch.testing.assert_close(torch.autograd.grad(gradient.sum(), x)[0], 12 * x.detach() ** 2)


def test_without_gradients_nothing_is_kept():
    scale = double([2.0]).requires_grad_()
    with torch.no_grad():
        values, gradient = values_and_gradient(lambda x: scale * quartic(x), draw(5, 3))
    assert not values.requires_grad
    assert not gradient.requires_grad
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("transform", ["jvp", "grad", "vmap"])
def test_within_torch_s_transforms(transform):
    x = draw(5, 3)
    if transform == "jvp":
        _, found = torch.func.jvp(lambda x: values_and_gradient(quartic, x)[1], (x,), (torch.ones_like(x),))
    elif transform == "grad":
        found = torch.func.grad(lambda x: values_and_gradient(quartic, x)[1].sum())(x)
    else:
        found = torch.func.vmap(lambda row: values_and_gradient(lambda row: (4 * row**3).sum(), row)[1])(x)
    torch.testing.assert_close(found, 12 * x**2)


def test_a_schedule_s_slope_stands_within_one_too():
    t, x = double([0.1, 0.5, 0.8]), draw(3)
    _, found = torch.func.jvp(lambda x: x * Cosine().slope(t), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(found, Cosine().slope(t))
