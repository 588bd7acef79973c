"""Other libraries' training examples, for `time_to_quality.py`: a network, its loss, and what it means as a denoiser.

Each is trained as its own example trains it, but for the number of channels and the batch, which are made for a GPU there
and would not make a hundred steps in a minute of a CPU: `--channels` and `--batch-size` say how many. What the loops have in
common, the order of images and the average of the weights, is here once.
"""

import copy
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import lowerbound as lb
from lowerbound.denoiser import Denoiser, NetworkDenoiser
from lowerbound.elementary import expand
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.nn import UNet
from lowerbound.objective import balanced
from lowerbound.schedule import Level, LinearGamma, RectifiedFlow, Tabulated, betas, from_betas, geometric
from lowerbound.training.recipes import IMAGE_GAMMA_MAX, gamma_min

BYTES = 256 / 255
"""Peers' images go from -1 to 1, ends included; ours are in the middle of their 256 levels."""


@dataclass(frozen=True)
class Peer:
    """How it is trained.

    Arguments:
        build: makes the network and the denoiser that it is, of a shape and a number of channels.
        loss: of the denoiser and a batch of encoded images.
        rate, warmup, betas, weight_decay: of AdamW.
        falls: whether the rate falls by a half cosine to zero.
        decay: of the running average of weights, once it has begun.
    """

    build: Callable[[tuple[int, ...], int], Denoiser]
    loss: Callable[[Denoiser, Tensor], Tensor]
    rate: float
    warmup: int = 1
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    falls: bool = False
    decay: float = 0.9999


