r"""diffusers: a run of images as a pipeline, whose network stock pipelines call and stock schedulers step.

A pipeline counts T steps $k = 0 \dots T - 1$ of a table of betas, which holds $\bar\alpha_k$ in single precision. Our table
visits the schedule's own levels, evenly spaced in its t,

$$\bar\alpha_k = \mathrm{sigmoid}(-\gamma(k / (T - 1))), \qquad \beta_k = 1 - \bar\alpha_k / \bar\alpha_{k-1},$$

each beta correcting what rounding left of those before it: near the data $\bar\alpha$ differs from 1 by a few units of its
last place. The $\gamma_k$ of what the scheduler then holds are kept with the network, so that both mean the same noise.
$x_t$ is variance preserving whatever the run was trained in, and the network says $v = \alpha \epsilon - \sigma x$, from
which a scheduler's arithmetic finds x at both ends without a loss of digits.
"""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DOutput
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.base import preserving
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.files.whole import new_folder
from lowerbound.imports import FAMILIES
from lowerbound.imports.diffusers import Diffusers
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.imports.schedulers import conventions
from lowerbound.models import Diffusion
from lowerbound.run import Run, check_levels
from lowerbound.run.exported import check_out
from lowerbound.schedule import Schedule
from lowerbound.training.build import build_model
from lowerbound.training.folder import configuration

NUM_STEPS = 1000
"""T of the table: what pipelines of diffusers count."""
SMALLEST_BETA = 2**-24
"""Of which 1 less is another number in single precision, so that no step of the table stays where it was."""


class DenoiserModel(ModelMixin, ConfigMixin):
    r"""$(x_t, k, c) \mapsto \hat v$ by a run's denoiser, in the place of a `UNet2DModel`.

    Arguments:
        run: what the run's config.json holds.
        gammas: $\gamma_k$ of each step, (T,); between the steps $\gamma$ is linear.
        in_channels, out_channels: of its images.
        sample_size: (H, W) of them.
        num_class_embeds: how many labels it was trained with; None: none.

    Raises:
        InputError: if `run` is no configuration of a run of a denoiser.
    """

    @register_to_config
    def __init__(
        self,
        run: dict[str, Any],
        gammas: Sequence[float],
        in_channels: int,
        out_channels: int,
        sample_size: Sequence[int],
        num_class_embeds: int | None = None,
    ):
        super().__init__()
        with _in_single_precision():
            model = build_model(*configuration(run, "the run of a DenoiserModel"))
        if not isinstance(model, Diffusion):
            raise InputError(f"the run of a DenoiserModel is a model of the kind {model.name}, which is no denoiser")
        self.denoiser: Denoiser = model.denoiser
        self.to(torch.get_default_dtype())  # pyrefly: ignore[bad-argument-type] - diffusers hides its signature
        self.eval()
        # a schedule that pieces of a denoiser share has one name, as in the run's own file of weights
        self.register_state_dict_post_hook(_once)

    def forward(
        self, sample: Tensor, timestep: Tensor | float, class_labels: Tensor | None = None, return_dict: bool = True
    ) -> UNet2DOutput | tuple[Tensor]:
        r"""Predict v.

        Arguments:
            sample: $x_t$, variance preserving, (B, C, H, W).
            timestep: k, one for the batch or one for each image, (B,); whole or not.
            class_labels: of a conditional run, (B,), -1 for no label; None: no labels at all.
            return_dict: whether in an `UNet2DOutput`, or in a tuple.

        Raises:
            InputError: if the run was trained without labels and some are given, or images are of another shape.
        """
        if class_labels is not None and self.config["num_class_embeds"] is None:
            raise InputError("class_labels were given, and the run was trained without labels: leave them out")
        step = np.asarray(torch.as_tensor(timestep, dtype=torch.float64).cpu())
        found = np.interp(step, np.arange(len(self.config["gammas"])), self.config["gammas"])
        x_t = sample.to(torch.promote_types(sample.dtype, torch.float32))  # the network alone is in half precision
        gamma = torch.from_numpy(found).to(x_t) if found.ndim else found.item()
        level = self.denoiser.schedule.level_at(gamma)
        alpha, _ = preserving(gamma)
        v = self.denoiser(expand(level.alpha / alpha, x_t) * x_t, level, class_labels).v.to(sample.dtype)
        return UNet2DOutput(sample=v) if return_dict else (v,)


