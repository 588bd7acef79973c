r"""Langevin dynamics as a corrector between the steps of another sampler (Song et al. 2021, "Score-based generative
modeling through stochastic differential equations", appendix G).

The step of Langevin dynamics at a level is chosen by the ratio of the score to the noise,

$$e = 4 \Big(snr \frac{\|z\|}{\|\nabla \log q\|}\Big)^2,$$

the norms of each sample alone, so that no sample depends on its batch. (The paper's $\epsilon = e/2$; its further factor
$\alpha_i$, the signal that one step of a table of a thousand keeps, is one, as in its variance-exploding form.)
"""

import math
from dataclasses import dataclass

from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.base import Sampler, State
from lowerbound.samplers.langevin import langevin_step
from lowerbound.schedule import Level

ANCESTRAL = Ancestral()


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    r"""A sampler's step, and Langevin steps at the level where it arrives (Song et al. 2021, algorithm 1).

    Nothing is corrected at the data, which has no noise.

    Arguments:
        predictor: the sampler.
        num_corrections: Langevin steps after each of its steps, each one network call.
        snr: how far they go, the ratio of signal to noise in a Langevin step.

    Raises:
        InputError: for fewer than one correction or an snr that is not positive.
    """

    predictor: Sampler = ANCESTRAL
    num_corrections: int = 1
    snr: float = 0.16

    def __post_init__(self):
        if self.num_corrections < 1:
            raise InputError(f"num_corrections is {self.num_corrections}: at least one; none is the predictor alone")
        if not 0 < self.snr < math.inf:
            raise InputError(f"snr is {self.snr}: it must be positive, about 0.16")

    @property
    def order(self) -> int:
        """0: a finer grid leaves the error of the Langevin steps, whose length does not change."""
        return 0

    @property
    def calls_per_step(self) -> int:
        return self.predictor.calls_per_step + self.num_corrections

    def init(self, x_t: Tensor) -> State:
        return self.predictor.init(x_t)

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        state = self.predictor.step(denoiser, state, t, s, noise)
        if s.sigma == 0:
            return state
        x = state.x
        for _ in range(self.num_corrections):
            score, z = denoiser(x, s).score, noise.normal(x)
            length, noise_length = (each.flatten(1).norm(dim=1) for each in (score, z))
            x = langevin_step(x, score, z, 4 * (self.snr * noise_length / length) ** 2)
        return State(x, state.memory)
