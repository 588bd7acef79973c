"""Models of other libraries, randomly initialised, through the two lines that any module takes."""

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from lowerbound import LevelPosterior, PerSample, elbo
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.schedule import RectifiedFlow, betas, from_betas, geometric

pytestmark = pytest.mark.filterwarnings("ignore")  # of what these libraries make of their own dependencies
SHAPE = (3, 8, 8)


def library(name) -> Any:
    """A module of one of them, if it can be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(str(error))


class Called(nn.Module):
    """A module whose arguments stand in another order, or whose output is an object."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x_t, time, cond=None):
        return self.call(self.module, x_t, time, cond)


def adm(**settings):
    """The U-Net of ADM (Dhariwal & Nichol 2021), of which torchcfm has the authors' file."""
    module = library("torchcfm.models.unet.unet")
    torch.manual_seed(0)
    sizes = {
        "dim": SHAPE,
        "num_channels": 32,
        "num_res_blocks": 1,
        "channel_mult": (1, 2),
        "attention_resolutions": "4",
    }
    model = module.UNetModelWrapper(**{**sizes, **settings})
    for parameter in model.parameters():  # of which many begin at zero
        nn.init.normal_(parameter, std=0.05)
    return model.eval(), Called(model, lambda model, x_t, time, cond: model(time, x_t, cond))


def inputs(denoiser, t):
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    level, eps = denoiser.schedule.level(t), PerSample(range(2)).normal(x)
    return level, level.alpha * x + level.sigma * eps


@torch.no_grad()
def test_torchcfm_s_flow_from_noise_to_data():
    """Its field is dx/dt = data - noise, with noise at t = 0."""
    model, called = adm(class_cond=True, num_classes=4)
    denoiser = ForeignDenoiser(called, RectifiedFlow(), SHAPE, lambda level: (1, -1), lambda level: level.alpha)
    labels = torch.tensor([3, 0])
    for t in (0.2, 0.5, 0.9):
        level, x_t = inputs(denoiser, t)
        prediction = denoiser(x_t, level, labels)
        field = model(torch.full((2,), level.alpha), x_t, labels)
        assert ((prediction.x - prediction.eps) - field).abs().max() < 1e-5
        assert (prediction.x - (x_t + level.sigma * field)).abs().max() < 1e-5  # one step of Euler to the data


@torch.no_grad()
def test_adm_s_network_with_its_learned_variance():
    model, called = adm(learn_sigma=True, use_scale_shift_norm=True, resblock_updown=True, num_head_channels=16)
    denoiser = ForeignDenoiser(
        called,
        from_betas(betas.cosine(1000)),
        SHAPE,
        "eps",
        time=lambda level: 999 * level.t,
        scale=256 / 255,
        learned_variance=True,
    )
    step, alpha_bar = 400, torch.cumprod(1 - betas.cosine(1000), 0)[400].item()
    level, ours = inputs(denoiser, step / 999)
    x_t = ours * (alpha_bar**0.5 * 256 / 255 / level.alpha)
    eps, fraction = model(torch.full((2,), float(step)), x_t).chunk(2, 1)
    prediction = denoiser(ours, level)
    x = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
    assert (256 / 255 * prediction.x - x).abs().max() < 1e-5 * x.abs().max()
    assert prediction.variance_mix is not None
    assert (prediction.variance_mix - (fraction + 1) / 2).abs().max() < 1e-5
    bound = elbo(
        denoiser, LevelPosterior(256), torch.full((2, *SHAPE), 1 / 256), noise=PerSample(range(2)), num_times=2
    )
    assert torch.isfinite(bound.bits_per_dim).all()


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x_t, t):
        return torch.tanh(self.layer(x_t) + t.reshape(-1, 1, 1, 1))


@torch.no_grad()
def test_azula_s_denoisers():
    denoise, noise = library("azula.denoise"), library("azula.noise")
    torch.manual_seed(0)
    for kind in (denoise.KarrasDenoiser, denoise.SimpleDenoiser):
        model = kind(Backbone(), noise.VESchedule(0.01, 50.0))
        called = Called(model, lambda model, x_t, time, cond: model(x_t, time).mean)
        denoiser = ForeignDenoiser(called, geometric(0.01, 50.0), SHAPE, "x", time=lambda level: level.t)
        for t in (0.1, 0.6):
            level, x_t = inputs(denoiser, t)
            x = model(x_t, torch.full((2,), t)).mean
            assert (denoiser(x_t, level).x - x).abs().max() < 1e-5 * max(1, x.abs().max().item())
