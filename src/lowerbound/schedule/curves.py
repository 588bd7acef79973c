"""Published curves of $\\gamma(t)$, each a schedule; a table of levels, where a published table of betas ends up."""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.schedule.base import Schedule, check_ends
from lowerbound.schedule.scaling import RECTIFIED_FLOW, VARIANCE_EXPLODING, VARIANCE_PRESERVING, Scaling
from lowerbound.shapes import Values


class LinearGamma(Schedule):
    r"""$\gamma(t) = \gamma_{min} + (\gamma_{max} - \gamma_{min}) t$ (VDM; the default ends are those of its configuration).

    Arguments:
        gamma_min, gamma_max: the ends; the defaults leave noise of a sixth of an 8-bit bin at the data's end.
        scaling: the units of $x_t$.

    Raises:
        InputError: if the ends are not finite and increasing.
    """

    def __init__(self, gamma_min: float = -13.3, gamma_max: float = 5.0, scaling: Scaling = VARIANCE_PRESERVING):
        super().__init__(scaling)
        check_ends(gamma_min, gamma_max)
        self.ends = (gamma_min, gamma_max)

    def gamma(self, t: Values) -> Values:
        low, high = self.ends
        return low + (high - low) * t

    def inverse(self, gamma: Values) -> Values:
        low, high = self.ends
        return (gamma - low) / (high - low)

    def slope(self, t: Values) -> Values:
        # the general way takes a second to load at its first use, which a default schedule need not cost
        low, high = self.ends
        return torch.full_like(t, high - low)


def geometric(sigma_min: float = 0.01, sigma_max: float = 50.0) -> LinearGamma:
    r"""$\sigma_t = \sigma_{min} (\sigma_{max} / \sigma_{min})^t$, $\alpha_t = 1$ (Song et al. 2021, equation 30).

    Arguments:
        sigma_min, sigma_max: noise scales at the ends, in units of the data.

    Raises:
        InputError: if they are not positive and increasing.
    """
    check_ends(sigma_min, sigma_max, "sigma", above=0.0)
    return LinearGamma(2 * math.log(sigma_min), 2 * math.log(sigma_max), VARIANCE_EXPLODING)


class WindowedCurve(Schedule):
    r"""A published curve $\gamma(u)$, u in [0, 1], on the window of u where it lies within the ends.

    $$\gamma(t) = \mathrm{curve}(u_0 + (u_1 - u_0) t)$$

    Arguments:
        gamma_min, gamma_max: where the curve is cut. If it ends before, it is used up to its end.
        scaling: the units of $x_t$.

    Raises:
        InputError: if the ends are not finite and increasing.
    """

    def __init__(self, gamma_min: float, gamma_max: float, scaling: Scaling):
        super().__init__(scaling)
        check_ends(gamma_min, gamma_max)
        ends = self.curve_inverse(torch.tensor([gamma_min, gamma_max], dtype=torch.float64)).clamp(0, 1)
        self.window: tuple[float, float] = (ends[0].item(), ends[1].item())

    @abstractmethod
    def curve(self, u: Values, rest: Values) -> Values:
        r"""The published $\gamma(u)$; `rest` is 1 - u, given apart because near u = 1 a rounded u has lost it."""

    @abstractmethod
    def curve_inverse(self, gamma: Values) -> Values:
        r"""The u of a $\gamma$."""

    def gamma(self, t: Values) -> Values:
        start, end = self.window
        return self.curve(start + (end - start) * t, (1 - end) + (end - start) * (1 - t))

    def inverse(self, gamma: Values) -> Values:
        start, end = self.window
        return (self.curve_inverse(gamma) - start) / (end - start)