def train(
    peer: Peer,
    dataset: lb.Dataset,
    channels: int,
    batch_size: int,
    marks: Sequence[float],
    seed: int,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Iterator[tuple[float, Denoiser, int]]:
    """The peer after each of so many minutes of steps, with averaged weights, and how many images its steps have seen by
    then, of one training; a rate that falls does so until the last."""
    device = torch.device(device)
    torch.manual_seed(seed)
    denoiser = peer.build(dataset.shape, channels).to(device).train()
    parameters = trainable(denoiser)
    optimizer = torch.optim.AdamW(parameters, peer.rate, betas=peer.betas, weight_decay=peer.weight_decay)
    average = [parameter.detach().clone() for parameter in parameters]
    order, step, seconds = np.random.default_rng(seed), 0, 0.0
    for mark in marks:
        while seconds < 60 * mark:
            began = time.perf_counter()
            x = dataset.encoded(order.choice(dataset.train, batch_size)).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = peer.loss(denoiser, x)
            progress = seconds / (60 * marks[-1])
            for group in optimizer.param_groups:
                fallen = 0.5 * (1 + math.cos(math.pi * progress)) if peer.falls else 1
                group["lr"] = peer.rate * min(1, (step + 1) / peer.warmup) * fallen
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
            lost = 1 - min(peer.decay, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, lost)
            seconds += time.perf_counter() - began
        averaged = copy.deepcopy(denoiser).eval()
        with torch.no_grad():
            for parameter, value in zip(trainable(averaged), average, strict=True):
                parameter.copy_(value)
        yield mark, averaged, step * batch_size


def trainable(denoiser: Denoiser) -> list[nn.Parameter]:
    """Its parameters that steps change."""
    return [parameter for parameter in denoiser.parameters() if parameter.requires_grad]


def noise_error(num_steps: int) -> Callable[[Denoiser, Tensor], Tensor]:
    """The mean square of the error in the noise at one of the table's steps, uniformly drawn (DDPM, equation 14)."""

    def loss(denoiser: Denoiser, x: Tensor) -> Tensor:
        x_t, level, eps = _noisy(denoiser, x, torch.randint(num_steps, (len(x),), device=x.device) / (num_steps - 1))
        return functional.mse_loss(denoiser(x_t, level).eps, eps)

    return loss


def flow_error(denoiser: Denoiser, x: Tensor) -> Tensor:
    """The mean square of the error in the velocity at a uniform time (Lipman et al. 2023)."""
    x_t, level, eps = _noisy(denoiser, x, torch.rand(len(x), device=x.device))
    prediction = denoiser(x_t, level)
    return functional.mse_loss(prediction.eps - prediction.x, eps - x)


def bound_error(denoiser: Denoiser, x: Tensor) -> Tensor:
    """Ours: the balanced weighting of the bound's integral, per entry."""
    noise = lb.Stream(int(torch.randint(2**31, ())), x.device)
    return lb.objective.loss(denoiser, x, balanced(), noise=noise).mean() / x[0].numel()


def velocity_error(denoiser: Denoiser, x: Tensor) -> Tensor:
    """The mean square of the error in v at one of the table's steps, weighted by its signal's share of the variance."""
    schedule = denoiser.schedule
    assert isinstance(schedule, Tabulated)
    num_steps = len(schedule.knots)
    x_t, level, eps = _noisy(denoiser, x, torch.randint(num_steps, (len(x),), device=x.device) / (num_steps - 1))
    alpha, sigma = expand(level.alpha, x), expand(level.sigma, x)
    return (alpha**2 * (denoiser(x_t, level).v - (alpha * eps - sigma * x)) ** 2).mean()


def azula_error(denoiser: Denoiser, x: Tensor) -> Tensor:
    """The mean square of the error in the data over the noise's share of the variance, at a uniform time."""
    x_t, level, _ = _noisy(denoiser, x, torch.rand(len(x), device=x.device))
    return ((denoiser(x_t, level).x - x) ** 2 / expand(level.sigma, x) ** 2).mean()


def _noisy(denoiser: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Level, Tensor]:
    level, eps = denoiser.schedule.level(t), torch.randn_like(x)
    return expand(level.alpha, x) * x + expand(level.sigma, x) * eps, level, eps


def stand_in_for_torchvision() -> None:
    """An empty module in the place of torchvision, if none fits this torch: these libraries read files' images by it, which
    are not read by them here."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        sys.modules |= {name: MagicMock() for name in ("torchvision", "torchvision.transforms")}


class Called(nn.Module):
    """A network by the call that `ForeignDenoiser` makes."""

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Tensor]):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.call(self.network, x, time)


def diffusers_network(shape: tuple[int, ...], channels: int) -> nn.Module:
    """Diffusers' U-Net with the two blocks a resolution and the attention at the lowest of its unconditional example."""
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=shape[1:],
        in_channels=shape[0],
        out_channels=shape[0],
        block_out_channels=(channels, 2 * channels, 2 * channels),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
    )
    return Called(network, lambda network, x, time: network(x, time).sample)


