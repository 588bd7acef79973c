r"""The denoiser of the posterior: $E[x | x_t, y]$ for measurements $y = A x + \nu n$.

Whatever x is distributed as, given y it is distributed as something else, with the same forward process; so its posterior
is sampled by any sampler from the denoiser $E[x | x_t, y]$. With $q(x | x_t)$ taken to be a Gaussian of mean $\hat x$ and
covariance C,

$$E[x | x_t, y] = \hat x + C A^T (\nu^2 I + A C A^T)^{-1} (y - A \hat x), \qquad
Var[x | x_t] = \frac{\sigma_t^2}{\alpha_t} J, \quad J = \frac{\partial \hat x}{\partial x_t}$$

(the second is Tweedie's formula once more, exact for any data). The two choices differ in the C of the inverse; outside of
it both use J, so that the correction is $\sigma_t^2 / \alpha_t$ times the gradient of
$\log N(y; A \hat x(x_t), \nu^2 I + A C A^T)$, the twist:

- "jacobian": $C = (\sigma_t^2 / \alpha_t) J$, by conjugate gradients with vector-Jacobian products (MMPS: Rozet et al. 2024,
  "Learning diffusion priors from observations by expectation maximization"). Exact for Gaussian data;
- "isotropic": $C = r_t^2 I$, $r_t^2 = e^\gamma d^2 / (e^\gamma + d^2)$ with $d^2$ the data's variance, right for data
  without correlations (Pi-GDM: Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems"). One
  vector-Jacobian product.

Where J says that x varies more than C does, as between the heaps of data that lie in some, that gradient would take
$A \hat x$ beyond y, many times over: the correction is cut where, along the residual, it meets y. By an exact inverse with
"jacobian" it never goes farther.

A network's J is not quite symmetric, and zero where its $\hat x$ is cut to a range: see `conjugate`. Where an entry is known
without noise, its posterior mean is its value whatever the model says, and is put in.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.denoiser import Denoiser, Prediction, Wrapper
from lowerbound.denoiser.base import replaced
from lowerbound.elementary import exp, expand, sum_dims
from lowerbound.errors import InputError
from lowerbound.inverse.conjugate import conjugate_gradients
from lowerbound.inverse.operators import Mask, Operator, check_operator
from lowerbound.schedule import Level
from lowerbound.settings import check_choice
from lowerbound.shapes import Examples, PerExample
from lowerbound.words.brief import Brief

COVARIANCES = ("isotropic", "jacobian")


@dataclass(frozen=True, eq=False, repr=False)
class Twist(Brief):
    r"""What a measurement adds to a prediction.

    Arguments:
        prediction: of the denoiser, without the measurement.
        x: $E[x | x_t, y]$, (B, *).
        log_prob: $\log N(y; A \hat x, \nu^2 I + A C A^T)$ up to what is the same for every $x_t$ if C is, (B,) nats.
    """

    prediction: Prediction
    x: Examples
    log_prob: PerExample


class PosteriorDenoiser(Wrapper):
    r"""$E[x | x_t, y]$ from $E[x | x_t]$ (formula in the module's docstring).

    Arguments:
        denoiser: the model.
        operator: A.
        y: the measurements, (B, *measured), for the batches to come; of a mask the unknown entries are never looked at.
        noise_std: $\nu$, in the units of x as the denoiser sees it.
        covariance: one of `COVARIANCES`.
        num_iterations: of the conjugate gradients; each costs a vector-Jacobian product with "jacobian", next to nothing
            with "isotropic".
        data_variance: $d^2$, for "isotropic".

    Raises:
        InputError: for an unknown covariance, less than one iteration, a variance that is not positive, measurements of
            another shape than the operator makes, or an operator that fails the dot-product test.
    """

    by_row = ("y",)

    def __init__(
        self,
        denoiser: Denoiser,
        operator: Operator,
        y: Float[Tensor, "batch *measured"],
        noise_std: float,
        covariance: str = "jacobian",
        num_iterations: int = 5,
        data_variance: float = 1.0,
    ):
        super().__init__(denoiser)
        check_choice("covariance", covariance, COVARIANCES)
        if num_iterations < 1 or not data_variance > 0:
            raise InputError(
                f"{num_iterations} iterations and a data variance of {data_variance}: at least one iteration, and a "
                "positive variance, are needed"
            )
        check_operator(operator, denoiser.shape, y, noise_std)
        self.no_likelihood = "a denoiser that was given measurements approximates a posterior, which has no bound"
        self.operator = operator
        self.y = torch.where(operator.observed, y, 0) if isinstance(operator, Mask) else y
        self.noise_std = noise_std
        self.covariance = covariance
        self.num_iterations = num_iterations
        self.data_variance = data_variance

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "PosteriorDenoiser":
        operator = self.operator
        if isinstance(operator, Mask) and operator.observed.ndim > len(self.shape):
            operator = Mask(operator.observed[rows])
        return replaced(super().rows(rows), operator=operator)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        return Prediction(x_t, level, self.twist(x_t, level, cond, observed).x, self.schedule)

    def twist(self, x_t: Examples, level: Level, cond: Tensor | None = None, observed: Tensor | None = None) -> Twist:
        """The prediction with and without the measurement, and how probable that makes it."""
        if len(x_t) != len(self.y):
            raise InputError(f"a batch of {len(x_t)} for {len(self.y)} measurements: give one each")
        nested = torch.is_grad_enabled() and x_t.requires_grad  # someone differentiates this prediction in turn
        with torch.enable_grad():
            leaf = x_t if nested else x_t.detach().requires_grad_()
            prediction = self.denoiser(leaf, level, cond, observed)
        x_hat = prediction.x if nested else prediction.x.detach()
        tweedie = expand(level.sigma**2 / level.alpha, x_t)
        ratio2 = exp(level.gamma)
        isotropic = expand(ratio2 * self.data_variance / (ratio2 + self.data_variance), x_t)

        def propagate(v: Tensor) -> Tensor:
            r"""$(\sigma_t^2 / \alpha_t) J^T v$"""
            (product,) = torch.autograd.grad(
                prediction.x, leaf, v, retain_graph=True, create_graph=nested, materialize_grads=True
            )
            return tweedie * product

        def spread(v: Tensor) -> Tensor:
            r"""$(\nu^2 I + A C A^T) v$"""
            back = self.operator.adjoint(v)
            covered = isotropic * back if self.covariance == "isotropic" else propagate(back)
            return self.noise_std**2 * v + self.operator.forward(covered)

        with torch.set_grad_enabled(nested):
            residual = self.y - self.operator.forward(x_hat)
            weighted = conjugate_gradients(spread, residual, self.num_iterations)
            x = x_hat + self._within(propagate(self.operator.adjoint(weighted)), residual)
            if isinstance(self.operator, Mask) and self.noise_std == 0:
                x = torch.where(self.operator.observed, self.y, x)
            return Twist(prediction, x, -0.5 * sum_dims(residual * weighted))

    def _within(self, correction: Tensor, residual: Tensor) -> Tensor:
        r"""A correction that takes $A \hat x$ no farther than to y, along the residual."""
        whole, moved = sum_dims(residual**2), sum_dims(residual * self.operator.forward(correction))
        return expand(torch.where(moved > whole, whole / moved.clamp(min=1e-30), 1.0), correction) * correction
