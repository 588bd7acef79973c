r"""A classifier that knows how noisy its input is: $p(c | x_t)$.

Its network sees, like a denoiser's, $x_t / \alpha_t$ scaled to about unit variance, and $\gamma$; so it is the same in every
scaling. Clean data are data at the lowest noise level that it was trained for, without the noise.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.elementary import exp, expand, sqrt
from lowerbound.nn.classifier import Classifier
from lowerbound.schedule import CLEAN, Level
from lowerbound.shapes import Examples


class NoisyClassifier(nn.Module):
    r"""$x_t, level \mapsto$ the logits of $p(c | x_t)$.

    Arguments:
        network: (x, gamma) -> logits.
        gamma_min, gamma_max: the noise levels that it was trained for; the ends stand for all beyond them.
        sigma_data: the data's standard deviation, as the network's input scaling assumes it.
    """

    def __init__(self, network: Classifier, gamma_min: float, gamma_max: float, sigma_data: float = 1.0):
        super().__init__()
        self.network = network
        self.gamma_min, self.gamma_max = gamma_min, gamma_max
        self.sigma_data = sigma_data

    def forward(self, x_t: Examples, level: Level = CLEAN) -> Float[Tensor, "batch classes"]:
        """The logits, of clean data if no level is given."""
        return self.network(*self._inputs(x_t, level))

    def features(self, x_t: Examples, level: Level = CLEAN) -> Float[Tensor, "batch features"]:
        """What the logits are a linear function of, (B, `network.num_features`)."""
        return self.network.features(*self._inputs(x_t, level))

    def _inputs(self, x_t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        scale = 1 / (level.alpha * sqrt(self.sigma_data**2 + exp(level.gamma)))
        gamma = torch.as_tensor(level.gamma, dtype=x_t.dtype, device=x_t.device).expand(len(x_t))
        return expand(scale, x_t) * x_t, gamma.clamp(self.gamma_min, self.gamma_max)
