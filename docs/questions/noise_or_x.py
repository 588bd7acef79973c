r"""Why does predicting the noise work better than predicting x, although the two are equivalent?

Predictions of x, of the noise and of v are the same prediction in other units, and for one network the losses differ by a
factor that depends on the noise level alone: $\|x - \hat x\|^2 = e^\gamma \|\epsilon - \hat\epsilon\|^2$ and $\|v - \hat
v\|^2 = (1 + e^\gamma) \|\epsilon - \hat\epsilon\|^2$. So two things can differ: which levels a loss counts, and what the
network has to output. Here digits, as vectors, are learned by the same small network nine times: each prediction under each
loss. Along a row of the last table only the weighting changes, down a column only the parameterisation.

Both matter. Test bits/dim after 1,200 steps (bound, +- 0.02 where the network predicts the noise): the noise under its own
loss 2.55, under the loss of x 4.41; x under its own loss 22.3, under the noise's 9.7; v 2.60 to 3.30. Under one weighting,
the bound's, the gradient of a network that predicts x has 97 % of its variance at the smallest noise, where its errors
weigh most; that of one that predicts the noise is spread over all levels, 9 % of it there.

    python docs/questions/noise_or_x.py [--quick]
"""

import argparse
import itertools
import math

import torch
from torch import Tensor

import lowerbound as lb
from lowerbound import MLP, open_dataset
from lowerbound.data import batch_indices
from lowerbound.nn import octaves

TARGETS = ("x", "eps", "v")
BATCH = 64
NUM_LEVELS = 17


def relative_weight(target: str, gamma: Tensor) -> Tensor:
    r"""The factor c in $\|target - \hat{target}\|^2 = c \|\epsilon - \hat\epsilon\|^2$, given $x_t$."""
    return {"x": gamma.exp(), "eps": torch.ones_like(gamma), "v": 1 + gamma.exp()}[target]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="hardly any training: only to see that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)  # the network is small
    num_steps, num_draws, num_times = (10, 4, 2) if quick else (1200, 48, 32)
    digits = open_dataset("digits")
    train, test = (digits.encoded(indices).flatten(1) for indices in (digits.train, digits.test))
    denoisers = {
        (target, weighting): trained(target, weighting, train, num_steps)
        for target, weighting in itertools.product(TARGETS, TARGETS)
    }
    gammas = torch.linspace(-7.5, 4.5, 7)
    alike = [denoisers[target, "eps"] for target in TARGETS]

    print("1. One network, trained on the noise: the same errors as losses of x, of the noise, and of v, per dimension")
    table("gamma", gammas, errors(denoisers["eps", "eps"], test, gammas))
    print(f"largest relative difference between a loss and the noise's, converted: {conversion(test):.1e}")

    print("\n2. Each trained on the bound: variance of a single draw's gradient, as shares of its sum over gamma")
    shares = torch.stack([gradient_variance(each, train, gammas, num_draws) for each in alike])
    table("gamma", gammas, shares / shares.sum(1, keepdim=True))

    print(f"\n3. Test bits/dim after {num_steps} steps (bound, ± over examples); rows: predicted, columns: loss of")
    bits = {key: bits_per_dim(denoiser, test, num_times) for key, denoiser in denoisers.items()}
    print(f"{'':>8}" + "".join(f"{weighting:>20}" for weighting in TARGETS))
    for target in TARGETS:
        row = (lb.mean_and_error(bits[target, weighting]) for weighting in TARGETS)
        print(f"{target:>8}" + "".join(f"{mean:>12.3f} ± {error:.3f}" for mean, error in row))
    base = bits["x", "x"]
    for name, key in (
        ("x, re-weighted to the noise's loss", ("x", "eps")),
        ("the noise, re-weighted to the loss of x", ("eps", "x")),
        ("the noise and its loss", ("eps", "eps")),
        ("v, re-weighted to the noise's loss", ("v", "eps")),
    ):
        mean, error = lb.mean_and_error(bits[key] - base)
        print(f"  {name:<42} {mean:+.3f} ± {error:.3f} against x and its loss")


