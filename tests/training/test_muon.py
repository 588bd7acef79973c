"""Muon: its iteration against the exact polar factor, and its steps against the definition in double precision."""

import math

import pytest
import torch
from torch import nn

from lowerbound.training.muon import DEVIATION, MOMENTUM, POLYNOMIALS, SMALLEST, Muon, polar_factors


def with_singular_values(values, rows, columns, seed=0, dtype=torch.float64):
    """A matrix of given singular values and random directions, and its exact polar factor."""
    generator = torch.Generator().manual_seed(seed)
    rank = len(values)
    U = torch.linalg.qr(torch.randn(rows, rank, generator=generator, dtype=torch.float64)).Q
    V = torch.linalg.qr(torch.randn(columns, rank, generator=generator, dtype=torch.float64)).Q
    return (U * values @ V.T).to(dtype), (U @ V.T).to(dtype)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
@pytest.mark.parametrize("shape", [(24, 24), (24, 216), (216, 24), (1, 5)])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_the_exact_polar_factor(dtype, rounding, shape, scale):
    """Of the singular values that the iteration is made for, relative to the norm, whatever the matrix's scale."""
    values = torch.logspace(0, -1.5, min(shape), dtype=torch.float64)
    assert values.min() / values.norm() > SMALLEST
    matrix, exact = with_singular_values(values, *shape, dtype=dtype)
    found = polar_factors(scale * matrix[None])[0][0]
    assert found.dtype == dtype
    assert torch.linalg.matrix_norm(found - exact, 2) <= DEVIATION + rounding


def test_its_factors_are_those_of_an_svd():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 20, 50, generator=generator)
    U, _, Vh = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.linalg.matrix_norm(polar_factors(matrices)[0] - U @ Vh, 2).max() <= DEVIATION + 1e-5


def test_a_matrix_does_not_depend_on_those_beside_it():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(5, 8, 12, generator=generator, dtype=torch.float64)
    (together,) = polar_factors(matrices)
    for matrix, found in zip(matrices, together, strict=True):
        torch.testing.assert_close(polar_factors(matrix[None])[0][0], found, rtol=0, atol=1e-12)


def test_those_of_one_smaller_side_are_found_together():
    """Stacks of any shapes, wide and tall, each as alone."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 8, 12), (1, 12, 8), (2, 8, 8), (3, 4, 9), (1, 9, 4)]
    stacks = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    for stack, found in zip(stacks, polar_factors(*stacks), strict=True):
        torch.testing.assert_close(found, polar_factors(stack)[0], rtol=0, atol=1e-12)


def test_what_is_zero_stays_zero():
    assert torch.equal(polar_factors(torch.zeros(2, 3, 4))[0], torch.zeros(2, 3, 4))
    matrix, exact = with_singular_values(torch.ones(2, dtype=torch.float64), 6, 9)  # of rank 2: 4 directions are absent
    assert torch.linalg.matrix_norm(polar_factors(matrix[None])[0][0] - exact, 2) <= DEVIATION + 1e-12


def test_each_polynomial_is_the_best_of_its_degree():
    """It deviates equally and alternately from one at four points, one more than it has coefficients (Chebyshev)."""
    low, high = SMALLEST, 1.0
    for a, b, c in POLYNOMIALS:
        s = low * torch.logspace(0, math.log10(high / low), 100_000, dtype=torch.float64)
        deviation = a * s + b * s**3 + c * s**5 - 1
        inner = deviation[1:-1]
        turns = ((inner - deviation[:-2]) * (deviation[2:] - inner)) < 0
        extremes = torch.cat([deviation[:1], inner[turns], deviation[-1:]])
        largest = deviation.abs().max()
        torch.testing.assert_close(extremes.abs(), largest.expand(4), rtol=0, atol=1e-4)
        assert (extremes[1:] * extremes[:-1] < 0).all()
        low, high = 1 - largest.item(), 1 + largest.item()
    assert high - 1 <= DEVIATION


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 3, 3)])
def test_its_steps_are_those_of_the_definition(shape):
    r"""$m \leftarrow \mu m + (1 - \mu) g$, direction of $(1 - \mu) g + \mu m$, taller matrices further; decoupled decay."""
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
    expected, momentum = parameter.detach().clone().flatten(1), 0.0
    muon = Muon()
    for _ in range(3):
        parameter.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        gradient = parameter.grad.flatten(1)
        muon.step([parameter], 0.01, weight_decay=0.1)
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        U, _, Vh = torch.linalg.svd((1 - MOMENTUM) * gradient + MOMENTUM * momentum, full_matrices=False)
        rows, columns = expected.shape
        expected = (1 - 0.01 * 0.1) * expected - 0.01 * max(1, rows / columns) ** 0.5 * U @ Vh
    assert (parameter.detach().flatten(1) - expected).abs().max() <= 3 * 0.01 * 1.5 * DEVIATION
