"""A noise schedule in four curves, written as a PNG file."""

from pathlib import Path

import torch

from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save
from lowerbound.schedule import Schedule


@torch.no_grad()
def schedule_curves(path: Path | str, schedule: Schedule, t: float | None = None) -> Path:
    """Draws gamma, alpha and sigma, and the signal-to-noise ratio against time.

    schedule: which; t: a time to mark, if any.
    """
    times = torch.linspace(0, 1, 201, dtype=torch.float64)
    gamma = schedule.gamma(times)
    alpha, sigma = schedule(times)
    figure, [axes] = draw_figure(1, 3, (9.0, 2.9), space=0.06)
    axes[0].plot(times, gamma, color=DARK)
    axes[0].set_title(r"$\gamma = -\log\,\mathrm{SNR}$", fontsize=9, color=INK)
    axes[1].plot(times, alpha, color=DARK, label=r"$\alpha$, signal")
    axes[1].plot(times, sigma, color=LIGHT, label=r"$\sigma$, noise")
    axes[1].legend(frameon=False, fontsize=8)
    axes[1].set_title(r"$x_t = \alpha_t x + \sigma_t \epsilon$", fontsize=9, color=INK)
    axes[2].semilogy(times, torch.exp(-gamma), color=DARK)
    axes[2].set_title(r"$\mathrm{SNR} = \alpha^2 / \sigma^2$", fontsize=9, color=INK)
    for axis in axes:
        axis.set(xlim=(0, 1), xlabel="t")
        if t is not None:
            axis.axvline(t, color=INK, linewidth=0.8, linestyle=":")
    return save(figure, path)
