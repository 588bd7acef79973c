"""What newcomers get wrong in Python ends in an error of ours that says how to mend it.

In a process of its own, since the tests' own checks of types would come first.
"""

import json
import subprocess
import sys

SCRIPT = """
import json
import numpy as np
import torch
from torch import nn
import lowerbound as lb
from lowerbound.errors import InputError

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
    def forward(self, x, gamma, cond=None):
        return self.layer(x)

class TwoArguments(nn.Module):
    def forward(self, x, gamma):
        return x

class Flat(nn.Module):
    def forward(self, x, gamma, cond=None):
        return x[:, :1]

class Pair(nn.Module):
    def forward(self, x, gamma, cond=None):
        return x, gamma

schedule, x = lb.LinearGamma(), torch.randn(8, 2)
denoiser, decoder = lb.NetworkDenoiser(Net(), schedule, (2,)), lb.GaussianDecoder()
noise = lambda: lb.Stream(seed=0)
tries = {
    "a network of two arguments": lambda: lb.NetworkDenoiser(TwoArguments(), schedule, (2,)),
    "times of another batch": lambda: denoiser(x, torch.rand(3)),
    "times with an axis too many": lambda: denoiser(x, torch.rand(8, 1)),
    "a time beyond the noise": lambda: denoiser(x, 1.5),
    "integers": lambda: denoiser(x.long(), 0.5),
    "an array": lambda: denoiser(x.numpy(), 0.5),
    "another shape": lambda: denoiser(torch.randn(8, 3), 0.5),
    "a bound of integers": lambda: lb.elbo(denoiser, decoder, x.long(), noise=noise()),
    "a density of integers": lambda: lb.log_prob(denoiser, x.long(), noise=noise()),
    "a bound of another shape": lambda: lb.elbo(denoiser, decoder, torch.randn(5, 3), noise=noise()),
    "no network calls": lambda: lb.elbo(denoiser, decoder, x, noise=noise(), num_times=0),
    "a chain the wrong way round": lambda: lb.elbo(denoiser, decoder, x, torch.linspace(1, 0, 5), noise=noise()),
    "a grid the wrong way round": lambda: lb.sample(denoiser, lb.DDIM(), x, lb.grid.uniform(5).flip(0), noise()),
    "seeds of another batch": lambda: lb.start(denoiser, 5, lb.PerSample(seeds=range(10))),
    "an unknown target": lambda: lb.NetworkDenoiser(Net(), schedule, (2,), target="noise"),
    "eta beyond one": lambda: lb.DDIM(eta=3.0),
    "a grid of no steps": lambda: lb.grid.uniform(0),
    "a function as a network": lambda: lb.NetworkDenoiser(lambda x, gamma, cond: x, schedule, (2,)),
    "a network of another output": lambda: lb.NetworkDenoiser(Flat(), schedule, (2,))(x, 0.5),
    "a network of two outputs": lambda: lb.NetworkDenoiser(Pair(), schedule, (2,))(x, 0.5),
    "a shape of a number": lambda: lb.NetworkDenoiser(Net(), schedule, 2),
    "a class as a schedule": lambda: lb.NetworkDenoiser(Net(), lb.LinearGamma, (2,)),
    "a list of times": lambda: denoiser(x, [0.5] * 8),
    "steps of a table as times": lambda: denoiser(x, torch.randint(0, 1000, (8,))),
    "times beyond the noise": lambda: denoiser(x, torch.full((8,), 1.5)),
    "times that are not finite": lambda: denoiser(x, torch.full((8,), float("nan"))),
    "a list of labels": lambda: denoiser(x, 0.5, cond=[1] * 8),
    "labels of another batch": lambda: denoiser(x, 0.5, cond=torch.ones(3).long()),
    "a mask of floats": lambda: denoiser(x, 0.5, observed=torch.ones(8, 2)),
    "a mask of another shape": lambda: denoiser(x, 0.5, observed=torch.ones(8).bool()),
    "no samples": lambda: lb.start(denoiser, 0, noise()),
    "a fractional number of samples": lambda: lb.start(denoiser, 2.5, noise()),
    "a seed as noise": lambda: lb.start(denoiser, 8, 0),
    "one seed for all": lambda: lb.PerSample(5),
    "seeds of floats": lambda: lb.PerSample(torch.rand(5)),
    "a seed of a float": lambda: lb.Stream(seed=0.5),
    "a class as a sampler": lambda: lb.sample(denoiser, lb.DDIM, x, lb.grid.uniform(5), noise()),
    "a name as a sampler": lambda: lb.sample(denoiser, "ddim", x, lb.grid.uniform(5), noise()),
    "no noise": lambda: lb.sample(denoiser, lb.DDIM(), x, lb.grid.uniform(5), None),
    "a list as a grid": lambda: lb.sample(denoiser, lb.DDIM(), x, [1.0, 0.5], noise()),
    "a number as a grid": lambda: lb.sample(denoiser, lb.DDIM(), x, 10, noise()),
    "a start of another shape": lambda: lb.sample(denoiser, lb.DDIM(), x[:, :1], lb.grid.uniform(5), noise()),
    "a fractional number of steps": lambda: lb.grid.uniform(4.5),
    "a bound of no examples": lambda: lb.elbo(denoiser, decoder, x[:0], noise=noise()),
    "a density of no examples": lambda: lb.log_prob(denoiser, x[:0], noise=noise()),
    "a loss of integers": lambda: lb.loss(denoiser, x.long(), noise=noise()),
    "a loss at steps of a table": lambda: lb.loss(denoiser, x, t=torch.randint(0, 1000, (8,)), eps=x),
    "a loss with other noise": lambda: lb.loss(denoiser, x, t=torch.rand(8), eps=torch.randn(8, 3)),
    "an array to encode": lambda: lb.edit.encode(denoiser, x.numpy()),
    "two batches to interpolate": lambda: lb.edit.interpolate(denoiser, x, x[:3], torch.tensor([0.5])),
}
right = {
    "a number": lambda: denoiser(x, 0.5),
    "a whole number": lambda: denoiser(x, 1),
    "a tensor without axes": lambda: denoiser(x, torch.tensor(0.5)),
    "one time each": lambda: denoiser(x, torch.rand(8)),
    "data in double precision": lambda: denoiser(x.double(), 0.5),
    "numpy's numbers": lambda: (denoiser(x, np.float32(0.5)), lb.start(denoiser, np.int64(3), lb.Stream(np.int64(0)))),
    "condition and mask": lambda: denoiser(x, 0.5, torch.ones(8).long(), torch.ones(8, 2).bool()),
}
found = {}
for name, attempt in {**tries, **right}.items():
    try:
        attempt()
        found[name] = "right" if name in right else "passed silently"
    except InputError as error:
        found[name] = "ours" if name in tries else f"refused: {error}"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def test_mistakes_end_in_errors_of_ours_and_what_is_right_does_not():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    outcomes = json.loads(done.stdout)
    assert not {name: outcome for name, outcome in outcomes.items() if outcome not in ("ours", "right")}
    assert list(outcomes.values()).count("right") == 7
