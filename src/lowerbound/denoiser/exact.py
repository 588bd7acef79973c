r"""Closed-form denoisers: data whose every marginal $q(x_t)$ is known.

For a mixture of Gaussians $\sum_k w_k N(m_k, S_k)$,
$q(x_t) = \sum_k w_k N(\alpha_t m_k, \alpha_t^2 S_k + \sigma_t^2 I)$, and

$$E[x | x_t, k] = m_k + \alpha_t S_k (\alpha_t^2 S_k + \sigma_t^2 I)^{-1} (x_t - \alpha_t m_k), \qquad
Var[x | x_t, k] = S_k - \alpha_t^2 S_k (\alpha_t^2 S_k + \sigma_t^2 I)^{-1} S_k .$$

Along the eigenvectors of $S_k$, with eigenvalues $\lambda$, all entries are apart, of variances $\alpha_t^2 \lambda +
\sigma_t^2$, and no matrix is inverted; where only some entries are observed, their part of the sum is factorised.

A Gaussian is a mixture of one; a finite set of points is a mixture with $S_k = 0$. These denoisers are the best possible
ones for their data, so whatever they are plugged into has a known answer: they are the oracle of every test, and a
reader's first example.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.arguments import check_batch, check_time
from lowerbound.denoiser.base import Denoiser, Prediction
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.schedule import CLEAN, Level, Schedule
from lowerbound.shapes import Examples, PerExample


class GaussianMixture(Denoiser):
    r"""Data distributed as $\sum_k w_k N(m_k, S_k)$ in D dimensions.

    Arguments:
        weights: $w_k$, (K,), positive; normalised to a sum of one.
        means: $m_k$, (K, D).
        covariances: $S_k$, (K, D, D), symmetric and positive semi-definite.
        schedule: the noise schedule.

    Raises:
        InputError: if the shapes do not fit, a number is not finite, a weight is not positive or a covariance has a negative
            eigenvalue.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor

    def __init__(
        self,
        weights: Float[Tensor, "num_components"],
        means: Float[Tensor, "num_components dim"],
        covariances: Float[Tensor, "num_components dim dim"],
        schedule: Schedule,
    ):
        super().__init__(schedule, tuple(means.shape[1:]))
        K, *dims = means.shape
        if weights.shape != (K,) or len(dims) != 1 or covariances.shape != (K, *dims, *dims):
            raise InputError(
                f"weights, means and covariances of shapes {tuple(weights.shape)}, {tuple(means.shape)} and "
                f"{tuple(covariances.shape)}: they must be (K,), (K, D) and (K, D, D)"
            )
        if not bool(((weights > 0) & (weights < math.inf)).all()):
            raise InputError(f"mixture weights must be positive and finite, got {weights.tolist()}")
        if not bool(torch.isfinite(means).all() and torch.isfinite(covariances).all()):
            raise InputError("a mean or covariance holds NaN or infinity: give finite numbers")
        if not torch.allclose(covariances, covariances.mT):
            raise InputError("a covariance is not symmetric")
        eigenvalues, eigenvectors = (part.to(covariances) for part in torch.linalg.eigh(covariances.double()))
        smallest = eigenvalues.min().item()
        if smallest < -1e-6 * covariances.abs().max().item():
            raise InputError(f"a covariance has the negative eigenvalue {smallest:.3g}")
        self.register_buffer("weights", weights / weights.sum())
        self.register_buffer("means", means)
        self.register_buffer("covariances", covariances)
        self.register_buffer("eigenvalues", eigenvalues.clamp(min=0))
        self.register_buffer("eigenvectors", eigenvectors)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        log_joint, means, variances = self._components(x_t, level, observed)
        responsibility = log_joint.softmax(1)[..., None]
        x = (responsibility * means).sum(1)
        x_var = (responsibility * (variances + (means - x[:, None]) ** 2)).sum(1)
        return Prediction(x_t, level, x, self.schedule, x_var)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> PerExample:
        """The data's own log density, nats."""
        return self.log_marginal(x, CLEAN)

    def log_marginal(
        self,
        x_t: Float[Tensor, "batch dim"],
        t: Tensor | float | Level,
        observed: Bool[Tensor, "batch dim"] | None = None,
    ) -> PerExample:
        r"""$\log q(x_t)$ of the observed entries, nats, at times t.

        Raises:
            InputError: as a call, for what is no batch of noisy data or no time.
        """
        check_batch(x_t, self.shape, "x_t")
        if not isinstance(t, Level):
            check_time(t, x_t)
        if observed is not None:
            x_t = torch.where(observed, x_t, 0)
        return self._components(x_t, self.schedule.level(t), observed)[0].logsumexp(1)

    def sample(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples dim"]:
        """Examples of the data."""
        like = self.means.new_empty(num_samples, 1)
        component = torch.searchsorted(self.weights.cumsum(0), noise.uniform(like)[:, 0]).clamp(
            max=len(self.weights) - 1
        )
        roots = self.eigenvectors * self.eigenvalues.sqrt()[:, None]
        eps = noise.normal(self.means.new_empty(num_samples, *self.shape))
        return self.means[component] + (roots[component] @ eps[..., None])[..., 0]

    def posterior(
        self, matrix: Float[Tensor, "num_measured dim"], y: Float[Tensor, "num_measured"], noise_std: float
    ) -> "GaussianMixture":
        r"""The mixture that x is distributed as, given $y = A x + \nu n$ with n standard normal.

        With $S_k' = A S_k A^T + \nu^2 I$ its weights are $w_k N(y; A m_k, S_k')$, its means $m_k + S_k A^T S_k'^{-1} (y - A
        m_k)$ and its covariances $S_k - S_k A^T S_k'^{-1} A S_k$.

        Arguments:
            matrix: A, (M, D); of full row rank if there is no noise.
            y: (M,).
            noise_std: $\nu$.

        Raises:
            InputError: if the shapes do not fit, the noise is negative, or a measurement has no spread.
        """
        if not noise_std >= 0:
            raise InputError(f"noise_std is {noise_std}: give 0 for measurements without noise, or more")
        if matrix.shape != (len(y), *self.shape):
            raise InputError(
                f"a matrix of shape {tuple(matrix.shape)} and {len(y)} measurements of {self.shape[0]}-dimensional data: "
                f"they must be (M, {self.shape[0]}) and (M,)"
            )
        gain = matrix @ self.covariances
        factor, fault = torch.linalg.cholesky_ex(gain @ matrix.T + noise_std**2 * torch.eye(len(y)).to(matrix))
        if bool(fault.any()):
            raise InputError("a measurement without noise has no spread, or follows from the others: leave it out")
        whitened = torch.linalg.solve_triangular(factor, (y - self.means @ matrix.T)[..., None], upper=False)
        whitened_gain = torch.linalg.solve_triangular(factor, gain, upper=False)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        weights = (self.weights.log() - 0.5 * whitened.square().sum((-1, -2)) - log_det).softmax(0)
        return GaussianMixture(
            weights.clamp(min=torch.finfo(weights.dtype).tiny),  # a component may be as good as excluded
            self.means + (whitened_gain.mT @ whitened)[..., 0],
            self.covariances - whitened_gain.mT @ whitened_gain,
            self.schedule,
        )

    def moments(self) -> tuple[Float[Tensor, "dim"], Float[Tensor, "dim dim"]]:
        """The data's mean and covariance."""
        mean = self.weights @ self.means
        offsets = self.means - mean
        return mean, torch.einsum("k,kij->ij", self.weights, self.covariances + offsets[:, :, None] * offsets[:, None])

    def _components(self, x_t: Tensor, level: Level, observed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Per example and component: log w_k N(x_t; ...), (B, K), and the posterior's mean and variance, (B, K, D)."""
        alpha, sigma2 = (
            torch.as_tensor(c, dtype=x_t.dtype, device=x_t.device).reshape(-1, 1, 1)
            for c in (level.alpha, level.sigma**2)
        )
        residual = x_t[:, None] - alpha * self.means
        if observed is None:
            marginal = alpha**2 * self.eigenvalues + sigma2
            if not bool((marginal > 0).all()):
                raise InputError("data that do not spread in all directions have no density without noise: add some")
            axes = self.eigenvectors.to(residual.dtype)  # x_t may be in double precision where the data are in single
            along = torch.einsum("kij,bki->bkj", axes, residual)
            squares, log_det = (along**2 / marginal).sum(-1), 0.5 * marginal.log().sum(-1)
            shift = torch.einsum("kij,bkj->bki", axes, alpha * self.eigenvalues / marginal * along)
            variances = torch.einsum("kij,bkj->bki", axes**2, (self.eigenvalues * sigma2 / marginal).to(axes.dtype))
            num_observed: Tensor | int = self.shape[0]
        else:
            # an unobserved entry is cut off from the others and given unit variance and no residual
            seen = observed.to(x_t.dtype)[:, None]
            identity = torch.eye(*self.shape * 2, dtype=x_t.dtype, device=x_t.device)
            gain, residual = alpha[..., None] * self.covariances * seen[..., None, :], residual * seen
            marginal = (alpha[..., None] * gain + sigma2[..., None] * identity) * seen[..., None]
            factor = torch.linalg.cholesky(marginal + identity * (1 - seen)[..., None])
            whitened = torch.linalg.solve_triangular(factor, residual[..., None], upper=False)
            whitened_gain = torch.linalg.solve_triangular(factor, gain.mT, upper=False)
            squares, log_det = whitened.square().sum((-1, -2)), factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            shift = (whitened_gain.mT @ whitened)[..., 0]
            variances = self.covariances.diagonal(dim1=-2, dim2=-1) - whitened_gain.square().sum(-2)
            num_observed = seen.sum(-1)
        log_normal = -0.5 * squares - log_det - 0.5 * num_observed * math.log(2 * math.pi)
        return self.weights.log() + log_normal, self.means + shift, variances.clamp(min=0)


class Gaussian(GaussianMixture):
    r"""Data distributed as N(m, S) in D dimensions: the denoiser is linear and the bound has a closed form.

    Arguments:
        mean: m, (D,).
        covariance: S, (D, D).
        schedule: the noise schedule.
    """

    def __init__(self, mean: Float[Tensor, "dim"], covariance: Float[Tensor, "dim dim"], schedule: Schedule):
        super().__init__(mean.new_ones(1), mean[None], covariance[None], schedule)


class Empirical(Denoiser):
    r"""Data that are one of N given examples: $E[x | x_t] = \sum_i \mathrm{softmax}_i(\log w_i - \frac{\|x_t - \alpha_t
    x_i\|^2}{2 \sigma_t^2}) x_i$.

    This is what a network of unlimited capacity learns from N examples: it draws copies of them. With all points of a
    lattice and their probabilities it is any discrete distribution, whose exact log probability is known.

    Arguments:
        examples: (N, *shape).
        schedule: the noise schedule.
        weights: (N,), positive, normalised to a sum of one; equal if None.

    Raises:
        InputError: if there are no examples, or the weights do not fit.
    """

    examples: Tensor
    log_weights: Tensor

    def __init__(
        self,
        examples: Float[Tensor, "num_examples *shape"],
        schedule: Schedule,
        weights: Float[Tensor, "num_examples"] | None = None,
    ):
        super().__init__(schedule, tuple(examples.shape[1:]))
        weights = examples.new_ones(len(examples)) if weights is None else weights
        if len(examples) == 0 or weights.shape != (len(examples),) or not bool((weights > 0).all()):
            raise InputError(
                f"{len(examples)} examples with weights of shape {tuple(weights.shape)}: give at least one example, and "
                "to each one positive weight"
            )
        self.register_buffer("examples", examples)
        self.register_buffer("log_weights", (weights / weights.sum()).log())

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        noisy, examples = x_t.flatten(1), self.examples.flatten(1).to(x_t.dtype)
        alpha, sigma = expand(level.alpha, noisy), expand(level.sigma, noisy)
        y, ratio = noisy / alpha, sigma / alpha
        seen = torch.ones_like(y) if observed is None else observed.flatten(1).to(y.dtype)
        # -|y - x_i|^2 / 2 without the part that all examples share
        overlap = y @ examples.mT - seen @ examples.square().mT / 2
        responsibility = (self.log_weights + overlap / ratio**2).softmax(1)
        x = responsibility @ examples
        x_var = (responsibility @ examples.square() - x.square()).clamp(min=0)
        return Prediction(x_t, level, x.reshape(x_t.shape), self.schedule, x_var.reshape(x_t.shape))

    def log_prob(self, x: Examples) -> PerExample:
        """The log probability of each x, nats: minus infinity for one that is not among the examples."""
        same = (x.flatten(1)[:, None] == self.examples.flatten(1)[None]).all(-1)
        return torch.where(same, self.log_weights, -math.inf).logsumexp(1)
