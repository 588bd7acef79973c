"""The panel `learn`: a noise schedule by sliders, an example on its way to noise, a density to draw, and the theory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lowerbound.errors import InputError
from lowerbound.explore import page
from lowerbound.pictures.noise import schedule_curves
from lowerbound.pictures.path import denoising_strip
from lowerbound.pictures.theory import ladder
from lowerbound.rng import PerSample
from lowerbound.schedule import SCALINGS, Cosine, LinearBeta, LinearGamma, RectifiedFlow, Schedule, Sigmoid
from lowerbound.web.draw import axes
from lowerbound.web.estimators import MOST_STEPS, compared
from lowerbound.web.example import Example, cells, choice, names_of, of_data
from lowerbound.web.framework import gradio
from lowerbound.web.shelf import Opened, Shelf
from lowerbound.web.show import computing, drawn, framed, picture, said, table, with_messages

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear in gamma": LinearGamma,
    "cosine": Cosine,
    "linear in beta": LinearBeta,
    "sigmoid": Sigmoid,
    "rectified flow": RectifiedFlow,
}
NUM_TIMES = 8
MOST_BESIDE = 8
"""Columns of a table that are shown of each time."""
LADDER = (
    "A VAE has one latent; a hierarchical VAE has T, each inferred from the one below it; a diffusion model is one whose "
    "latents have the data's shape, whose q is a fixed Gaussian, and whose last latent is noise. What infers is q, what "
    "generates is p."
)


def schedule_of(name: str, gamma_min: float, gamma_max: float, scaling: str) -> Schedule:
    """A schedule by its name and its two ends.

    Raises:
        InputError: for an unknown name, or ends that do not increase.
    """
    if name not in SCHEDULES or scaling not in SCALINGS:
        raise InputError(f"no schedule {name!r:.40} in {scaling!r:.40}: choose one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name](gamma_min=gamma_min, gamma_max=gamma_max, scaling=SCALINGS[scaling])


def curves(schedule: Schedule, t: float) -> str:
    """The schedule as a picture, with its figures at one time."""
    level = schedule.level(t)
    text = f"At t = {t:.2f}: gamma {level.gamma:.3g}, alpha {level.alpha:.3g}, sigma {level.sigma:.3g}"
    return picture(drawn(lambda path: schedule_curves(path, schedule, t)), text)


@torch.no_grad()
def noised(opened: Opened, example: Example, seed: int) -> tuple[str, str]:
    """An example at times from data to noise, and what the run's model takes each to have been; two pictures."""
    run = opened.run
    x = torch.nan_to_num(run.encode(example.raw)).to(run.device)
    denoiser = run.denoiser.given(None if example.cond is None else example.cond.to(run.device))
    eps = PerSample([seed]).normal(x)
    latents, guesses = [], []
    for t in torch.linspace(0, 1, NUM_TIMES).tolist():
        level = denoiser.schedule.level(t)
        x_t = level.alpha * x + level.sigma * eps
        latents.append((t, run.decode(x_t)))
        guesses.append((t, run.decode(denoiser(x_t, level).x)))
    # a single example has no extent: vectors have their frame from the training data
    look = {"rows": 1, "within": axes(opened), "names": run.spec.names}
    values = run.spec.encoding.value_range
    noisy, taken = (
        drawn(lambda path, way=way: denoising_strip(path, way, values, **look)) for way in (latents, guesses)
    )
    shown = picture(noisy, f"x_t: {example.name}, with more and more noise")
    guessed = picture(taken, "What the model takes each to have been: E[x | x_t]")
    if run.spec.columns:  # of which a point in a plane shows two
        shown, guessed = shown + _as_rows(opened, latents), guessed + _as_rows(opened, guesses)
    return shown, guessed


def _as_rows(opened: Opened, way: list[tuple[float, np.ndarray]]) -> str:
    rows = [[f"{t:.2f}", *cells(opened, raw)[0][:MOST_BESIDE]] for t, raw in way]
    return table("The same as rows", ["t", *names_of(opened)[:MOST_BESIDE]], rows)


class LearnPanel:
    """The panel's components and what they do; arguments as of `DrawPanel`."""

    def __init__(self, shelf: Shelf, run: Any):
        self.shelf = shelf
        gradio.Markdown("### A noise schedule")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                name = gradio.Dropdown(list(SCHEDULES), value="cosine", label="Schedule")
                scaling = gradio.Dropdown(list(SCALINGS), value=next(iter(SCALINGS)), label="Scaling")
                low = gradio.Slider(-20, 0, -10, step=0.5, label="gamma at t = 0, the data's end")
                high = gradio.Slider(1, 20, 6, step=0.5, label="gamma at t = 1, the noise's end")
                t = gradio.Slider(0, 1, 0.5, step=0.01, label="t")
            with gradio.Column(scale=2, min_width=300):
                shown = gradio.HTML(elem_id="curves")
        inputs = [name, low, high, scaling, t]
        for each in inputs:
            each.change(
                with_messages(self.on_schedule), inputs, shown, show_progress="hidden", trigger_mode="always_last",
                api_visibility="private",
            )  # fmt: skip
        self.schedule_inputs = inputs
        gradio.Markdown("### An example on its way to noise")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                split, number = choice()
                seed = gradio.Number(0, label="Seed of the noise", precision=0, minimum=0)
                button = gradio.Button("Add noise", variant="primary")
            with gradio.Column(scale=2, min_width=300):
                latents = gradio.HTML(said("Its own schedule; below, what the model makes of each."))
                guesses = gradio.HTML()
        computing(button.click, self.on_noise, [run, split, number, seed], [latents, guesses], "noise")
        gradio.Markdown("### A density of your own, its score, and its bound")
        gradio.HTML(framed(page(), "Draw a density, and watch the bound close on log p", "68rem"))
        gradio.Markdown("### One bound, three estimators")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                steps = gradio.Slider(1, MOST_STEPS, 20, step=1, label="Steps T of the chain")
                estimate = gradio.Button("Estimate", variant="primary")
            with gradio.Column(scale=2, min_width=300):
                spread = gradio.HTML(
                    said("A point in the plane under a mixture's exact denoiser: what spreads is the estimator.")
                )
        computing(estimate.click, self.on_estimate, steps, spread, "estimate")
        gradio.Markdown("### From VAE to diffusion")
        rungs = gradio.HTML()
        self.shown = [shown, rungs]

    def on_show(self, *values: Any) -> list[str]:
        """Draw what is there before anything is pressed."""
        return [self.on_schedule(*values), picture(drawn(ladder), LADDER)]

    def on_schedule(self, name: str, low: float, high: float, scaling: str, t: float) -> str:
        """Draw the curves."""
        return curves(schedule_of(name, float(low), float(high), scaling), float(t))

    def on_estimate(self, steps: float) -> str:
        """Draw the estimators' spread."""
        return compared(int(steps or 0))

    def on_noise(self, run: str, split: str, number: int, seed: int) -> tuple[str, str]:
        """Draw the way to noise."""
        opened = self.shelf.open(run)
        return noised(opened, of_data(opened, split, int(number or 0)), int(seed or 0))
