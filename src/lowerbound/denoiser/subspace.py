r"""A network that is shown what a mixture of few principal components makes of noise, and says what to add to it.

$$\hat x(x_t) = s_t^2\, \hat x^S(x_t) + a_t F(x_t, \hat x^S(x_t), \gamma_t), \qquad s_t^2 = \mathrm{sigmoid}(\gamma_t),
  \quad a_t^2 = 1 - s_t^2$$

Under much noise the mixture denoises, little is to be added, and what a network adds by mistake is small. The less noise
there is, the more the network sees of an example itself, and the mixture is an outline that it may look at.
"""

from torch import Tensor, nn

from lowerbound.denoiser.base import Prediction, preserving
from lowerbound.denoiser.network import OfNetwork
from lowerbound.elementary import expand
from lowerbound.fitted import FittedSubspace
from lowerbound.schedule import Level, Schedule


class SubspaceDenoiser(OfNetwork):
    r"""A network upon a mixture of principal components (formula in the module's docstring).

    Arguments:
        network: (x, gamma, cond) -> tensor, which is given $\hat x^S$ as further channels of x, and says F, of as many
            channels as an example has.
        schedule: the noise schedule.
        shape: the shape of one example.
        subspace: $\hat x^S$.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.

    Raises:
        InputError: as `OfNetwork`.
    """

    rows_are_apart = True

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        shape: tuple[int, ...],
        subspace: FittedSubspace,
        sigma_data: float = 1.0,
    ):
        super().__init__(network, schedule, shape, sigma_data)
        self.subspace = subspace

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        guess = self.subspace.x(x_t, level)
        a, s = preserving(level.gamma)
        output = self.output(x_t, level, cond, observed, beside=guess)
        x = expand(s**2, guess) * guess + expand(a, guess) * output
        return Prediction(x_t, level, x, self.schedule)
