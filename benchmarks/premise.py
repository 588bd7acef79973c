r"""How Gaussian is a reverse step? The premise of every diffusion model, measured: python benchmarks/premise.py

The model draws $x_s$ from a Gaussian; the truth, $q(x_s | x_t) \propto q(x_s) N(x_t; \alpha_{t|s} x_s, \sigma_{t|s}^2)$, is
one only in the limit of small steps. On mixtures of Gaussians q is known (a mixture) and the rest is quadrature: the
expectation over $x_t$ of $KL(q(x_s | x_t) \| N)$, summed over the steps of a chain, for N with

- best: the mean and covariance of $q(x_s | x_t)$ itself, than which no Gaussian is nearer;
- analytic, upper, lower: the mean, and the library's reverse variances (in DDPM's letters the last are $\beta_t$ and
  $\tilde\beta_t$).

The sum is what a model with the best possible network loses in nats, beside the ends of its chain.
"""

import argparse
import math

import numpy as np
import torch
from torch import Tensor

from lowerbound import GaussianMixture, LinearGamma, Stream
from lowerbound.encoder import Latent, encode_back
from lowerbound.reverse import posterior, reverse_variance
from lowerbound.schedule import Level

NODES = {1: 64, 2: 24}  # of the quadrature, in each dimension


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=32, help="steps that are measured, evenly spread over the chain")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    for data, num_points in ((one_dimensional(), 200), (two_dimensional(), 50)):
        schedule = data.schedule
        print(
            f"\n{data.shape[0]}-D mixture of {len(data.weights)}, linear gamma from {schedule.gamma_min} to "
            f"{schedule.gamma_max}; KL in nats summed over the chain ('largest': of one step), ratios averaged over it"
        )
        names = ("best", "largest", "analytic", "upper", "lower", "var/beta", "var/beta~", "var/analytic")
        print(f"{'T':>6}" + "".join(f"{name:>14}" for name in names))
        for num_steps in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
            row = measure(data, num_steps, min(arguments.steps, num_steps), num_points, arguments.seed)
            print(f"{num_steps:>6}" + "".join(f"{row[name]:>14.4g}" for name in names), flush=True)


def one_dimensional() -> GaussianMixture:
    """Two modes of different widths."""
    weights, means, variances = [0.3, 0.7], [[-1.0], [1.0]], [[[0.04]], [[0.16]]]
    return _mixture(weights, means, variances)


def two_dimensional() -> GaussianMixture:
    """Three modes of different widths and directions."""
    return _mixture(
        [0.5, 0.3, 0.2],
        [[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]],
        [[[0.09, 0.03], [0.03, 0.04]], [[0.06, -0.01], [-0.01, 0.09]], [[0.25, 0.0], [0.0, 0.04]]],
    )


def measure(
    data: GaussianMixture, chain_steps: int, num_steps: int, num_points: int, seed: int = 0
) -> dict[str, float]:
    """The KL of a chain of `chain_steps`, from `num_steps` of them evenly spread and `num_points` draws of x_t at each."""
    sums: dict[str, list[Tensor]] = {}
    levels = data.schedule.levels(torch.linspace(0, 1, chain_steps + 1, dtype=torch.float64))
    noise = Stream(seed)
    x = data.sample(num_points, noise)
    eps = noise.normal(x)  # the same at every step: what is compared from step to step differs by the step alone
    for number in range(num_steps):
        index = int((number + 0.5) * chain_steps / num_steps)
        s, t = levels[index], levels[index + 1]
        for name, values in step(data, Latent(t.alpha * x + t.sigma * eps, t), s).items():
            sums.setdefault(name, []).append(values.mean())
    columns = {name: torch.stack(values) for name, values in sums.items()}
    row = {
        name: values.mean().item() if "/" in name else chain_steps * values.mean().item()
        for name, values in columns.items()
    }
    return row | {"largest": columns["best"].max().item()}