def trained(target: str, weighting: str, data: Tensor, num_steps: int) -> lb.Denoiser:
    """The same network with the same start and the same draws, predicting one thing under the loss of another.

    The schedule is linear in gamma, where the loss of the noise is the bound but for a factor, which Adam does not see.
    """
    torch.manual_seed(0)
    network = MLP(data.shape[1], width=128, depth=3, fourier_frequencies=octaves(NUM_LEVELS))
    denoiser = lb.NetworkDenoiser(network, lb.LinearGamma(-7.9, 5.0), (data.shape[1],), target=target)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    noise = lb.Stream(seed=0)
    for step in range(num_steps):
        x = data[batch_indices(0, step, BATCH, len(data))]
        loss = lb.loss(denoiser, x, lambda gamma, slope: 2 / slope * relative_weight(weighting, gamma), noise=noise)
        optimizer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 10 * math.sqrt(data.shape[1]))
        optimizer.step()
        rate.step()
    return denoiser.requires_grad_(False)


@torch.no_grad()
def bits_per_dim(denoiser: lb.Denoiser, x: Tensor, num_times: int) -> Tensor:
    """The bound of each example, with the same noise for every denoiser."""
    bound = lb.elbo(denoiser, lb.LevelPosterior(NUM_LEVELS), x, noise=lb.PerSample(range(len(x))), num_times=num_times)
    return bound.bits_per_dim.double()


def predict(denoiser: lb.Denoiser, x: Tensor, gamma: float, noise: lb.Stream) -> tuple[Tensor, lb.Prediction]:
    """Noise, and what the denoiser makes of data with it at a noise level."""
    level = denoiser.schedule.level(denoiser.schedule.inverse(torch.full((len(x),), gamma, dtype=x.dtype)))
    eps = noise.normal(x)
    return eps, denoiser(level.alpha[:, None] * x + level.sigma[:, None] * eps, level)


def losses(denoiser: lb.Denoiser, x: Tensor, gamma: float, noise: lb.Stream) -> Tensor:
    """The unweighted losses of x, eps and v of each example, (3, B), per dimension."""
    eps, prediction = predict(denoiser, x, gamma, noise)
    variance = torch.tensor(gamma, dtype=x.dtype).sigmoid()
    v = (1 - variance).sqrt() * eps - variance.sqrt() * x
    pairs = ((x, prediction.x), (eps, prediction.eps), (v, prediction.v))
    return torch.stack([((truth - found) ** 2).mean(1) for truth, found in pairs])


@torch.no_grad()
def errors(denoiser: lb.Denoiser, x: Tensor, gammas: Tensor) -> Tensor:
    """Mean losses by noise level, (3, levels)."""
    return torch.stack([losses(denoiser, x, gamma, lb.Stream(seed=1)).mean(1) for gamma in gammas.tolist()], 1)


@torch.no_grad()
def conversion(x: Tensor) -> float:
    """How far the losses of x and v are from the noise's times its factor, in double precision, of any denoiser."""
    denoiser = lb.Gaussian(torch.zeros(64).double(), 0.5 * torch.eye(64).double(), lb.LinearGamma(-7.9, 5.0))
    worst = 0.0
    for gamma in (-7.5, 0.0, 4.5):
        found = losses(denoiser, x.double(), gamma, lb.Stream(seed=1))
        for target, loss in zip(TARGETS, found, strict=True):
            factor = relative_weight(target, torch.tensor(gamma).double())
            worst = max(worst, (loss / (factor * found[1]) - 1).abs().max().item())
    return worst


def gradient_variance(denoiser: lb.Denoiser, data: Tensor, gammas: Tensor, num_draws: int) -> Tensor:
    r"""The variance of the gradient of $\frac12 \|\epsilon - \hat\epsilon\|^2$ of a single draw, by noise level."""
    parameters = [parameter.requires_grad_() for parameter in denoiser.parameters()]
    noise, order = lb.Stream(seed=2), torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    variances = []
    for gamma in gammas.tolist():
        total, square = [torch.zeros_like(parameter) for parameter in parameters], 0.0
        for index in order[:num_draws]:
            eps, prediction = predict(denoiser, data[index][None], gamma, noise)
            found = torch.autograd.grad(0.5 * ((eps - prediction.eps) ** 2).sum(), parameters)
            square += sum((part**2).sum().item() for part in found)
            total = [so_far + part for so_far, part in zip(total, found, strict=True)]
        square_of_mean = sum((part**2).sum().item() for part in total) / num_draws
        variances.append((square - square_of_mean) / (num_draws - 1))
    return torch.tensor(variances)


def table(name: str, columns: Tensor, rows: Tensor) -> None:
    """Figures by noise level, a row for each target."""
    print(f"{name:>8}" + "".join(f"{column:>10.1f}" for column in columns.tolist()))
    for target, row in zip(TARGETS, rows.tolist(), strict=True):
        print(f"{target:>8}" + "".join(f"{value:>10.3g}" for value in row))


if __name__ == "__main__":
    main()