class Cosine(WindowedCurve):
    r"""$\bar\alpha(u) = \cos^2\varphi / \cos^2\varphi_0$, $\varphi = \frac{u + s}{1 + s} \frac{\pi}{2}$.

    Nichol & Dhariwal 2021, equation 17, in continuous time; their table of betas is `betas.cosine`. The difference
    $1 - \bar\alpha$ is written as a product of sines, so that nothing cancels at either end.

    Arguments:
        offset: s, which keeps the first steps from being too small.
        gamma_min, gamma_max: where the curve, infinite at both ends, is cut.
        scaling: the units of $x_t$.

    Raises:
        InputError: if s lies outside [0, 1], or the ends are not finite and increasing.
    """

    def __init__(
        self,
        offset: float = 0.008,
        gamma_min: float = -13.3,
        gamma_max: float = 13.3,
        scaling: Scaling = VARIANCE_PRESERVING,
    ):
        if not 0 <= offset <= 1:
            raise InputError(f"the cosine schedule got offset={offset}: give a number from 0 to 1")
        self._offset = offset
        super().__init__(gamma_min, gamma_max, scaling)

    def curve(self, u: Values, rest: Values) -> Values:
        quarter = math.pi / 2 / (1 + self._offset)
        first = self._offset * quarter
        return torch.log(torch.sin(u * quarter) * torch.sin(u * quarter + 2 * first)) - 2 * torch.log(
            torch.sin(rest * quarter)
        )

    def curve_inverse(self, gamma: Values) -> Values:
        quarter = math.pi / 2 / (1 + self._offset)
        first = self._offset * quarter
        cos2 = torch.sigmoid(-gamma) * math.cos(first) ** 2
        sin2 = math.sin(first) ** 2 + torch.sigmoid(gamma) * math.cos(first) ** 2
        return (torch.atan2(sin2.sqrt(), cos2.sqrt()) - first) / quarter


class Sigmoid(WindowedCurve):
    r"""$\bar\alpha(u) = \frac{v_1 - \mathrm{sigmoid}(w(u))}{v_1 - v_0}$, $w(u) = (start + u (end - start)) / \tau$.

    Jabri et al. 2022; Chen 2023, algorithm 1; $v_0$ and $v_1$ are the sigmoid's values at the ends. The quotient of
    the two differences of sigmoids is one of hyperbolic sines.

    Arguments:
        start, end, temperature: the published parameters.
        gamma_min, gamma_max: where the curve, infinite at both ends, is cut.
        scaling: the units of $x_t$.
    """

    def __init__(
        self,
        start: float = -3.0,
        end: float = 3.0,
        temperature: float = 1.0,
        gamma_min: float = -13.3,
        gamma_max: float = 13.3,
        scaling: Scaling = VARIANCE_PRESERVING,
    ):
        if not (start < end and temperature > 0):
            raise InputError(
                f"the sigmoid schedule got start={start}, end={end}, temperature={temperature}: start must be below "
                "end and the temperature positive"
            )
        self._half_width = (end - start) / temperature / 2
        self._log_ratio = math.log(math.cosh(end / temperature / 2) / math.cosh(start / temperature / 2))
        super().__init__(gamma_min, gamma_max, scaling)

    def curve(self, u: Values, rest: Values) -> Values:
        numerator, denominator = torch.sinh(u * self._half_width), torch.sinh(rest * self._half_width)
        return torch.log(numerator) - torch.log(denominator) + self._log_ratio

    def curve_inverse(self, gamma: Values) -> Values:
        # sinh(p) / sinh(c - p) = e^g solved for p, with e^g divided out so that large g does not overflow
        inverse_ratio = torch.exp(self._log_ratio - gamma)
        tanh = math.sinh(self._half_width) / (inverse_ratio + math.cosh(self._half_width))
        return torch.atanh(tanh) / self._half_width


class RectifiedFlow(WindowedCurve):
    r"""$\alpha_t = 1 - u$, $\sigma_t = u$, so $\gamma(u) = 2 \log\frac{u}{1 - u}$ (Liu et al. 2022; Lipman et al. 2022).

    Arguments:
        gamma_min, gamma_max: where the curve, infinite at both ends, is cut.
        scaling: the units of $x_t$.
    """

    def __init__(self, gamma_min: float = -13.3, gamma_max: float = 13.3, scaling: Scaling = RECTIFIED_FLOW):
        super().__init__(gamma_min, gamma_max, scaling)

    def curve(self, u: Values, rest: Values) -> Values:
        return 2 * (torch.log(u) - torch.log(rest))

    def curve_inverse(self, gamma: Values) -> Values:
        return torch.sigmoid(gamma / 2)


