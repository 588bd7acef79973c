r"""Are Tweedie's estimate, the score and the noise one thing?

Yes, views of one network: each follows from another to 3e-6, the rounding of single precision.

One small network is trained to say v; everything else is read off it. With x_t = alpha x + sigma eps,

    x_t   = alpha x_hat + sigma eps_hat            signal and noise add up to what was seen
    x_hat = (x_t + sigma^2 score) / alpha          Tweedie
    score = -eps_hat / sigma                       the noise, pointing back
    v     = alpha eps_hat - sigma x_hat            of the scaling that preserves variance
    dx_t/dt = alpha' x_hat + sigma' eps_hat        the probability flow

hold to rounding, whatever the network has learned. Whether it is right is another matter: for a mixture the score of every
noise level is known, and one relative error in it is an error in all the views, weighted differently by the level:
after 2000 steps 0.5 to 8 % of the score, but 0.2 % of x at gamma = -5 and 12 % at gamma = 3.

python docs/questions/views.py
"""

import argparse
import time

import torch
from torch import Tensor

from lowerbound import MLP, GaussianMixture, LinearGamma, NetworkDenoiser, Prediction, Stream, loss
from lowerbound.data import mixture_parameters
from lowerbound.denoiser.base import slopes

GAMMAS = (-5.0, -3.0, -1.0, 1.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="50 steps only")
    arguments = parser.parse_args()
    num_steps = 50 if arguments.quick else arguments.steps

    torch.set_num_threads(1)  # the tensors are small
    began = time.perf_counter()
    weights, means, covariances = (torch.tensor(each).float() for each in mixture_parameters())
    data = GaussianMixture(weights, means, covariances, LinearGamma(-6.0, 5.0))
    denoiser = trained(data, num_steps)
    print(f"{num_steps} steps of training, {time.perf_counter() - began:.0f} s")

    x, noise = data.sample(5000, Stream(1)), Stream(2)
    print("\none noisy point, at gamma = -1: what the network says of it")
    level = data.schedule.level_at(-1.0)
    said = predict(denoiser, level.alpha * x[:1] + level.sigma * noise.normal(x[:1]), -1.0)
    for name in ("x_t", "x", "eps", "score", "v", "velocity"):
        print(f"  {name:<9}" + "".join(f"{value:>9.3f}" for value in getattr(said, name)[0].tolist()))

    print("\nthe largest deviation from each identity, relative to the larger side (single precision)")
    print(f"{'gamma':>6} {'sum':>9} {'Tweedie':>9} {'score':>9} {'v':>9} {'flow':>9}")
    rows = []
    for gamma in GAMMAS:
        level = data.schedule.level_at(gamma)
        x_t = level.alpha * x + level.sigma * noise.normal(x)
        said, right = (predict(each, x_t, gamma) for each in (denoiser, data))
        print(f"{gamma:>6.0f} " + " ".join(f"{each:>9.1e}" for each in deviations(said)))
        rows.append([(getattr(said, view), getattr(right, view)) for view in ("score", "eps", "x", "v")])

    print("\nagainst the exact views of the mixture: E|s - s*| / E|s*|")
    print(f"{'gamma':>6} {'score':>9} {'eps':>9} {'x':>9} {'v':>9}")
    for gamma, row in zip(GAMMAS, rows, strict=True):
        errors = (((ours - exact).norm(dim=1).mean() / exact.norm(dim=1).mean()).item() for ours, exact in row)
        print(f"{gamma:>6.0f} " + " ".join(f"{error:>9.4f}" for error in errors))
    print(f"{time.perf_counter() - began:.1f} s")


def trained(data: GaussianMixture, num_steps: int) -> NetworkDenoiser:
    torch.manual_seed(0)
    denoiser, noise = NetworkDenoiser(MLP(2, width=64, depth=2), data.schedule, (2,), "v"), Stream(0)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(denoiser, data.sample(256, noise), noise=noise).mean().backward()
        optimizer.step()
        rate.step()
    return denoiser


@torch.no_grad()
def predict(denoiser: NetworkDenoiser | GaussianMixture, x_t: Tensor, gamma: float) -> Prediction:
    return denoiser(x_t, denoiser.schedule.level_at(gamma))


def deviations(said: Prediction) -> list[float]:
    """How far each identity of the module's docstring is from holding."""
    alpha, sigma = said.level.alpha, said.level.sigma
    alpha_slope, sigma_slope = slopes(said.schedule, said.level)
    pairs = [
        (said.x_t, alpha * said.x + sigma * said.eps),
        (said.x, (said.x_t + sigma**2 * said.score) / alpha),
        (said.score, -said.eps / sigma),
        (said.v, alpha * said.eps - sigma * said.x),
        (said.velocity, alpha_slope * said.x + sigma_slope * said.eps),
    ]
    return [((one - other).abs().max() / one.abs().max()).item() for one, other in pairs]


if __name__ == "__main__":
    main()
