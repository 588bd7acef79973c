"""What newcomers get wrong in Python ends in an error of ours that says how to mend it.

In a process of its own, since the tests' own checks of types would come first.
"""

import json
import subprocess
import sys

SCRIPT = """
import json
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
}
right = {
    "a number": lambda: denoiser(x, 0.5),
    "a whole number": lambda: denoiser(x, 1),
    "a tensor without axes": lambda: denoiser(x, torch.tensor(0.5)),
    "one time each": lambda: denoiser(x, torch.rand(8)),
    "data in double precision": lambda: denoiser(x.double(), 0.5),
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
    assert list(outcomes.values()).count("right") == 5
