"""How often stated errors cover the truth: python benchmarks/stated_errors.py

Of closed-form denoisers, whose bounds and densities are known: the bound of single examples from few network calls, as
`lowerbound score` takes it, and the flow's density by random probes. An interval of 95 % that is right covers 95 %; the
second column is what two standard errors would cover. The place of the calls is drawn for each repeat, as in `score`.
"""

import numpy as np
import torch

import lowerbound as lb
from lowerbound import GaussianMixture
from lowerbound.scoring.spread import error_of_mean, half_interval

NUM_REPEATS = 2000
NUM_CALLS = (2, 4, 16, 64)
NUM_PROBES = (2, 3, 8)
SCHEDULE = lb.LinearGamma(-9.0, 9.0)


def main() -> None:
    """Print the table."""
    print(f"{'figure':<44} {'draws':>5} {'95 % interval':>13} {'2 errors':>9}")
    narrow = GaussianMixture(
        torch.tensor([0.5, 0.3, 0.2]).double(),
        torch.tensor([[-1.2, 0.4], [0.9, 0.9], [0.3, -1.3]]).double(),
        0.05 * torch.eye(2).double().expand(3, 2, 2),
        SCHEDULE,
    )
    wide = GaussianMixture(torch.ones(1).double(), torch.zeros(1, 8).double(), torch.eye(8).double()[None], SCHEDULE)
    for name, denoiser in (("2-D mixture", narrow), ("N(0, I) in 8 dimensions", wide)):
        x = denoiser.sample(8, lb.Stream(1))
        for num_calls in NUM_CALLS:
            row(f"bound of an example, {name}", num_calls, *bound_errors(denoiser, x, num_calls))
    one_direction = torch.full((24, 24), 0.6).double() + 0.4 * torch.eye(24).double()
    mixing = torch.randn(24, 24, generator=torch.Generator().manual_seed(0)).double() / 24**0.5
    for name, covariance in (("one direction", one_direction), ("many directions", mixing @ mixing.T)):
        denoiser = GaussianMixture(torch.ones(1).double(), torch.zeros(1, 24).double(), covariance[None], SCHEDULE)
        for num_probes in NUM_PROBES:
            row(f"flow's density by probes, 24-D, {name}", num_probes, *probe_errors(denoiser, num_probes))


def row(name: str, num_draws: int, off: np.ndarray, error: np.ndarray, interval: np.ndarray) -> None:
    """A line: how often the error made lies within what was stated."""
    shares = [float((np.abs(off) <= width).mean()) for width in (interval, 2 * error)]
    print(f"{name:<44} {num_draws:>5} {shares[0]:>13.3f} {shares[1]:>9.3f}")


def bound_errors(denoiser: lb.Denoiser, x: torch.Tensor, num_calls: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each repeat and example: how far the diffusion term is off, its error, and half its interval."""
    many = x.repeat(NUM_REPEATS, 1)
    noise = lb.Stream(num_calls)
    place = noise.uniform(many.new_empty(len(many), 1))[:, 0]
    draws = lb.elbo(denoiser, lb.GaussianDecoder(), many, noise=noise, num_times=num_calls, place=place).draws
    assert draws is not None
    means = draws.mean(1).reshape(NUM_REPEATS, len(x))
    # the truth, from many more draws than any repeat has
    close = [
        lb.elbo(denoiser, lb.GaussianDecoder(), x.repeat(500, 1), noise=lb.Stream(10**6 + k), num_times=64).diffusion
        for k in range(20)
    ]
    truth = torch.stack([each.reshape(500, len(x)).mean(0) for each in close]).mean(0)
    error, interval = error_of_mean(draws.numpy())
    return (means - truth).flatten().numpy(), error, interval


def probe_errors(denoiser: lb.Denoiser, num_probes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of the flow's density at one point."""
    x = denoiser.sample(1, lb.Stream(3))
    given = {"tolerance": 1e-3}
    exact = lb.log_prob(denoiser, x, trace="exact", **given).nats
    found = lb.log_prob(
        denoiser,
        x.repeat(NUM_REPEATS, 1),
        noise=lb.Stream(num_probes),
        trace="hutchinson",
        num_probes=num_probes,
        **given,
    )
    error = found.standard_error.numpy()
    return (found.nats - exact).numpy(), error, half_interval(error, num_probes)


if __name__ == "__main__":
    main()
