"""What does a GAN's discriminator know?

The log of the density ratio: trained to tell draws of p from draws of g, its logit is at its best at log p(x) - log g(x)
(`models.gan`). Here both are Gaussian mixtures in the plane, whose densities are known, and the discriminator is the
GAN's own. On fresh draws, half of them from p and half from g, whose log ratio has a mean size of 1.25 nats, it is off by
0.08 nats on average (correlation 0.990). The gradient penalty that a GAN is trained with makes the ratio flatter than it
is, and buys a stable game with a bias: with r1 = 1 it is off by 1.17 nats (correlation 0.683).

    python docs/questions/density_ratio.py [--quick]
"""

import argparse

import torch
from torch import Tensor

from lowerbound import GaussianMixture, LinearGamma, Stream
from lowerbound.models.gan import discriminator_loss
from lowerbound.nn.gan import Discriminator

PENALTIES = (0.0, 0.01, 1.0)
BATCH = 256
LEARNING_RATE = 3e-3
NUM_TESTED = 10_000


def mixtures() -> tuple[GaussianMixture, GaussianMixture]:
    """p of three narrow components, and g of two wide ones that covers most of it."""
    schedule = LinearGamma(-12.0, 5.0)
    eye = torch.eye(2)
    p = GaussianMixture(
        torch.tensor([0.5, 0.3, 0.2]),
        torch.tensor([[-1.0, -0.5], [1.0, -0.5], [0.0, 1.0]]),
        torch.stack([0.1 * eye, 0.15 * eye, 0.2 * eye]),
        schedule,
    )
    g = GaussianMixture(
        torch.tensor([0.6, 0.4]), torch.tensor([[-0.6, 0.0], [0.8, 0.2]]), torch.stack([0.5 * eye, 0.4 * eye]), schedule
    )
    return p, g


def train(p: GaussianMixture, g: GaussianMixture, penalty: float, steps: int, seed: int = 0) -> Discriminator:
    """A discriminator of fresh draws of p and g, its learning rate falling to zero."""
    torch.manual_seed(seed)
    discriminator = Discriminator((2,), width=64, depth=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    noise = Stream(seed)
    for _ in range(steps):
        x, y = p.sample(BATCH, noise).requires_grad_(), g.sample(BATCH, noise)
        on_data = discriminator(x)
        (slope,) = torch.autograd.grad(on_data.sum(), x, create_graph=True)
        loss = discriminator_loss(on_data, discriminator(y)).mean() + penalty / 2 * (slope**2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return discriminator


def errors(discriminator: Discriminator, p: GaussianMixture, g: GaussianMixture) -> tuple[float, float, float]:
    """Correlation and mean absolute difference of logit and log ratio, and the log ratio's own mean absolute value."""
    noise = Stream(1)
    x = torch.cat([p.sample(NUM_TESTED // 2, noise), g.sample(NUM_TESTED // 2, noise)])
    exact = p.log_prob(x) - g.log_prob(x)
    with torch.no_grad():
        logit: Tensor = discriminator(x)
    correlation = torch.corrcoef(torch.stack([logit, exact]))[0, 1].item()
    return correlation, (logit - exact).abs().mean().item(), exact.abs().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="too short to learn anything")
    num_steps = 30 if parser.parse_args().quick else 1000

    torch.set_num_threads(1)  # the tensors are small
    p, g = mixtures()
    print(f"{num_steps} steps of {BATCH} draws each; {NUM_TESTED:,} fresh draws, nats")
    print(f"{'penalty':>8} {'correlation':>12} {'mean |D - log p/g|':>19} {'mean |log p/g|':>15}")
    for penalty in PENALTIES:
        correlation, difference, size = errors(train(p, g, penalty, num_steps), p, g)
        print(f"{penalty:>8g} {correlation:>12.4f} {difference:>19.3f} {size:>15.3f}")


if __name__ == "__main__":
    main()
