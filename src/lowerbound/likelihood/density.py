r"""The density of a denoiser's probability flow, in nats per example.

The flow carries $q(x_t)$ from level to level without noise (Song et al. 2021, section 4.3): $dx_t / dt = \alpha_t' \hat x +
\sigma_t' \hat\epsilon$. It is followed in the noise that each example would have, $x_t = \alpha_t x + \sigma_t \epsilon$
with x fixed and $\epsilon = 0$ at the start. As $\gamma' = 2 (\sigma' / \sigma - \alpha' / \alpha)$,

$$\frac{d\epsilon}{d\gamma} = \tfrac12 (\hat\epsilon - \epsilon) = \frac{x - \hat x}{2 e^{\gamma/2}},$$

the same in every scaling and for every schedule with the same ends. With $a^2 = \mathrm{sigmoid}(-\gamma)$ and $s^2 =
\mathrm{sigmoid}(\gamma)$ it is $dz / d\gamma = \tfrac12 a s\, \hat v$ in $z = a x + s \epsilon$, but an error is
measured in units of the level's own noise: in z the noise of a fine bin would drown in the tolerance, and come out of the
flow enlarged by $s_1 / s_0$. Along the way $d \log p(\epsilon) / d\gamma = -\nabla \cdot (d\epsilon / d\gamma)$, so

$$\log p(x) = \log N(a_1 x + s_1 \epsilon_1; 0, I) + D \log s_1 - D \tfrac{\gamma_0}{2}
+ \int_{\gamma_0}^{\gamma_1} \nabla \cdot \frac{d\epsilon}{d\gamma}\, d\gamma .$$

This is the density of $x_{t_0} / \alpha_{t_0}$: the data with the noise of $\gamma_0$ on them, which finite ends leave. What
the other end leaves is in the base density, N(0, I) (`mismatch`). All is computed in double precision but the network
itself: where the noise is as fine as 16-bit levels ask for, $x + e^{\gamma/2} \epsilon$ in single precision holds it to a
per cent only, which a solver takes for a rough field. The divergence jumps where $\hat x$ bends, as at the ends of the
data's range, and is therefore an integral to the solver (`ode`).

The divergence is $\sum_i e_i^T J e_i$ over the D unit vectors, exact, or the mean of $w^T J w$ over random signs w
(Hutchinson 1989), without bias. Each product takes one differentiation. As the path does not depend on w, a probe's estimate
of the integral is $\sum_i r_i$ with $r_i = w_i (K w)_i$ and $K = \int J\, d\gamma$, and

$$\mathrm{Var}\, r_i = \sum_{j \ne i} K_{ij}^2, \qquad
\mathrm{Var}\, w^T K w = \tfrac12 \sum_{i \ne j} (K_{ij} + K_{ji})^2 \le 2 \sum_i \mathrm{Var}\, r_i,$$

with equality where K is symmetric, as that of an exact denoiser is. So the spread of all D entries between the probes tells
the error, far better than that of the few sums. Least is known where one direction makes up all of K but its diagonal: the
sum of squares has Student's degrees of freedom there, one for each probe.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowerbound import ode
from lowerbound.arguments import check_data
from lowerbound.denoiser import Denoiser
from lowerbound.elementary import count_dims, exp, expand, present, sigmoid, sum_dims, unit_vectors
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import check_likelihood
from lowerbound.likelihood.mismatch import base_mismatch
from lowerbound.objective import source
from lowerbound.rng import Noise, random_signs
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples, PerExample
from lowerbound.words.brief import Brief

TRACES = ("auto", "exact", "hutchinson")
# there an exact trace takes five to six times as long as one probe, while sixteen probes err by 0.05 to 0.09 nats per
# dimension on Gaussian data: benchmarks/density.py
EXACT_DIMS = 16
LEAST_TOGETHER, MOST_TOGETHER = 4, 2**10
"""So many probes and more, of examples of up to so many entries, take less time as a call of copies, one for each, than as a
gradient for each."""


@dataclass(frozen=True, repr=False)
class Density(Brief):
    r"""Log densities (of discrete data: bounds on log probabilities) and how well they are known.

    Arguments:
        estimates: nats per example from each probe alone, (B, num_probes); one column where the trace is exact.
        exact_trace: whether the divergence was summed in full.
        num_dims: the number of entries that count, (B,).
        num_calls: network calls along the flow of each example, (B,).
        arrived: whether they sufficed to follow it to its end, (B,); if not, the estimates are NaN.
        solver_error: the solver's own estimate of its error, nats, (B,): its steps' errors added up, as if none were
            enlarged along the flow; of few calls, the standard deviation that was measured.
        mismatch: how much larger the base density is at the flow's end than what the denoiser has there
            (`mismatch.base_mismatch`), nats, (B,): `nats` less this is the figure with the latter as the base.
        kind: what was computed: `density (ODE)`, or `bound (ODE, dequantised, K=...)`.
        settings: how: the solver's tolerance (the largest, if each has its own) or the number of calls, the trace, the
            dequantiser.
        standard_error: of `nats`, from the spread between the probes of what each entry adds to the divergence (formula in
            the module's docstring), (B,): zero for an exact trace, NaN where a single probe has no spread. Student's degrees
            of freedom are as many as the probes: of two, an interval of 95 % is 4.3 of it to each side.
        correction: what a calibration has added to the estimates, nats, (B,); None where there is none (`few_calls`).
        correction_error: the standard error of that, nats, (B,).
    """

    estimates: Float[Tensor, "batch num_probes"]
    exact_trace: bool
    num_dims: PerExample
    num_calls: Int[Tensor, "batch"]
    arrived: Bool[Tensor, "batch"]
    solver_error: PerExample
    mismatch: PerExample
    kind: str
    settings: str
    standard_error: PerExample
    correction: PerExample | None = None
    correction_error: PerExample | None = None

    @property
    def nats(self) -> PerExample:
        r"""$\log p(x)$, the mean over probes."""
        return self.estimates.mean(1)

    @property
    def bits_per_dim(self) -> PerExample:
        r"""$-\mathrm{nats} / (D \ln 2)$"""
        return -self.nats / (self.num_dims * math.log(2))


def log_prob(
    denoiser: Denoiser,
    x: Examples,
    *,
    noise: Noise | None = None,
    trace: str = "auto",
    num_probes: int = 1,
    tolerance: float | PerExample = 1e-5,
    max_calls: int | Int[Tensor, "batch"] = ode.MAX_CALLS,
) -> Density:
    r"""$\log p(x)$ by the probability flow (formula in the module's docstring; Song et al. 2021, equation 39).

    Where x requires a gradient the result has one in x; it is the score at $\gamma_0$, and every step is kept for it.

    Arguments:
        denoiser: the model; of one that was given the entries that are there, only these move and count.
        x: data, (B, *).
        noise: where the probes of an estimated trace come from.
        trace: "exact", with D differentiations a call; "hutchinson", with one for each probe; "auto": exact up to 16
            dimensions, and where it costs no more than so many probes.
        num_probes: probes of an estimated trace, each the same for a whole solution; two or more give a standard error.
        tolerance: the error allowed in a step of the solver, in units of the noise and in nats per dimension; of all
            examples or of each, (B,).
        max_calls: the most network calls along the flow of an example, all or each; one that needs more has no figure.

    Raises:
        InputError: if the denoiser has no likelihood, or none along its flow, `trace`, `num_probes` or `tolerance` is out of
            range, probes are needed and there is no `noise`, or the flow cannot be followed.
    """
    followed = ProbedFlow.of(denoiser, x, noise=noise, trace=trace, num_probes=num_probes)
    return follow(followed, tolerance=tolerance, max_calls=max_calls)


@dataclass(frozen=True, repr=False)
class ProbedFlow(Brief):
    """The flow of some examples, with the probes of its divergence.

    Arguments:
        denoiser: the model.
        x: where it starts, in double precision, zero where an entry is missing, (B, *).
        num_dims: the number of entries that count, (B,).
        probes: that the divergence is taken along: unit vectors, (D, 1, *), or random signs, (num_probes, B, *).
        exact_trace: whether they are the unit vectors.
        dtype: of the results.
    """

    denoiser: Denoiser
    x: Examples
    num_dims: PerExample
    probes: Float[Tensor, "num_probes ..."]
    exact_trace: bool
    dtype: torch.dtype

    @staticmethod
    def of(
        denoiser: Denoiser, x: Examples, *, noise: Noise | None = None, trace: str = "auto", num_probes: int = 1
    ) -> "ProbedFlow":
        """The flow from x; arguments and errors as those of `log_prob`."""
        check_likelihood(denoiser)
        if denoiser.no_flow is not None:
            raise InputError(f"this denoiser has no density along its flow: {denoiser.no_flow}")
        observed = denoiser.observed
        check_data(x, denoiser.shape, observed)
        exact = is_exact(trace, x) or (trace == "auto" and num_probes >= x[0].numel())
        dtype, x = x.dtype, x.double()
        x, num_dims = present(x, observed), count_dims(x, observed)
        probes = unit_vectors(x) if exact else _random_probes(x, noise, num_probes)
        return ProbedFlow(denoiser, x, num_dims, probes, exact, dtype)

    @property
    def num_estimates(self) -> int:
        """How many estimates of the divergence there are."""
        return 1 if self.exact_trace else len(self.probes)

    @property
    def trace(self) -> str:
        """How the divergence is taken, in words."""
        return "exact trace" if self.exact_trace else f"{len(self.probes)} probe{'s'[: len(self.probes) > 1]}"

    def slopes(
        self, eps: Examples, gamma: PerExample, rows: Int[Tensor, "num_rows"], create_graph: bool = False
    ) -> ode.State:
        r"""$d\epsilon / d\gamma$ of some examples, (n, *), and its divergence per dimension by each estimate, (n,
        num_estimates); of several probes also what each entry adds to the divergence, $w_i (J w)_i$, (n, num_probes, *).

        Arguments:
            eps: their noise, (n, *).
            gamma: their levels, (n,).
            rows: which they are, (n,).
            create_graph: whether both are to be differentiated.
        """
        num_probes = len(self.probes)
        times = num_probes if num_probes >= LEAST_TOGETHER and eps.numel() <= MOST_TOGETHER else 1
        with torch.enable_grad():
            eps = eps if create_graph and eps.requires_grad else eps.detach().requires_grad_()
            copies = eps.expand(times, *eps.shape).flatten(0, 1)
            rows_of_copies = rows.repeat(times)
            denoiser, x = self.denoiser.rows(rows_of_copies), self.x[rows_of_copies]
            slope = flow(denoiser, x, copies, gamma.repeat(times)).unflatten(0, (times, -1))
            sums, entries = [], []
            for few in self.probes.split(times):
                probes = few.expand(-1, *self.x.shape)[:, rows]
                # of a sum: to be given what its rows weigh, torch would first load half a second of symbolic mathematics
                total = (probes * slope).sum()
                (gradient,) = torch.autograd.grad(total, copies, retain_graph=True, create_graph=create_graph)
                product = probes * gradient.unflatten(0, (times, -1))
                sums.append(product.reshape(*product.shape[:2], -1).sum(2))
                if self.has_spread:
                    entries.append(product.detach())
        divergence = torch.cat(sums).T
        divergence = divergence.sum(1, keepdim=True) if self.exact_trace else divergence
        divergence, slope = divergence / self._scale[rows], slope[0]
        spread = (torch.cat(entries).transpose(0, 1),) if self.has_spread else ()
        return (slope, divergence, *spread) if create_graph else (slope.detach(), divergence.detach(), *spread)

    @property
    def has_spread(self) -> bool:
        """Whether several probes tell the error of their mean."""
        return self.num_estimates > 1

    @property
    def no_integrals(self) -> ode.State:
        """Zeros in the form of what `slopes` gives beside the slope."""
        x, num_estimates = self.x, self.num_estimates
        entries = (x.new_zeros(len(x), num_estimates, *x.shape[1:]),) if self.has_spread else ()
        return (x.new_zeros(len(x), num_estimates), *entries)

    def end(self, eps: Examples) -> tuple[Examples, PerExample]:
        r"""$z = a_1 x + s_1 \epsilon_1$ and $\log N(z; 0, I) + D \log s_1 - D \gamma_0 / 2$, nats, (B,)."""
        schedule = self.denoiser.schedule
        a, s = (math.sqrt(float(sigmoid(gamma))) for gamma in (-schedule.gamma_max, schedule.gamma_max))
        z = a * self.x + s * eps
        log_normal = -0.5 * (sum_dims(z.square()) + self.num_dims * math.log(2 * math.pi))
        return z, log_normal + self.num_dims * (math.log(s) - schedule.gamma_min / 2)

    def density(
        self,
        base: PerExample,
        integrals: ode.State,
        z: Examples,
        solver_error: PerExample,
        *,
        num_calls: Int[Tensor, "batch"],
        arrived: Bool[Tensor, "batch"],
        kind: str,
        settings: str,
        correction: PerExample | None = None,
        correction_error: PerExample | None = None,
    ) -> Density:
        """The result, from the terms of `end`, the integrals of what `slopes` gives beside the slope, and the error."""
        unknown, (divergence, *entries) = ~arrived, integrals
        estimates = base[:, None] + self._scale * divergence
        if correction is not None:
            estimates = estimates + correction[:, None]

        def known(values: Tensor | None) -> Tensor | None:
            """As results are: NaN where there is none."""
            return None if values is None else values.masked_fill(unknown, math.nan).to(self.dtype)

        return Density(
            estimates=estimates.masked_fill(unknown[:, None], math.nan).to(self.dtype),
            exact_trace=self.exact_trace,
            num_dims=self.num_dims.to(self.dtype),
            num_calls=num_calls,
            arrived=arrived,
            solver_error=solver_error.masked_fill(unknown, math.nan).to(self.dtype),
            mismatch=base_mismatch(self.denoiser, z.detach()).masked_fill(unknown, math.nan).to(self.dtype),
            kind=kind,
            settings=f"{settings}, {self.trace}",
            standard_error=self._error(*entries).masked_fill(unknown, math.nan).to(self.dtype),
            correction=known(correction),
            correction_error=known(correction_error),
        )

    def _error(self, entries: Float[Tensor, "batch num_probes ..."] | None = None) -> PerExample:
        """The standard error of the mean over probes, nats, from the integrals of each entry's share of the divergence."""
        if entries is None:
            return torch.full_like(self.num_dims, 0.0 if self.exact_trace else math.nan)
        return (2 * sum_dims(entries.var(1)) / entries.shape[1]).sqrt()

    @property
    def _scale(self) -> Float[Tensor, "batch 1"]:
        return self.num_dims.clamp(min=1)[:, None]


def follow(
    followed: ProbedFlow, *, tolerance: float | PerExample, max_calls: int | Int[Tensor, "batch"] = ode.MAX_CALLS
) -> Density:
    """Follow a flow to its end; arguments and errors as those of `log_prob`."""
    x, schedule = followed.x, followed.denoiser.schedule
    differentiable = x.requires_grad and torch.is_grad_enabled()

    def field(state: ode.State, gamma: Tensor, rows: Tensor) -> ode.State:
        if len(state) == 1:  # the flow alone
            return (flow(followed.denoiser.rows(rows), x[rows], state[0], gamma),)
        return followed.slopes(state[0], gamma, rows, differentiable and torch.is_grad_enabled())

    with torch.set_grad_enabled(differentiable):
        solution = ode.solve(
            field,
            (torch.zeros_like(x), *followed.no_integrals),
            schedule.gamma_min,
            schedule.gamma_max,
            tolerance=tolerance,
            num_integrals=1 + followed.has_spread,
            num_carried=int(followed.has_spread),
            max_calls=max_calls,
        )
        eps, *integrals = solution.state
        z, base = followed.end(eps)
        # an error in eps of this root mean square moves log N(z) by at most s |z| times its length
        of_path, of_integral, *_ = solution.error
        s = math.sqrt(float(sigmoid(schedule.gamma_max)))
        length = s * sum_dims(z.detach().square()).sqrt() * math.sqrt(x[0].numel())
        return followed.density(
            base,
            tuple(integrals),
            z,
            length * of_path + followed.num_dims * of_integral,
            num_calls=solution.num_calls,
            arrived=solution.arrived,
            kind="density (ODE)",
            settings=f"tolerance {float(torch.as_tensor(tolerance).max()):g}",
        )


def flow(denoiser: Denoiser, x: Examples, eps: Examples, gamma: PerExample) -> Examples:
    r"""$d\epsilon / d\gamma = (x - \hat x) / (2 e^{\gamma/2})$ along the flow of $x_t = \alpha_t x + \sigma_t \epsilon$.

    Arguments:
        denoiser: the model; the slope of entries that it was not given is zero.
        x, eps: (B, *); any x will do, as long as it stays the same.
        gamma: the levels, (B,).
    """
    level = denoiser.schedule.level_at(gamma)
    x_hat = denoiser(expand(level.alpha, x) * x + expand(level.sigma, x) * eps, level).x
    slope = (x - x_hat) * expand(exp(-gamma / 2) / 2, x)
    return present(slope, denoiser.observed)


def is_exact(trace: str, x: Examples) -> bool:
    """Whether `trace` means an exact divergence for data of the shape of x; an InputError if it is not one of `TRACES`."""
    check_choice("trace", trace, TRACES)
    return trace == "exact" or (trace == "auto" and x[0].numel() <= EXACT_DIMS)


def _random_probes(x: Tensor, noise: Noise | None, num_probes: int) -> Tensor:
    """(num_probes, B, *): 1 or -1, independent."""
    check_least(1, num_probes=num_probes)
    noise = source(noise)
    return torch.stack([random_signs(x, noise) for _ in range(num_probes)])
