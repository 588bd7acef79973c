"""The running average has the weights that its definition gives."""

import numpy as np
import pytest
import torch
from torch import nn

from lowerbound.training.average import Average


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.2])
def test_weights_of_the_average(width):
    num_steps = 4000
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    average = Average(module, width)
    # the average of the step's own number, and of its square, give mean and deviation of the weights over steps
    moments = []
    for power in (1, 2):
        average.count = 0
        for step in range(1, num_steps + 1):
            module.weight.data.fill_(float(step) ** power)
            average.update()
        moments.append(average.parameters["weight"].item())
    deviation = np.sqrt(moments[1] - moments[0] ** 2) / num_steps
    assert deviation == pytest.approx(width, rel=0.02)


def test_first_update_forgets_the_start():
    module = nn.Linear(2, 2)
    average = Average(module, 0.05)
    module.weight.data.fill_(3.0)
    average.update()
    assert torch.equal(average.parameters["weight"], module.weight)


def test_swap_twice_is_nothing():
    module = nn.Linear(2, 2)
    average = Average(module, 0.05)
    kept = average.parameters["weight"].clone()
    module.weight.data.fill_(3.0)
    average.swap()
    assert torch.equal(module.weight, kept)
    average.swap()
    assert (module.weight == 3).all()
    assert torch.equal(average.parameters["weight"], kept)
