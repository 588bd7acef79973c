r"""UniPC: a predictor, and a corrector that costs no call (Zhao et al. 2023, "UniPC: a unified predictor-corrector
framework for fast sampling of diffusion models").

The predictor UniP-p is exponential integration through the last p predictions. At the next level the model is called
anyway, and the corrector UniC-p puts this prediction, at the place u = 1, among those that had led there: a step back over
the same interval with p + 1 predictions, of order p + 1. What it changes is the average of predictions only,

$$x_t^{corrected} = x_t - \alpha_t \mathrm{expm1}(-h) \sum_j (w_j^{UniC} - w_j^{UniP}) \hat x_j ,$$

so that whatever else was done to $x_t$ in between stays. The paper's $B(h) = e^h - 1$, for a prediction of data
$B = \mathrm{expm1}(-h)$, makes both integrals exact, save that of two predictions the first moment is 1/2.
"""

import math
from dataclasses import dataclass

from lowerbound.denoiser import Denoiser
from lowerbound.rng import Noise
from lowerbound.samplers.base import State
from lowerbound.samplers.exponential import Multistep, add, advance, length
from lowerbound.samplers.multistep import averaging
from lowerbound.schedule import Level


@dataclass(frozen=True)
class UniPC(Multistep):
    r"""UniP-p and UniC-p in data prediction with $B(h) = e^h - 1$ (Zhao et al. 2023; "bh2").

    Arguments:
        multistep_order: p, the predictions that the predictor uses, 1 to 3; fewer as long as there are not so many. The
            order is p + 1 on grids whose steps grow from the start; on equal steps of $\gamma$ it is at most 3.

    Raises:
        InputError: for another order.
    """

    @property
    def order(self) -> int:
        return self.multistep_order + 1

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        x, x_hat, before = state.x, denoiser(state.x, t).x, state.memory
        if before.gammas:
            h, at = (before.gammas[0] - float(t.gamma)) / 2, before.places(before.gammas[0], t.gamma)
            corrector, predictor = averaging(h, [1.0, *at]), [0.0, *averaging(h, at)]
            scale = -t.alpha * math.expm1(-h)
            change = [scale * (new - old) for new, old in zip(corrector, predictor, strict=True)]
            x = add(x.clone(), [x_hat, *before.predictions], change)
        past = before.then(t, x_hat, self.multistep_order)
        weights = averaging(length(t, s), past.places(t.gamma, s.gamma))
        return State(advance(x, t, s, past.predictions, weights), past)
