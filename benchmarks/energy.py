"""Energies of a mixture in the plane, trained by each objective: python benchmarks/energy.py

The same network, number of steps and draws; the objectives are denoising, sliced and explicit score matching,
contrastive divergence with 1 and 10 Langevin steps, and persistent contrastive divergence. Against the mixture's own
score and log density, with the least noise: E|s - s*| / E|s*|, the same at two levels of more noise, and the
divergence KL(q || p) = E_q[log q - log p] with the energy's log Z from annealed importance sampling. Last, a network
of the noise itself, which has no log density but its probability flow's.
"""

import argparse
import time

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
from lowerbound.langevin.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.score_matching import explicit_loss, sliced_loss
from lowerbound.theory import NoiseLevels, energy_log_prob, log_normaliser

BATCH, GAMMAS = 128, (-6.0, -3.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objectives", nargs="+", help="some of them; all by default")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    schedule = LinearGamma(min(GAMMAS), 5.0)
    data = GaussianMixture(*(torch.tensor(each).float() for each in mixture_parameters()), schedule)
    objectives = {
        "denoising": objective.loss,
        "sliced": sliced_loss,
        "explicit": explicit_loss,
        "CD-1": ContrastiveDivergence(num_steps=1),
        "CD-10": ContrastiveDivergence(num_steps=10),
        "persistent": PersistentChains((2,), 4 * BATCH, Stream(arguments.seed), num_steps=10),
    }
    print(f"{arguments.steps} steps of {BATCH} examples; relative error of the score at gamma = {GAMMAS}")
    print(f"{'objective':<16} {'':>6} {'error':>7} {'':>6} {'KL, nats':>16} {'log Z':>16} {'seconds':>8}")
    for name, loss in objectives.items():
        if arguments.objectives and name not in arguments.objectives:
            continue
        torch.manual_seed(arguments.seed)
        energy = EnergyDenoiser(MLP(2, width=64, depth=2), schedule, (2,))
        seconds = train(energy, data, loss, arguments.steps, arguments.seed)
        report(name, energy, data, seconds)
    torch.manual_seed(arguments.seed)
    network = NetworkDenoiser(MLP(2, width=64, depth=2), schedule, (2,), "edm")
    report("noise, its flow", network, data, train(network, data, objective.loss, arguments.steps, arguments.seed))


def train(denoiser: Denoiser, data: GaussianMixture, loss, num_steps: int, seed: int) -> float:
    """The seconds it took."""
    began, noise = time.perf_counter(), Stream(seed + 1)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(denoiser, data.sample(BATCH, noise), noise=noise).mean().backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 10.0)
        optimizer.step()
        rate.step()
    return time.perf_counter() - began


@torch.no_grad()
def report(name: str, denoiser: Denoiser, data: GaussianMixture, seconds: float) -> None:
    """One row: the score's errors, the divergence, and the normaliser."""
    noise, schedule, errors = Stream(2), data.schedule, []
    for gamma in GAMMAS:
        level, x = schedule.level_at(gamma), data.sample(4000, noise)
        x_t = level.alpha * x + level.sigma * noise.normal(x)
        errors.append(relative_error(denoiser(x_t, level).score, data(x_t, level).score))
    level, x = schedule.level(0.0), data.sample(2000, noise)
    x_t = level.alpha * x + level.sigma * noise.normal(x)
    log_q = data.log_marginal(x_t, level)
    if isinstance(denoiser, EnergyDenoiser):
        run = log_normaliser(NoiseLevels(denoiser.log_density, schedule, (2,)), noise, num_chains=1000, num_bridges=200)
        log_p, log_z = energy_log_prob(denoiser, x_t / level.alpha, run), str(run.figure)
    else:
        log_p, log_z = log_prob(denoiser, x_t / level.alpha).nats, "-"
    log_p = log_p - 2 * torch.tensor(level.alpha).log()  # of x_t, in whose units log q is
    divergence, error = mean_and_error(log_q - log_p)
    row = " ".join(f"{each:>6.3f}" for each in errors)
    print(f"{name:<16} {row} {divergence:>8.4f} ± {error:.4f} {log_z:>16} {seconds:>8.1f}", flush=True)


def relative_error(score: Tensor, true: Tensor) -> float:
    return ((score - true).norm(dim=1).mean() / true.norm(dim=1).mean()).item()


if __name__ == "__main__":
    main()
