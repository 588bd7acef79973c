r"""The normaliser of an energy by annealed importance sampling (Neal 2001, "Annealed importance sampling").

Between a normalised density $f_0$ and an unnormalised one $f_1$ lies a path $f_\beta$. Chains start at draws of $f_0$ and
take Metropolis-adjusted Langevin steps, which keep $f_{\beta_k}$ as it is, at each of $0 = \beta_0 < \beta_1 < \dots <
\beta_K = 1$. The weights

$$w = \prod_k \frac{f_{\beta_k}(x_{k-1})}{f_{\beta_{k-1}}(x_{k-1})}, \qquad E[w] = Z = \int f_1(x)\, dx,$$

are unbiased however badly the chains mix; only their variance tells. By Jensen's inequality $E[\log \bar w] \le \log Z$:
the estimate lies below, on average by half its variance. From draws of $f_1$ along the same path backwards the weights have
the mean $1 / Z$, and $-\log \bar w$ lies above (Grosse et al. 2015, "Sandwiching the marginal likelihood using bidirectional
Monte Carlo"); the two together are a bracket.

Two paths: the geometric one, $f_\beta = N(0, \tau^2 I)^{1 - \beta} f_1^\beta$, for any density; and, for an energy
that knows of noise levels, the levels themselves from the noise's end to the data's, in units in which $x_t$ has unit
variance. A pilot run of other chains chooses each bridge's step from the share that is accepted; the steps of the
chains that count are then fixed, as the weights' mean requires.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.elementary import exp, sum_dims
from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.gradient import values_and_gradient
from lowerbound.langevin.energy import EnergyDenoiser
from lowerbound.langevin.metropolis import metropolis_langevin
from lowerbound.rng import Noise
from lowerbound.schedule import Level, Schedule
from lowerbound.settings import check_least
from lowerbound.shapes import Conditions, Examples, PerExample
from lowerbound.tails import FEWEST_DRAWS, MOST_RELIABLE, pareto_shape
from lowerbound.words.brief import Brief

ACCEPTED = 0.6
"""The share of accepted steps that the pilot run aims at: in many dimensions 0.574 is best (Roberts & Rosenthal 1998)."""
_PILOT_CHAINS = 128
_PILOT_STEPS = 100  # in all, where there are few bridges


class Path(ABC):
    r"""$\log f_\beta(x)$ from $N(0, \tau^2 I)$ at $\beta = 0$ to where its normaliser is asked for, at 1.

    Arguments:
        shape: of one x.
        std: $\tau$.
    """

    def __init__(self, shape: tuple[int, ...], std: float):
        if not 0 < std < math.inf:
            raise InputError(f"the path starts at a Gaussian of standard deviation {std}: it must be positive")
        self.shape = tuple(shape)
        self.std = std

    def log_start(self, x: Examples) -> PerExample:
        r"""$\log f_0(x) = \log N(x; 0, \tau^2 I)$."""
        log_scale = 0.5 * math.log(2 * math.pi * self.std**2)
        return -0.5 * sum_dims((x / self.std) ** 2) - x[0].numel() * log_scale

    @abstractmethod
    def log_density(self, x: Examples, beta: float) -> PerExample:
        r"""$\log f_\beta(x)$, nats, differentiable in x."""


class Geometric(Path):
    r"""$f_\beta = N(0, \tau^2 I)^{1 - \beta} f^\beta$.

    Arguments:
        log_density: $x \mapsto \log f(x)$, (B, *) to (B,), nats.
        shape: of one x.
        std: $\tau$; about as wide as f, rather wider.
    """

    def __init__(self, log_density: Callable[[Tensor], Tensor], shape: tuple[int, ...], std: float = 1.0):
        super().__init__(shape, std)
        self._log_density = log_density

    def log_density(self, x: Tensor, beta: float) -> Tensor:
        return (1 - beta) * self.log_start(x) + beta * self._log_density(x)


class NoiseLevels(Path):
    r"""The density of $u = x_t / s_t$, $s_t^2 = \alpha_t^2 \sigma_d^2 + \sigma_t^2$, at $\gamma_1 - \beta (\gamma_1 -
    \gamma_0)$.

    Arguments:
        log_density: $(x_t, level) \mapsto \log f(x_t)$, (B,), such as `EnergyDenoiser.log_density` or
            `GaussianMixture.log_marginal`; its normaliser at $\gamma_0$ in units of $x_t$ is what comes out.
        schedule: the noise schedule.
        shape: of one x.
        sigma_data: $\sigma_d$, the data's standard deviation.
    """

    def __init__(
        self,
        log_density: Callable[[Tensor, Level], Tensor],
        schedule: Schedule,
        shape: tuple[int, ...],
        sigma_data: float = 1.0,
    ):
        super().__init__(shape, 1.0)
        self._log_density = log_density
        self._schedule = schedule
        self._sigma_data = sigma_data
        self._ends = schedule.gamma_min, schedule.gamma_max

    def log_density(self, x: Tensor, beta: float) -> Tensor:
        if beta == 0:
            return self.log_start(x)
        level, scale = self.at(beta)
        return self._log_density(scale * x, level) + x[0].numel() * math.log(scale)

    def at(self, beta: float) -> tuple[Level, float]:
        r"""The level at $\beta$, and $s_t$."""
        gamma_min, gamma_max = self._ends
        level = self._schedule.level_at(gamma_max - beta * (gamma_max - gamma_min))
        return level, float(level.alpha * math.sqrt(self._sigma_data**2 + exp(level.gamma)))


@dataclass(frozen=True, repr=False)
class Annealed(Brief):
    r"""An estimate of $\log Z$.

    Arguments:
        log_weights: $\log w$ of each chain, (N,), nats.
        acceptance: the share of accepted steps at each bridge, (K,).
        x: where the chains ended, (N, *), in the path's units.
        upper: whether the chains ran backwards, so that the estimate lies above on average.
    """

    log_weights: Float[Tensor, "num_chains"]
    acceptance: Float[Tensor, "num_bridges"]
    x: Float[Tensor, "num_chains *shape"]
    upper: bool = False

    @property
    def log_z(self) -> float:
        r"""$\log \bar w$, of a backward run $-\log \bar w$."""
        mean = (self.log_weights.double().logsumexp(0) - math.log(len(self.log_weights))).item()
        return -mean if self.upper else mean

    @property
    def standard_error(self) -> float:
        r"""Of `log_z`, $\mathrm{sd}(w) / (\bar w \sqrt N)$; NaN where the weights' tail leaves none: $\hat k$ above 0.7."""
        if self.pareto_shape > MOST_RELIABLE:
            return math.nan
        weights = self.log_weights.double().softmax(0) * len(self.log_weights)
        return (weights.std() / math.sqrt(len(weights))).item()

    @property
    def figure(self) -> Measured:
        """`log_z` and its error, as text without a "±" where it has none."""
        return Measured(self.log_z, self.standard_error)

    @property
    def pareto_shape(self) -> float:
        r"""$\hat k$ of the upper tail of the weights (`tails.pareto_shape`); NaN of fewer than a hundred chains."""
        if len(self.log_weights) < FEWEST_DRAWS:
            return math.nan
        log_weights = self.log_weights.double()
        return pareto_shape((log_weights - log_weights.max()).exp().cpu().numpy())

    @property
    def effective_sample_size(self) -> float:
        r"""$(\sum w)^2 / \sum w^2$, between 1 and N."""
        return (1 / self.log_weights.double().softmax(0).square().sum()).item()


