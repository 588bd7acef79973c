"""A linear VAE trained by gradients against its known optimum, probabilistic PCA: python benchmarks/ppca.py

The ELBO of a VAE with affine networks and one variance is at most the greatest likelihood of the linear-Gaussian model,
which has a closed form (Tipping & Bishop 1999), and can reach it although its encoder knows no correlations (Lucas et al.
2019). Adam on draws of the bound, the step size falling to zero; the final ELBO is a closed form too. Nats per dimension.
"""

import argparse
import math
import time

import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor

from lowerbound import Stream
from lowerbound.models import Draw
from lowerbound.models.vae import VAE
from lowerbound.theory.linear import FullNormal, linear_gaussian, ppca


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    data = {"synthetic": (synthetic(), 3), "wine": (wine(), 4), "digits": (digits(), 10)}
    print(f"{'data':>10} {'D':>3} {'L':>3} {'examples':>9} {'ELBO':>9} {'optimum':>9} {'gap':>8} {'seconds':>8}")
    for name, (x, latent_dims) in data.items():
        begin = time.perf_counter()
        vae = train(x, latent_dims, arguments.steps, arguments.learning_rate, arguments.seed)
        seconds, D = time.perf_counter() - begin, x.shape[1]
        with torch.no_grad():
            q = vae.encode(x)
            reached = linear_gaussian(vae).elbo(x, FullNormal(q.mean, torch.diag(q.variance[0]))).mean().item() / D
            best = ppca(x.mean(0), x.T.cov(correction=0), latent_dims).log_prob(x).mean().item() / D
        print(
            f"{name:>10} {D:>3} {latent_dims:>3} {len(x):>9} {reached:>9.4f} {best:>9.4f} {best - reached:>8.4f} "
            f"{seconds:>8.1f}",
            flush=True,
        )


def train(x: Tensor, latent_dims: int, num_steps: int, learning_rate: float, seed: int) -> VAE:
    """A linear VAE after so many steps of Adam on the bound, over batches of 256 examples."""
    torch.manual_seed(seed)
    vae = VAE((x.shape[1],), None, network="linear", latent_dims=latent_dims).to(x.dtype)
    optimizer = torch.optim.Adam(vae.parameters(), learning_rate)
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        optimizer.zero_grad()
        batch = x[torch.randint(len(x), (256,))]
        vae.loss(batch, Draw(Stream(num_steps * seed + step))).total.mean().backward()
        optimizer.step()
    return vae


def synthetic() -> Tensor:
    """1000 draws of a linear-Gaussian model of 3 latents in 10 dimensions, with noise of 0.5."""
    generator = torch.Generator().manual_seed(0)
    weight, z, eps = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((10, 3), (1000, 3), (1000, 10))
    )
    return z @ weight.mT + 0.5 * eps


def wine() -> Tensor:
    """178 wines of 13 measurements (UCI)."""
    return standardised(load_wine().data)


def digits() -> Tensor:
    """1,797 digits of 64 pixels, of which three are never set."""
    return standardised(load_digits().data)


def standardised(values) -> Tensor:
    """Features of mean 0 and variance 1, without those that are constant."""
    x = torch.as_tensor(values, dtype=torch.float64)
    x = x[:, x.std(0) > 0]
    return (x - x.mean(0)) / x.std(0, correction=0)


if __name__ == "__main__":
    main()
