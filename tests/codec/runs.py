"""Runs whose models were never trained, or know the truth: what a code must do does not depend on it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.dataset import assemble
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.levels import level_centres
from lowerbound.models import RELATIVES, Model
from lowerbound.run import Run
from lowerbound.schedule import Level, Schedule
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.folder import RunFolder


def run_of(model: Model, raw: np.ndarray, layout: str, num_levels: int | None, folder: Path) -> Run:
    """A run of examples, channels first, whose folder holds files to be told from another's."""
    dataset = assemble("made", raw, layout=layout, num_levels=num_levels)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_text(f"{folder.name} {name}")
    config = recipe(dataset, DataConfig("made"))
    return Run(RunFolder(folder), config, dataset.spec, model.requires_grad_(False).eval(), {})


def relative(name: str, shape: tuple[int, ...], num_levels: int, seed: int = 0, **settings: object) -> Model:
    """A relative with weights away from where training begins, so that its distributions differ."""
    torch.manual_seed(seed)
    model = RELATIVES[name](shape, num_levels, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


class Independent(Denoiser):
    """The best denoiser of entries that are independent draws of levels with known masses.

    Arguments:
        masses: of the levels, (K,).
        schedule, shape: as of every denoiser.
    """

    def __init__(self, masses: Tensor, schedule: Schedule, shape: tuple[int, ...]):
        super().__init__(schedule, shape)
        self.register_buffer("log_masses", masses.double().log())
        self.register_buffer("centres", level_centres(torch.arange(len(masses)), len(masses)).double())

    def predict(self, x_t: Tensor, level: Level, cond: object, observed: object) -> Prediction:
        distance = (x_t[..., None] - level.alpha * self.centres) / level.sigma
        mean = (self.log_masses - distance**2 / 2).softmax(-1) @ self.centres
        return Prediction(x_t, level, mean.to(x_t.dtype), self.schedule)
