r"""What does training all T terms cost against one?

At equal network calls, after 1000 steps of training and with 64 terms: 5 times the gradient's variance with independent
noise for each term, 16 times on one path; and the calls of a path come one after the other, in small batches, which takes
20 times as long. One term in continuous time is the cheapest of all.

The bound over a chain is a sum of terms. A step of training may spend its network calls on all terms of a few examples, or
on one random term (times their number) of many. Both gradients have the same expectation; at the same number of calls:

- variance: of the gradient, relative to the squared norm of its mean, per network call: what a single call would leave. With
  C calls the relative variance is this over C;
- ms: the time of a gradient with its calls, the shortest seen;
- cost: variance times time, relative to the best row: the smaller, the better.

All terms of an example share the example (and on a path the noise): they say less that is new than as many examples would.

python docs/questions/all_terms_or_one.py
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lowerbound import MLP, GaussianDecoder, GaussianMixture, LinearGamma, NetworkDenoiser, Stream, elbo, loss
from lowerbound.data import mixture_parameters
from lowerbound.theory import derivations
from lowerbound.theory.derivations import form_b
from lowerbound.times import antithetic_times

Losses = Callable[[NetworkDenoiser, Tensor, Stream], Tensor]


@dataclass(frozen=True)
class Scheme:
    """A way to draw the diffusion term, and the network calls that it takes for each example."""

    name: str
    losses: Losses
    calls: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terms", type=int, default=64, help="terms of the chain, and so calls of a whole path")
    parser.add_argument("--examples", type=int, default=4, help="examples for all terms; calls = terms * examples")
    parser.add_argument(
        "--draws", type=int, default=10, help="gradients for each figure of all terms; of one, ten times as many"
    )
    parser.add_argument("--steps", type=int, default=1000, help="steps of training before the second table")
    parser.add_argument("--quick", action="store_true", help="8 terms, 3 gradients, 40 steps")
    arguments = parser.parse_args()
    num_reference = 5000 if arguments.quick else 100_000
    if arguments.quick:
        arguments.terms, arguments.draws, arguments.steps = 8, 3, 40

    torch.set_num_threads(1)  # the tensors are small
    began = time.perf_counter()
    weights, means, covariances = (torch.tensor(each).float() for each in mixture_parameters())
    data = GaussianMixture(weights, means, covariances, LinearGamma(-6.0, 5.0))
    torch.manual_seed(0)
    denoiser = NetworkDenoiser(MLP(2, width=32, depth=1), data.schedule, (2,), "v")
    calls = arguments.terms * arguments.examples
    print(f"{arguments.terms} terms, {calls} network calls for a gradient, from {arguments.draws} gradients on")
    for num_steps in (20, arguments.steps):
        train(denoiser, data, num_steps)
        print(f"\nafter {num_steps} steps of training")
        print(f"{'':<48} {'examples':>8} {'variance':>16} {'ms':>7} {'cost':>7}")
        signal, rows = squared_norm(denoiser, data, arguments.terms, num_reference), []
        for scheme in schemes(arguments.terms):
            num_draws = arguments.draws * (10 if scheme.calls == 1 else 1)
            rows.append((scheme, *measure(scheme, denoiser, data, calls, num_draws, signal)))
        best = min(variance * seconds for _, variance, _, seconds in rows)
        for scheme, variance, error, seconds in rows:
            print(
                f"{scheme.name:<48} {calls // scheme.calls:>8} {variance:>9.0f} ± {error:>4.0f} {1000 * seconds:>7.1f} "
                f"{variance * seconds / best:>7.1f}"
            )
    print(f"{time.perf_counter() - began:.1f} s")


def schemes(num_terms: int) -> list[Scheme]:
    """All terms, and one, of the same chain; and of its limit in continuous time."""
    chain, decoder = torch.linspace(0, 1, num_terms + 1, dtype=torch.float64), GaussianDecoder()

    def even(denoiser: NetworkDenoiser, x: Tensor, noise: Stream) -> Tensor:
        place = antithetic_times(noise.uniform(x.new_empty(1, 1))[0, 0], len(x))
        return derivations.one_sample(denoiser, decoder, x, chain, noise=noise, place=place).diffusion

    def of(estimator, **settings) -> Losses:
        estimate = partial(estimator, **settings)
        return lambda denoiser, x, noise: estimate(denoiser, decoder, x, chain, noise=noise).diffusion

    def continuous(denoiser: NetworkDenoiser, x: Tensor, noise: Stream) -> Tensor:
        return loss(denoiser, x, noise=noise)

    return [
        Scheme("all terms, on one path", of(form_b), num_terms),
        Scheme("all terms, independent noise", of(elbo), num_terms),
        Scheme("all terms, log-ratios on one path (T-sample)", of(derivations.t_sample), num_terms),
        Scheme("one term (one-sample)", of(derivations.one_sample), 1),
        Scheme("one term, places evenly spread", even, 1),
        Scheme("one term, log-ratio (two-sample)", of(derivations.two_sample), 1),
        Scheme("one term, continuous time, evenly spread", continuous, 1),
    ]


def measure(
    scheme: Scheme, denoiser: NetworkDenoiser, data: GaussianMixture, calls: int, num_draws: int, signal: float
) -> tuple[float, float, float]:
    """The relative variance for a single call, its standard error, and the shortest time of a gradient."""
    noise, gradients, seconds = Stream(1), [], []
    for _ in range(num_draws):
        x = data.sample(calls // scheme.calls, noise)
        began = time.perf_counter()
        gradients.append(gradient(scheme, denoiser, x, noise))
        seconds.append(time.perf_counter() - began)
    drawn = torch.stack(gradients)
    distances = (drawn - drawn.mean(0)).square().sum(1) * num_draws / (num_draws - 1)
    relative = calls * distances / signal
    return relative.mean().item(), relative.std().item() / num_draws**0.5, min(seconds)


def squared_norm(denoiser: NetworkDenoiser, data: GaussianMixture, num_terms: int, num_examples: int) -> float:
    """Of the gradient's mean, the product of two independent estimates of it."""
    scheme, noise = schemes(num_terms)[4], Stream(2)
    one, other = (gradient(scheme, denoiser, data.sample(num_examples, noise), noise) for _ in range(2))
    return (one @ other).item()


def gradient(scheme: Scheme, denoiser: NetworkDenoiser, x: Tensor, noise: Stream) -> Tensor:
    parameters = list(denoiser.parameters())
    drawn = torch.autograd.grad(scheme.losses(denoiser, x, noise).mean(), parameters, allow_unused=True)
    return torch.cat([each.flatten() for each in drawn if each is not None]).double()


def train(denoiser: NetworkDenoiser, data: GaussianMixture, num_steps: int) -> None:
    optimizer, noise = torch.optim.Adam(denoiser.parameters(), lr=2e-3), Stream(0)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(denoiser, data.sample(256, noise), noise=noise).mean().backward()
        optimizer.step()


if __name__ == "__main__":
    main()
