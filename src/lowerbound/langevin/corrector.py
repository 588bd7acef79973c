r"""Langevin dynamics as a corrector between the steps of another sampler (Song et al. 2021, "Score-based generative
modeling through stochastic differential equations", appendix G).

The step of Langevin dynamics at a level belongs to the level alone,

$$e = 4\, snr^2 \sigma_t^2 .$$

Song et al. take $e = 4\, (snr\, \|z\| / \|\nabla \log q\|)^2$ with norms of the sample that is moved, or their means over
the batch. (The paper's $\epsilon = e/2$, and its further factor $\alpha_i$, the signal that one step of a table of a
thousand keeps, is one, as in its variance-exploding form.) In many dimensions those norms hardly vary, and e becomes
$4\, snr^2 E \|z\|^2 / E \|\nabla \log q\|^2$, which is $4\, snr^2 \sigma_t^2$ where the noise is all that is left to chance
in $x_t$, and longer where it is not, since $\nabla^2 \log q(x_t) = -\sigma_t^{-2} I + \alpha_t^2 \sigma_t^{-4} Var[x | x_t]$
leaves no more than $E \|\nabla \log q\|^2 \le D / \sigma_t^2$. In few dimensions a sample whose score is nearly zero would
take a step of nearly any length: $E \|\nabla \log q\|^{-2}$ is infinite in one and two.

By the same equation no direction of any $q(x_t)$ is narrower than its noise. So the step is never too long for one of them:
on a Gaussian of variance $u \ge \sigma_t^2$ it leaves

$$\frac{u}{1 - snr^2 \sigma_t^2 / u} \le \frac{u}{1 - snr^2}$$

(`langevin`), in any number of dimensions, and the error vanishes with the noise as the data are approached.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.langevin.unadjusted import langevin
from lowerbound.rng import Noise
from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level
from lowerbound.settings import check_least

ANCESTRAL = Ancestral()


@dataclass(frozen=True)
class PredictorCorrector(Sampler, order=0):
    r"""A sampler's step, and Langevin steps of size $4\, snr^2 \sigma^2$ at the level where it arrives (Song et al. 2021,
    algorithm 1; why not with their step: the module's docstring).

    Nothing is corrected at the data, which has no noise. The order is 0: a finer grid leaves the error of the Langevin steps
    at the last level, whose length does not change.

    Arguments:
        predictor: the sampler.
        num_corrections: Langevin steps after each of its steps, each one network call.
        snr: how far they go, the ratio of signal to noise in a Langevin step.

    Raises:
        InputError: for fewer than one correction or an snr outside (0, 1).
    """

    predictor: Sampler = ANCESTRAL
    num_corrections: Annotated[int, Setting("the number of Langevin steps after each step", flag="corrections")] = 1
    snr: Annotated[float, Setting("the ratio of signal to noise in a Langevin step, between 0 and 1")] = 0.16

    def __post_init__(self):
        check_least(1, num_corrections=self.num_corrections)
        if not 0 < self.snr < 1:
            raise InputError(
                f"snr is {self.snr}: it lies between 0 and 1, from where on the steps run away; 0.16 is usual"
            )

    @property
    def calls_per_step(self) -> int:
        return self.predictor.calls_per_step + self.num_corrections

    def init(self, x_t: Tensor) -> State:
        return self.predictor.init(x_t)

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        state = self.predictor.step(denoiser, state, t, s, noise)
        size = 4 * self.snr**2 * s.sigma**2
        x = langevin(lambda x: denoiser(x, s).score, state.x, size, self.num_corrections, noise)
        return State(x, state.memory)