class LinearBeta(WindowedCurve):
    r"""$\bar\alpha(u) = e^{-B(u)}$, $B(u) = \beta_0 u + \frac12 (\beta_1 - \beta_0) u^2$; $\gamma(u) = \log(e^{B(u)} - 1)$.

    DDPM's linear betas in continuous time (Song et al. 2021, equation 33); the table itself is `betas.linear`.

    Arguments:
        beta_min, beta_max: $\beta_0$ and $\beta_1$, a thousand times the table's first and last.
        gamma_min, gamma_max: where the curve, infinite at the data's end, is cut.
        scaling: the units of $x_t$.

    Raises:
        InputError: if the betas are not positive and increasing.
    """

    def __init__(
        self,
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        gamma_min: float = -13.3,
        gamma_max: float = 10.0,
        scaling: Scaling = VARIANCE_PRESERVING,
    ):
        if not 0 < beta_min < beta_max:
            raise InputError(
                f"the schedule got beta_min={beta_min}, beta_max={beta_max}: both positive, the first smaller"
            )
        self._betas = (beta_min, beta_max)
        super().__init__(gamma_min, gamma_max, scaling)

    def curve(self, u: Values, rest: Values) -> Values:
        low, high = self._betas
        integral = u * (low + (high - low) * u / 2)
        return integral + torch.log(-torch.expm1(-integral))

    def curve_inverse(self, gamma: Values) -> Values:
        low, high = self._betas
        integral = torch.logaddexp(gamma, torch.zeros_like(gamma))
        # the quadratic's root in the form that does not cancel for small integrals
        return 2 * integral / (low + torch.sqrt(low**2 + 2 * (high - low) * integral))


class EDM(Schedule):
    r"""$\sigma_t = (\sigma_{min}^{1/\rho} + t (\sigma_{max}^{1/\rho} - \sigma_{min}^{1/\rho}))^\rho$, $\alpha_t = 1$.

    Karras et al. 2022, equation 5, with t increasing towards the noise.

    Arguments:
        sigma_min, sigma_max: noise scales at the ends, in units of the data.
        rho: how much the levels gather at the data's end.

    Raises:
        InputError: if the noise scales are not positive and increasing.
    """

    def __init__(
        self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0, scaling: Scaling = VARIANCE_EXPLODING
    ):
        super().__init__(scaling)
        check_ends(sigma_min, sigma_max, "sigma", above=0.0)
        self.rho = rho
        self.roots = (sigma_min ** (1 / rho), sigma_max ** (1 / rho))

    def gamma(self, t: Values) -> Values:
        low, high = self.roots
        return 2 * self.rho * torch.log(low + (high - low) * t)

    def inverse(self, gamma: Values) -> Values:
        low, high = self.roots
        return (torch.exp(gamma / (2 * self.rho)) - low) / (high - low)


class Tabulated(Schedule):
    r"""$\gamma$ through given levels at equally spaced times, linear between them.

    Arguments:
        gammas: (K,) increasing levels; level k belongs to the time k / (K - 1).
        scaling: the units of $x_t$.

    Raises:
        InputError: if there are fewer than two levels or they are not finite and increasing.
    """

    knots: Tensor

    def __init__(self, gammas: Float[Tensor, "num_levels"], scaling: Scaling = VARIANCE_PRESERVING):
        super().__init__(scaling)
        if len(gammas) < 2 or not bool(gammas.isfinite().all() and (gammas.diff() > 0).all()):
            raise InputError(f"{len(gammas)} noise levels given: at least two are needed, finite and increasing")
        self.register_buffer("knots", gammas.double(), persistent=False)

    def shifted(self, by: float) -> "Tabulated":
        return Tabulated(self.knots + by, self.scaling)

    @property
    def times(self) -> Float[Tensor, "num_levels"]:
        """The times of the given levels, increasing from 0 to 1: the chain that the table describes."""
        return torch.linspace(0, 1, len(self.knots), dtype=torch.float64)

    def gamma(self, t: Values) -> Values:
        knots = self.knots.to(t)
        position = t * (len(knots) - 1)
        index = position.detach().floor().long().clamp(0, len(knots) - 2)
        return knots[index] + (knots[index + 1] - knots[index]) * (position - index)

    def inverse(self, gamma: Values) -> Values:
        knots = self.knots.to(gamma)
        index = torch.searchsorted(knots, gamma.detach().contiguous(), right=True).sub(1).clamp(0, len(knots) - 2)
        return (index + (gamma - knots[index]) / (knots[index + 1] - knots[index])) / (len(knots) - 1)
