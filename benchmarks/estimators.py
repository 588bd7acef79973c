"""The bound's derivations as estimators, at equal network calls: python benchmarks/estimators.py

On N(0, 1) with the exact reverse process, and on a mixture in the plane with a closed-form denoiser, exact or with an error
of its own: mean and standard deviation of each estimate of the bound, over the noise for a given example (40 examples). A
single term costs one network call, a whole path one for each step of the chain. What compares them is the last standard
deviation, at equal calls: of the mean of as many independent draws as the calls of one path pay for. Continuous time is
another chain, and so another bound.
"""

import argparse
import math
import time
from functools import partial

import torch
from oracle import mixture
from torch import Tensor

from lowerbound import Denoiser, Elbo, Gaussian, GaussianDecoder, LinearGamma, Prediction, Stream, elbo, mean_and_error
from lowerbound.elementary import expand, sigmoid, sqrt
from lowerbound.schedule import Level, betas, from_betas
from lowerbound.theory.derivations import form_a, form_b, form_b_sampled, t_sample, two_sample

NUM_EXAMPLES = 40
ONE_TERM = {
    "form A, one term": partial(form_a, whole_path=False),
    "two-sample": two_sample,
    "form B sampled, one term": partial(form_b_sampled, whole_path=False),
    "form B KL, one term = one-sample": partial(form_b, whole_path=False),
    "continuous time, one term": elbo,
}
WHOLE_PATH = {
    "form A, path = form B sampled, path": form_a,
    "T-sample": t_sample,
    "form B KL, path": form_b,
    "form B KL, independent latents": elbo,
}


class Mistaken(Denoiser):
    r"""A denoiser whose $\hat\epsilon$ is off by about `scale`."""

    def __init__(self, denoiser: Denoiser, scale: float):
        super().__init__(denoiser.schedule, denoiser.shape)
        self.denoiser, self.scale = denoiser, scale

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        right = self.denoiser.predict(x_t, level, cond, observed)
        error = self.scale * expand(sqrt(sigmoid(level.gamma)), x_t) * torch.sin(3 * x_t)
        return Prediction(x_t, level, right.x + error, self.schedule, right.x_var)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--error", type=float, default=0.3, help="the mistaken denoiser's error")
    parser.add_argument("--reverse", default="lower", help="the reverse variance for the mixture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    for num_steps, first, last in ((10, 0.05, 0.5), (1000, 1e-4, 0.02)):
        schedule = from_betas(betas.linear(num_steps, first, last))
        data = Gaussian(torch.zeros(1).double(), torch.eye(1).double(), schedule)
        title = f"N(0, 1), exact reverse process, {num_steps} betas from {first} to {last}"
        table(title, data, data.sample(NUM_EXAMPLES, Stream(arguments.seed)), schedule.times, "upper")
    exact = mixture(LinearGamma(-9.0, 8.0))
    x = exact.sample(NUM_EXAMPLES, Stream(arguments.seed))
    for name, denoiser in (("exact", exact), (f"mistaken by {arguments.error}", Mistaken(exact, arguments.error))):
        for num_steps in (10, 100, 1000):
            title = f"2-D mixture, linear gamma from -9 to 8, {name} denoiser, T = {num_steps}"
            chain = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
            table(title, denoiser, x, chain, arguments.reverse)


def table(title: str, denoiser: Denoiser, x: Tensor, chain: Tensor, reverse: str) -> None:
    """Print what each estimator gives."""
    num_steps = len(chain) - 1
    print(f"\n{title}, reverse variance {reverse!r}; nats per example")
    print(f"{'':<36} {'bound':>20} {'sd of a draw':>19} {'calls':>6} {'at equal calls':>14} {'seconds':>8}")
    for name, estimator in (ONE_TERM | WHOLE_PATH).items():
        begin = time.perf_counter()
        calls = 1 if name in ONE_TERM else num_steps
        continuous = name.startswith("continuous")
        estimate = partial(estimator, num_times=1) if continuous else partial(estimator, chain=chain, reverse=reverse)
        copies = 4000 if calls == 1 else max(50, 5000 // calls)
        draws = measure(estimate, denoiser, x, copies)
        variance, variance_error = mean_and_error(draws.var(1))
        spread = math.sqrt(variance)
        error = spread / math.sqrt(copies * len(x))
        print(
            f"{name:<36} {draws.mean():>10.3f} ± {error:>7.3f} {spread:>10.3g} ± {variance_error / (2 * spread):>6.2g} "
            f"{calls:>6} {spread * math.sqrt(calls / num_steps):>14.3g} {time.perf_counter() - begin:>8.1f}",
            flush=True,
        )


@torch.no_grad()
def measure(estimate, denoiser: Denoiser, x: Tensor, copies: int) -> Tensor:
    """Draws of the bound, (B, copies), with the reconstruction's known expectation in the place of its draw."""
    copied = x.repeat_interleave(copies, 0)
    # in continuous time places are spread evenly over a batch: shuffled, each example's are as good as independent
    order = torch.randperm(len(copied), generator=torch.Generator().manual_seed(2))
    bound: Elbo = estimate(denoiser, GaussianDecoder(), copied[order], noise=Stream(1))
    reconstruction = -x.shape[1] / 2 * (1 + math.log(2 * math.pi) + denoiser.schedule.gamma_min)
    values = torch.empty(len(copied), dtype=x.dtype)
    values[order] = reconstruction - bound.prior - bound.diffusion
    return values.reshape(len(x), copies)


if __name__ == "__main__":
    main()