def export_diffusers(run: Run, out: Path | str) -> Path:
    """Write a run as a pipeline of diffusers.

    One that was imported from such a pipeline becomes it again: the same network, weights and scheduler. Any other is a
    `DenoiserModel`, in a pipeline and beside a scheduler of diffusers' own.

    The folder appears whole or not at all.

    Arguments:
        run: of a denoiser of images in levels.
        out: the folder, which is not there yet or empty.

    Raises:
        InputError: if it is of something else, or distilled.
    """
    out, source = Path(out), run.config.imported
    check_out(out)
    family = FAMILIES["diffusers"]
    if source is not None and source.family == family.name:
        assert isinstance(family, Diffusers)
        assert isinstance(run.denoiser, ForeignDenoiser)
        with new_folder(out) as unfinished:
            family.write(source, run.denoiser.module, unfinished)
        return out
    _check(run)
    spec, alphas = run.spec, _alphas(run.denoiser.schedule)
    scheduler = DDPMScheduler(
        NUM_STEPS,
        trained_betas=[1 - alpha for alpha in alphas],
        prediction_type="v_prediction",
        variance_type="fixed_small",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    model = DenoiserModel(
        run=json.loads(run.folder.config.read_text()),
        gammas=conventions("DDPMScheduler", dict(scheduler.config))
        .schedule.gamma(torch.linspace(0, 1, NUM_STEPS, dtype=torch.float64))
        .tolist(),
        in_channels=spec.shape[0],
        out_channels=spec.shape[0],
        sample_size=tuple(spec.shape[1:]),
        num_class_embeds=spec.num_classes if run.config.data.conditional else None,
    )
    model.denoiser = run.denoiser
    with new_folder(out) as unfinished:
        pipeline = DDPMPipeline(unet=model, scheduler=scheduler)  # pyrefly: ignore[bad-argument-type] - it only calls it
        pipeline.save_pretrained(unfinished)
    return out


def _check(run: Run) -> None:
    """Refuse a run of something that a pipeline has no place for, by an InputError."""
    check_levels(run, "a pipeline of diffusers")
    spec, where = run.spec, f"the run in {run.folder.path}"
    if len(spec.shape) != 3 or spec.num_levels is None:
        what = f"examples of shape {spec.shape}" if len(spec.shape) != 3 else "images of floats"
        raise InputError(
            f"{where} is of {what}, and pipelines of diffusers draw images, (C, H, W), whose values are levels between "
            "black and white: --as onnx takes networks of other data"
        )


@contextmanager
def _in_single_precision() -> Generator[None]:
    """Build a run's model as it was trained: diffusers has new tensors in half precision where it is asked for that."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def _alphas(schedule: Schedule) -> list[float]:
    r"""$1 - \beta_k$ of each step, (T,), in single precision, of which scheduler and torch make $\bar\alpha_k$."""
    alphas, reached = [], 1.0
    for level in schedule.levels(torch.linspace(0, 1, NUM_STEPS, dtype=torch.float64)):
        alpha_bar = preserving(level.gamma)[0] ** 2
        alpha = float(np.float32(min(alpha_bar / reached, 1 - SMALLEST_BETA)))
        alphas.append(alpha)
        reached *= alpha
    return alphas


def _once(model: DenoiserModel, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Leave to each parameter one of the names that it has, and no name to what a run's configuration says by itself."""
    named = {f"{prefix}{name}" for name, _ in model.named_parameters()}
    for name in state.keys() - named:
        del state[name]
