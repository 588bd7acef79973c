r"""deepinv: a run of images as the denoiser of its restoration methods.

deepinv's images are $u \in [0, 1]$ with noise of standard deviation $\sigma$ on them. A model sees $x = (u - m) / s$, the
noise with standard deviation $\sigma / s$, which is the level

$$\gamma = 2 \log(\sigma / s), \qquad x_t = \alpha_t \frac{u - m}{s}.$$

Of K integer levels k, $u = k / (K - 1)$ and $x = 2 (k + \tfrac12) / K - 1$, so that $s = K / (2 (K - 1))$ and
$m = s (1 - 1 / K)$. Floats stored in [0, 1] have m and s of their encoding, one s for all channels: noise that is even in u
has to be even in x. Below the schedule's least noise an image is denoised at the least; above its most, at the most.
"""

import numpy as np
import torch
from deepinv.models.base import Denoiser
from torch import Tensor

from lowerbound.data import Affine, Levels
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.run import Run


class RunDenoiser(Denoiser):
    """$E[u | u + \\sigma \\epsilon]$ by a run's denoiser.

    Arguments:
        run: of images, (C, H, W), trained without conditions or used with none.

    Raises:
        InputError: if it is not of images, or its channels have different scales.
    """

    def __init__(self, run: Run):
        super().__init__(device=str(run.device))
        if len(run.spec.shape) != 3:
            raise InputError(
                f"the run in {run.folder.path} is of shape {run.spec.shape}: deepinv takes images, (C, H, W)"
            )
        self.denoiser = run.denoiser
        self.shift, self.scale = _unit_interval(run)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: object) -> Tensor:
        """Denoise.

        Arguments:
            x: images in [0, 1] with noise on them, (B, C, H, W).
            sigma: the noise's standard deviation, a number or one for each image, (B,), positive.
            kwargs: what deepinv hands on to denoisers of its own, without effect here.
        """
        schedule = self.denoiser.schedule
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).reshape(-1).expand(len(x))
        gamma = 2 * torch.log(sigma / self.scale)
        level = schedule.level_at(gamma.clamp(schedule.gamma_min, schedule.gamma_max))
        shift = torch.as_tensor(self.shift, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        x_t = expand(level.alpha, x) * (x - shift) / self.scale
        return shift + self.scale * self.denoiser(x_t, level).x


def _unit_interval(run: Run) -> tuple[np.ndarray, float]:
    """m, of each channel, and s."""
    encoding = run.spec.encoding
    if isinstance(encoding, Levels):
        scale = encoding.num_levels / (2 * (encoding.num_levels - 1))
        return np.full(run.spec.shape[0], scale * (1 - 1 / encoding.num_levels)), scale
    if not isinstance(encoding, Affine) or not np.allclose(encoding.scale, encoding.scale[0], rtol=1e-6):
        raise InputError(
            f"the channels of the run in {run.folder.path} have different scales, so that noise that is even in [0, 1] is "
            "uneven to its model: store all channels in one unit, of one standard deviation, or as integers"
        )
    return np.array(encoding.shift), encoding.scale[0]