def step(data: GaussianMixture, x_t: Latent, s: Level) -> dict[str, Tensor]:
    """The KL of one step for each x_t, and the exact variance over each of the library's."""
    t, D = x_t.level, data.shape[0]
    log_weights, means, covariances = truth(data, x_t, s)
    prediction = data(x_t.x, t)
    mean = encode_back(x_t, prediction.x, s).mean
    torch.testing.assert_close((log_weights.exp()[..., None] * means).sum(1), mean, rtol=1e-9, atol=1e-9)
    from_mean = means - mean[:, None]
    outer = from_mean[..., None] * from_mean[..., None, :]
    covariance = (log_weights.exp()[..., None, None] * (covariances + outer)).sum(1)

    # the expectation under each component of the truth, by Gauss's rule
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(NODES[D]))
    nodes = torch.cartesian_prod(*[nodes] * D).reshape(-1, D)
    weights = torch.cartesian_prod(*[weights / weights.sum()] * D).reshape(-1, D).prod(1)
    roots = torch.linalg.cholesky(covariances)
    x_s = means[:, :, None] + nodes @ roots.mT  # (B, K, N, D)
    apart = x_s[..., None, :] - means[:, None, None]  # and from every component's mean: (B, K, N, K, D)
    log_q = (log_weights[:, None, None] + _log_normal(apart, roots)).logsumexp(-1)

    def kl(spread: Tensor) -> Tensor:
        """KL(q(x_s | x_t) || N(mean, spread))."""
        log_p = _log_normal(x_s - mean[:, None, None], torch.linalg.cholesky(spread)[:, None, None])
        return (log_weights.exp() * ((log_q - log_p) @ weights)).sum(1)

    variances = {
        kind: torch.as_tensor(reverse_variance(kind, t, s, prediction.x_var), dtype=mean.dtype).expand_as(mean)
        for kind in ("analytic", "upper", "lower")
    }
    exact = covariance.diagonal(dim1=1, dim2=2)
    return {
        "best": kl(covariance),
        **{kind: kl(torch.diag_embed(variance)) for kind, variance in variances.items()},
        "var/beta": (exact / variances["upper"]).mean(1),
        "var/beta~": (exact / variances["lower"]).mean(1),
        "var/analytic": (exact / variances["analytic"]).mean(1),
    }


def truth(data: GaussianMixture, x_t: Latent, s: Level) -> tuple[Tensor, Tensor, Tensor]:
    """q(x_s | x_t), itself a mixture: log weights (B, K), means (B, K, D), covariances (K, D, D)."""
    t, identity = x_t.level, torch.eye(data.shape[0], dtype=torch.float64)
    step = posterior(t, s)
    marginal = t.alpha**2 * data.covariances + t.sigma**2 * identity
    gain = t.alpha * torch.linalg.solve(marginal, data.covariances).mT
    residual = x_t.x[:, None] - t.alpha * data.means
    x_mean = data.means + (gain @ residual[..., None])[..., 0]
    x_covariance = data.covariances - t.alpha * gain @ data.covariances
    log_weights = (data.weights.log() + _log_normal(residual, torch.linalg.cholesky(marginal))).log_softmax(1)
    means = step.from_x_t * x_t.x[:, None] + step.from_x * x_mean
    return log_weights, means, step.variance * identity + step.from_x**2 * (x_covariance + x_covariance.mT) / 2


def _log_normal(deviation: Tensor, root: Tensor) -> Tensor:
    """log N(deviation; 0, root root^T), over the last dimension."""
    whitened = (torch.linalg.inv(root) @ deviation[..., None])[..., 0]
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * whitened.square().sum(-1) - log_det - 0.5 * deviation.shape[-1] * math.log(2 * math.pi)


def _mixture(weights: list, means: list, covariances: list) -> GaussianMixture:
    columns = (torch.tensor(values, dtype=torch.float64) for values in (weights, means, covariances))
    return GaussianMixture(*columns, LinearGamma(-8.0, 8.0))


if __name__ == "__main__":
    main()
