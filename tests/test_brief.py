"""Objects that hold many numbers are printed in a line."""

import pytest
import torch

import lowerbound as lb
from lowerbound import Gaussian, GaussianDecoder, LinearGamma, PerSample, elbo, log_prob
from lowerbound.run.generate import Plan

DATA = Gaussian(torch.zeros(2), torch.eye(2), LinearGamma())
X = DATA.sample(1000, lb.Stream(seed=0))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            lambda: elbo(DATA, GaussianDecoder(), X, noise=PerSample(range(1000))),
            ["Elbo(", "<1000: ", "dims=<1000: 2>"],
        ),
        (lambda: log_prob(DATA, X[:100], noise=PerSample(range(100)), tolerance=1e-3), ["Density(", "density (ODE)"]),
        (lambda: DATA(X, 0.5), ["Prediction(", "x=<1000x2>"]),
        (lambda: Plan(lb.DDIM(), lb.grid.uniform(100)), ["Plan(", "times=<100: "]),
    ],
)
def test_it_says_shapes_and_means_in_a_line(value, said):
    printed = repr(value())
    assert "\n" not in printed
    assert len(printed) < 500
    for part in said:
        assert part in printed
