r"""The times of a chain: how many of its steps go to each part of the way from data to noise.

With $m = E\|x - \hat x\|^2$ at the noisy end of each step, a chain's bound is above that of continuous time by
$\tfrac12 \int (m_t - m)\, dSNR$ a step (`grid.optimal`), which is about $\tfrac14 \Delta SNR\, \Delta m$. Of a part of the
way divided into n equal steps that is

$$\frac{1}{4 n} \int_{\mathrm{part}} |SNR'(t)|\, m'(t)\, dt \cdot (\text{length of the part}),$$

so that of all parts together it is least where each has steps in proportion to the root of its integral. With as many steps
for all, most of them would be where nothing changes. The coder measures m on a few of its examples, and each part's share is
a byte in the file, from which the decoder makes the same times.
"""

import numpy as np
import torch
from jaxtyping import Num

from lowerbound.analytic_variance import measure_variance
from lowerbound.rng import Stream
from lowerbound.run import Run

PARTS = 8
"""Of the way from data to noise, equal in time."""
MEASURED = 64
"""Examples on which m is measured."""
_FINE = 16
"""Pieces of a part by which it is integrated."""
_LARGEST = 255


def shares_of_steps(run: Run, raw: Num[np.ndarray, "num_examples *shape"]) -> bytes:
    """The share of the steps that each part of the way has, in parts of the largest, from 1 to 255.

    Arguments:
        run: a diffusion model.
        raw: examples as they are stored, of which some are looked at.
    """
    few = raw[np.linspace(0, len(raw) - 1, min(MEASURED, len(raw))).astype(np.int64)]
    x = run.encode(few).to(run.device)
    measured = measure_variance(run.denoiser, x, Stream(0, run.device))
    times = torch.linspace(0, 1, PARTS * _FINE + 1, dtype=torch.float64)
    gammas = torch.tensor([level.gamma for level in run.denoiser.schedule.levels(times)], dtype=torch.float64)
    errors = torch.cummax(measured.x_var_at(gammas), 0).values  # which chance alone makes smaller with more noise
    costs = (-gammas).exp().diff().abs() * errors.diff()
    weights = costs.reshape(PARTS, _FINE).sum(1).sqrt().numpy()
    shares = np.ceil(_LARGEST * weights / max(weights.max(), 1e-300))
    return shares.clip(1, _LARGEST).astype(np.uint8).tobytes()


def chain_times(num_steps: int, shares: bytes) -> tuple[float, ...]:
    """The times of a chain's levels, from 0 to 1, one more than its steps.

    Arguments:
        num_steps: of all parts together.
        shares: of each part (`shares_of_steps`).
    """
    passed = np.concatenate([[0], np.cumsum(np.frombuffer(shares, np.uint8), dtype=np.float64)])
    places = np.linspace(0, 1, num_steps + 1)
    return tuple(np.interp(places, passed / passed[-1], np.linspace(0, 1, len(passed))).tolist())