def log_normaliser(
    path: Path,
    noise: Noise,
    *,
    num_chains: int = 1000,
    num_bridges: int = 200,
    num_steps: int = 1,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Annealed:
    r"""$\log Z$ of the path's end from draws of its start: on average from below (formula in the module's docstring).

    Arguments:
        path: from the start to the density in question.
        noise: where everything random comes from: a `Stream`, for the pilot run has another number of chains.
        num_chains: N.
        num_bridges: K.
        num_steps: Langevin steps at each bridge.
        dtype, device: of the chains.

    Raises:
        InputError: for fewer than two chains, or no bridge or step.
    """
    check_least(2, num_chains=num_chains)
    check_least(1, num_bridges=num_bridges, num_steps=num_steps)
    like = torch.empty(0, *path.shape, dtype=dtype, device=device)
    step_sizes = _pilot(path, like, num_bridges, num_steps, noise)
    x = path.std * noise.normal(like.new_empty(num_chains, *path.shape))
    betas = _betas(num_bridges)
    return _anneal(path, x, list(zip(betas[:-1], betas[1:], step_sizes, strict=True)), num_steps, noise)


def log_normaliser_above(
    path: Path, x: Float[Tensor, "num_chains *shape"], noise: Noise, *, num_bridges: int = 200, num_steps: int = 1
) -> Annealed:
    r"""$\log Z$ of the path's end from independent draws of it, backwards: on average from above (Grosse et al. 2015).

    Draws of the data are draws of a model's density only if the model is right.

    Arguments:
        path: as in `log_normaliser`.
        x: draws of the end, normalised, in the path's units, (N, *).
        noise, num_bridges, num_steps: as in `log_normaliser`.

    Raises:
        InputError: as `log_normaliser`.
    """
    check_least(2, num_chains=len(x))
    check_least(1, num_bridges=num_bridges, num_steps=num_steps)
    step_sizes = _pilot(path, x[:0], num_bridges, num_steps, noise)
    betas = _betas(num_bridges)
    # from 1 to beta_{K-1}, where the step is that of this bridge; at 0 nothing is left to be weighted
    backwards = list(zip(betas[:0:-1], betas[-2::-1], [*step_sizes[-2::-1], step_sizes[0]], strict=True))
    return _anneal(path, x, backwards, num_steps, noise, upper=True)


def energy_log_prob(
    denoiser: EnergyDenoiser, x: Examples, annealed: Annealed, cond: Conditions | None = None
) -> PerExample:
    r"""$\log p(x) = -E(\alpha_0 x, \gamma_0) + D \log \alpha_0 - \log Z$, nats.

    This is the density of $x_{t_0} / \alpha_{t_0}$, the data with the noise of $\gamma_0$ on them, as of `density.log_prob`.
    All of them share the error of $\log Z$, `annealed.standard_error`.

    Arguments:
        denoiser: the energy.
        x: data, (B, *).
        annealed: its normaliser, from `NoiseLevels` of its `log_density`, or at $\gamma_0$ along another path.
        cond: the condition, the one whose normaliser it is.
    """
    level = denoiser.schedule.level(0.0)
    log_density = denoiser.log_density(level.alpha * x, level, cond)
    return log_density + x[0].numel() * math.log(float(level.alpha)) - annealed.log_z


def _betas(num_bridges: int) -> list[float]:
    return [k / num_bridges for k in range(num_bridges + 1)]


def _moves(path: Path, x: Tensor, beta: float, step_size: float, num_steps: int, noise: Noise) -> tuple[Tensor, float]:
    """Steps that keep the density at beta as it is, and the share of them that was accepted."""

    @torch.no_grad()
    def log_density_and_score(x: Tensor) -> tuple[Tensor, Tensor]:
        return values_and_gradient(lambda x: path.log_density(x, beta), x)

    x, accepted = metropolis_langevin(log_density_and_score, x, step_size, num_steps, noise)
    return x, accepted.mean().item()


def _pilot(path: Path, like: Tensor, num_bridges: int, num_steps: int, noise: Noise) -> list[float]:
    """Each bridge's step size, by chains of its own."""
    x = path.std * noise.normal(like.new_empty(_PILOT_CHAINS, *path.shape))
    log_step, step_sizes = math.log(path.std**2 / math.prod(path.shape) ** (1 / 3)), []
    for beta in _betas(num_bridges)[1:]:
        for _ in range(max(num_steps, math.ceil(_PILOT_STEPS / num_bridges))):
            x, accepted = _moves(path, x, beta, math.exp(log_step), 1, noise)
            log_step += accepted - ACCEPTED
        step_sizes.append(math.exp(log_step))
    return step_sizes


@torch.no_grad()
def _anneal(
    path: Path, x: Tensor, bridges: list[tuple[float, float, float]], num_steps: int, noise: Noise, upper: bool = False
) -> Annealed:
    """The weights of chains from x over bridges (from a beta, to a beta, step size)."""
    log_weights, acceptance = x.new_zeros(len(x)), []
    for last_beta, beta, step_size in bridges:
        log_weights += path.log_density(x, beta) - path.log_density(x, last_beta)
        x, accepted = _moves(path, x, beta, step_size, num_steps, noise)
        acceptance.append(accepted)
    return Annealed(log_weights, torch.tensor(acceptance), x, upper)
