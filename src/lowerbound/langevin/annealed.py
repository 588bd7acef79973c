r"""Annealed Langevin dynamics: Langevin dynamics at each of a falling sequence of noise levels (Song & Ermon 2019,
"Generative modeling by estimating gradients of the data distribution", algorithm 1).

At the level i of L the paper's step is $e_i = e\, \sigma_i^2 / \sigma_L^2$: in units of each level's own noise the same,
$e / \sigma_L^2$, so that the last level need not be known. The published $e = 2 \cdot 10^{-5}$, $\sigma_L = 0.01$ is 0.2.
The paper leaves the sample where it is when the level changes. It works with $\alpha = 1$: for other scalings this means
that $x_t / \alpha_t$ stays, and Langevin dynamics commutes with such a change of units.
"""

from dataclasses import dataclass
from typing import Annotated

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.langevin.unadjusted import langevin
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level
from lowerbound.settings import check_least


@dataclass(frozen=True)
class AnnealedLangevin(Sampler, order=0):
    r"""Langevin steps of size $e_i = e\, \sigma_i^2 / \sigma_L^2$ at each level (formula in the module's docstring).

    The first level is where sampling starts, and the last step, to the data, is Tweedie's estimate. The order is 0: a finer
    grid leaves the error of the Langevin steps, whose length does not change.

    Arguments:
        num_corrections: Langevin steps at each level, each one network call; the published 100.
        step_size: $e / \sigma_L^2$, a step in units of its level's noise variance; the published 0.2.

    Raises:
        InputError: for fewer than one step at each level, or a step_size outside (0, 4).
    """

    num_corrections: Annotated[int, Setting("the number of Langevin steps at each level", flag="corrections")] = 100
    step_size: Annotated[
        float, Setting("the size of a Langevin step, in units of its level's noise variance", flag="langevin-step")
    ] = 0.2

    def __post_init__(self):
        check_least(1, num_corrections=self.num_corrections)
        if not 0 < self.step_size < 4:
            raise InputError(
                f"step_size is {self.step_size}: it lies between 0 and 4, from where on the steps run away, in units of "
                "the level's noise variance"
            )

    @property
    def calls_per_step(self) -> int:
        return self.num_corrections

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        x = state.x * float(s.alpha / t.alpha)
        size = self.step_size * s.sigma**2
        return State(langevin(lambda x: denoiser(x, s).score, x, size, self.num_corrections, noise))
