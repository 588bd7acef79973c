r"""What is "the energy" of a diffusion model?

Three things go by the name, all of them -log p(x) up to a constant, here of a mixture in the plane with a little noise
on it: the data's own, known; that of the probability flow of a network of the noise, an integral along the way to pure
noise; and an energy network's, one evaluation, with a log Z that is the same for all x and comes from annealed
importance sampling. A score network alone has none: its output need not be the gradient of anything. How far it is
from one shows in its Jacobian, whose antisymmetric part is zero for a gradient. On points of the data and on points
all over the plane: the mean difference from the exact log density, its spread, and the correlation.

Where the data are, the flow's log density is 0.06 nats below the exact one (spread 0.24, correlation 0.98) and the energy
network's 0.20 (0.68, 0.86); far from them it is the other way round: the flow is off by 2.3 nats (spread 4.1), the energy
network by 0.0 (1.8). The noise network's score is 4 % away from a gradient, the energy network's is one to 3e-8.

    python docs/questions/what_is_the_energy.py [--quick]
"""

import argparse
import time
from typing import TypeVar

import torch
from torch import Tensor

from lowerbound import (
    MLP,
    Denoiser,
    GaussianMixture,
    LinearGamma,
    NetworkDenoiser,
    Stream,
    log_prob,
    mean_and_error,
    objective,
)
from lowerbound.data import mixture_parameters
from lowerbound.langevin import EnergyDenoiser
from lowerbound.theory import NoiseLevels, energy_log_prob, log_normaliser

BATCH = 128
Kind = TypeVar("Kind", bound=Denoiser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="too short to learn anything")
    quick = parser.parse_args().quick
    num_steps, num_points, num_chains, num_bridges = (10, 20, 50, 10) if quick else (1500, 500, 1000, 200)
    torch.set_num_threads(1)  # the tensors are small
    began = time.perf_counter()
    schedule = LinearGamma(-6.0, 5.0)
    data = GaussianMixture(*(torch.tensor(each).float() for each in mixture_parameters()), schedule)
    torch.manual_seed(0)
    network = train(NetworkDenoiser(MLP(2, width=64, depth=2), schedule, (2,), "edm"), data, num_steps)
    energy = train(EnergyDenoiser(MLP(2, width=64, depth=2), schedule, (2,)), data, num_steps)
    path = NoiseLevels(energy.log_density, schedule, (2,))
    run = log_normaliser(path, Stream(1), num_chains=num_chains, num_bridges=num_bridges)
    print(f"log Z of the energy network {run.figure}, as of {run.effective_sample_size:.0f} independent chains")

    level, noise = schedule.level(0.0), Stream(2)
    x = data.sample(num_points, noise)
    x = x + level.sigma / level.alpha * noise.normal(x)
    plane = 4 * noise.uniform(x) - 2
    print(f"{'points':<12} {'log p':<16} {'minus the exact':>18} {'spread':>7} {'correlation':>12}")
    for name, points in (("of the data", x), ("of the plane", plane)):
        with torch.no_grad():
            exact = data.log_marginal(level.alpha * points, level) + 2 * torch.tensor(level.alpha).log()
            flow, network_energy = log_prob(network, points).nats, energy_log_prob(energy, points, run)
        for kind, ours in (("flow", flow), ("energy network", network_energy)):
            mean, error = mean_and_error(ours - exact)
            correlation = torch.corrcoef(torch.stack([ours, exact]))[0, 1]
            print(f"{name:<12} {kind:<16} {mean:>9.3f} ± {error:.3f} {(ours - exact).std():>7.3f} {correlation:>12.4f}")

    for name, denoiser in (("noise network", network), ("energy network", energy)):
        print(
            f"antisymmetric part of the score's Jacobian, {name}: {antisymmetry(denoiser, level.alpha * x):.2g} of the whole"
        )
    print(f"{time.perf_counter() - began:.1f} s")


def train(denoiser: Kind, data: GaussianMixture, num_steps: int) -> Kind:
    noise = Stream(0)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        objective.loss(denoiser, data.sample(BATCH, noise), noise=noise).mean().backward()
        optimizer.step()
        rate.step()
    return denoiser


def antisymmetry(denoiser: Denoiser, x_t: Tensor) -> float:
    """E|J - J^T| / E|J + J^T| of the score's Jacobian at the least noise."""
    x_t = x_t.detach().requires_grad_()
    score = denoiser(x_t, 0.0).score
    jacobian = torch.stack([torch.autograd.grad(score[:, i].sum(), x_t, retain_graph=True)[0] for i in range(2)], 1)
    return ((jacobian - jacobian.mT).norm(dim=(1, 2)).mean() / (jacobian + jacobian.mT).norm(dim=(1, 2)).mean()).item()


if __name__ == "__main__":
    main()
