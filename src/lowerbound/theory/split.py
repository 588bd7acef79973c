r"""The ancestral step taken apart: a step of the probability flow, a Langevin step, and what is left.

With Tweedie's $\hat x = (x_t + \sigma_t^2 s(x_t)) / \alpha_t$ put in for x, the mean of the ancestral step (`reverse`) and
DDIM's, which is the flow's step of first order, are

$$\hat\mu = \frac{\alpha_s}{\alpha_t} \left(x_t + \sigma_{t|s}^2\, s(x_t)\right), \qquad
x_s^{flow} = \frac{\alpha_s}{\alpha_t} x_t + \sigma_t \left(\frac{\alpha_s}{\alpha_t} \sigma_t - \sigma_s\right) s(x_t) .$$

Their difference is along the score: $\sigma_{t|s}^2 = \sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2$ leaves
$\frac{\alpha_t}{\alpha_s} \sigma_s^2\, \mathrm{expm1}(\frac h2)\, s(x_t)$, with $h = \gamma_t - \gamma_s$. So, with e the
reverse variance, exactly

$$x_s = x_t + \underbrace{(x_s^{flow} - x_t)}_{drift} + \underbrace{\tfrac e2 s(x_t) + \sqrt e\, z}_{Langevin} +
\rho\, s(x_t), \qquad \rho = \frac{\alpha_t}{\alpha_s} \sigma_s^2\, \mathrm{expm1}(\tfrac h2) - \tfrac e2 .$$

As $e = \sigma_s^2 (1 - e^{-h}) = \sigma_s^2 (h + O(h^2))$, the flow's drift and the Langevin step are of order h and the
remainder $\rho$ of order $h^2$: in T steps, 1/T in all. The reverse process is the flow with Langevin dynamics on top, which
alone would leave each $q(x_t)$ as it is.
"""

from dataclasses import dataclass

from lowerbound.elementary import Scalar, expm1
from lowerbound.reverse import reverse_variance
from lowerbound.schedule import Level
from lowerbound.words.brief import Brief


@dataclass(frozen=True, slots=True, repr=False)
class Split(Brief):
    r"""$x_s = x_t + (stretch\, x_t + flow\, s) + (\frac e2 s + \sqrt e\, z) + \rho\, s$, the coefficients numbers or (B,).

    Arguments:
        stretch: $\alpha_s / \alpha_t - 1$, the flow's drift along $x_t$.
        flow: $\sigma_t (\frac{\alpha_s}{\alpha_t} \sigma_t - \sigma_s)$, the flow's drift along the score.
        step_size: e, the Langevin step.
        remainder: $\rho$, along the score.
    """

    stretch: Scalar
    flow: Scalar
    step_size: Scalar
    remainder: Scalar


def split_ancestral(t: Level, s: Level, variance: str = "lower") -> Split:
    r"""The ancestral step from t down to s as a step of the flow, a Langevin step and a remainder (the module's docstring).

    Arguments:
        t, s: the levels of the step.
        variance: the reverse variance e, "lower" or "upper" (`reverse.reverse_variance`).

    Raises:
        InputError: for a variance that does not follow from the two levels.
    """
    ratio = s.alpha / t.alpha
    step_size = reverse_variance(variance, t, s)
    difference = s.sigma**2 / ratio * expm1((t.gamma - s.gamma) / 2)
    return Split(
        stretch=ratio - 1,
        flow=t.sigma * (ratio * t.sigma - s.sigma),
        step_size=step_size,
        remainder=difference - step_size / 2,
    )