def of_diffusers(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Of the noise of 1,000 linear betas."""
    schedule, network = from_betas(betas.linear()), diffusers_network(shape, channels)
    return ForeignDenoiser(network, schedule, shape, "eps", lambda level: 999 * level.t, scale=BYTES)


def of_torchcfm(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Of the velocity from noise to data, in torchcfm's U-Net of one block a resolution."""
    from torchcfm.models.unet import UNetModel

    network = UNetModel(dim=shape, num_channels=channels, num_res_blocks=1)
    called = Called(network, lambda network, x, time: network(time, x))
    towards_data = lambda level: (1, -1)  # noqa: E731
    return ForeignDenoiser(called, RectifiedFlow(), shape, towards_data, lambda level: level.alpha, scale=BYTES)


def of_smalldiffusion(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Of the noise at sigma from 0.01 to 20, in smalldiffusion's U-Net."""
    stand_in_for_torchvision()
    from smalldiffusion import Scaled, Unet

    network = Scaled(Unet)(shape[-1], shape[0], shape[0], ch=channels, ch_mult=(1, 1, 2), attn_resolutions=(14,))
    called = Called(network, lambda network, x, sigma: network(x, sigma.view(-1, 1, 1, 1)))
    return ForeignDenoiser(called, geometric(0.01, 20), shape, "eps", lambda level: level.sigma, scale=BYTES)


def of_denoising_diffusion_pytorch(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Of v under sigmoid betas, in its U-Net with all resolutions that the images' sides divide into."""
    stand_in_for_torchvision()
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(channels, dim_mults=(1, 2, 4), channels=shape[0])
    table = GaussianDiffusion(network, image_size=shape[-1]).betas.double()
    called = Called(network, lambda network, x, time: network(x, time))
    return ForeignDenoiser(called, from_betas(table), shape, "v", lambda level: 999 * level.t, scale=BYTES)


class AzulaBackbone(nn.Module):
    """Azula's U-Net, modulated by an encoding of the logarithm of the noise's scale, as its preconditioning calls it."""

    def __init__(self, num_channels: int, channels: int):
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet as Network

        super().__init__()
        self.encoding = SineEncoding(4 * channels)
        widths = (channels, 2 * channels, 4 * channels)
        self.network = Network(
            num_channels, num_channels, hid_channels=widths, hid_blocks=(2, 2, 2), mod_features=4 * channels
        )

    def forward(self, x: Tensor, log_scale: Tensor) -> Tensor:
        return self.network(x, self.encoding(log_scale))


def of_azula(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Of the data, preconditioned as in EDM, under its variance-preserving schedule."""
    from azula.denoise import KarrasDenoiser
    from azula.noise import VPSchedule

    theirs = VPSchedule()
    alpha, sigma = theirs(torch.linspace(0, 1, 20_001, dtype=torch.float64))
    called = Called(
        KarrasDenoiser(AzulaBackbone(shape[0], channels), theirs), lambda network, x, time: network(x, time).mean
    )
    schedule = Tabulated(2 * torch.log(sigma / alpha))
    return ForeignDenoiser(called, schedule, shape, "x", lambda level: level.t, scale=BYTES)


def our_objective(shape: tuple[int, ...], channels: int) -> Denoiser:
    """Diffusers' network under our schedule, of v."""
    schedule = LinearGamma(gamma_min(256), IMAGE_GAMMA_MAX)
    return ForeignDenoiser(diffusers_network(shape, channels), schedule, shape, "v", lambda level: 999 * level.t)


def our_network(shape: tuple[int, ...], channels: int) -> Denoiser:
    """One U-Net of ours under the peers' noise, of eps."""
    network = UNet(shape[0], len(shape) - 1, width=channels, multipliers=(1, 2, 2))
    return NetworkDenoiser(network, from_betas(betas.linear()), shape, "eps")


PEERS = {
    "diffusers": Peer(
        of_diffusers, noise_error(1000), rate=1e-4, warmup=500, betas=(0.95, 0.999), weight_decay=1e-6, falls=True
    ),
    "diffusers, faster": Peer(
        of_diffusers, noise_error(1000), rate=1e-3, warmup=500, betas=(0.95, 0.999), weight_decay=1e-6, falls=True
    ),
    "torchcfm": Peer(of_torchcfm, flow_error, rate=1e-3),
    "smalldiffusion": Peer(of_smalldiffusion, noise_error(800), rate=7e-4, weight_decay=0.01, decay=0.999),
    "denoising-diffusion-pytorch": Peer(
        of_denoising_diffusion_pytorch, velocity_error, rate=8e-5, betas=(0.9, 0.99), decay=0.9995
    ),
    "azula": Peer(of_azula, azula_error, rate=1e-3),
    "their network": Peer(our_objective, bound_error, rate=1e-3, warmup=100, falls=True),
    "their objective": Peer(our_network, noise_error(1000), rate=1e-3, warmup=100, falls=True),
}
"""By their names; the last two are controls, each half of the way from theirs to ours."""
