r"""The linear-Gaussian latent-variable model, where everything that a VAE bounds has a closed form.

$$z \sim N(0, I), \quad x | z \sim N(W z + m, s^2 I) \qquad\Rightarrow\qquad x \sim N(m, C), \; C = W W^\top + s^2 I$$

With $M = W^\top W + s^2 I$ the posterior is $N(M^{-1} W^\top (x - m), s^2 M^{-1})$. For any other Gaussian q the bound is
short of $\log p(x)$ by $KL(q \| p(z | x))$, and nothing else.

Its maximum of likelihood is known too, probabilistic PCA (Tipping & Bishop 1999, section 3.2): of a covariance S with
eigenvectors $U$ and eigenvalues $\lambda_1 \ge \lambda_2 \ge \dots$,

$$s^2 = \frac{1}{D - L} \sum_{j > L} \lambda_j, \qquad W = U_L (\Lambda_L - s^2 I)^{1/2} R$$

for any rotation R. EM reaches it by steps, each of which is the maximum of the bound in one of its two arguments: over q at
given (W, s), then over (W, s) at given q. So the likelihood never falls:
$\log p_{new} \ge ELBO(q, new) \ge ELBO(q, old) = \log p_{old}$.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.elementary import sum_dims
from lowerbound.errors import InputError
from lowerbound.models.output import Gaussian
from lowerbound.models.vae import VAE, StandardNormal
from lowerbound.nn.autoencoder import Affine
from lowerbound.shapes import PerExample
from lowerbound.words.brief import Brief


@dataclass(frozen=True, repr=False)
class FullNormal(Brief):
    """N(mean, covariance) of vectors.

    Arguments:
        mean: (B, L).
        covariance: (L, L), the same for all.
    """

    mean: Float[Tensor, "batch latents"]
    covariance: Float[Tensor, "latents latents"]

    def kl(self, other: "FullNormal") -> PerExample:
        """KL(self || other), nats."""
        root, other_root = torch.linalg.cholesky(self.covariance), torch.linalg.cholesky(other.covariance)
        spread = torch.linalg.solve_triangular(other_root, root, upper=False).square().sum()
        distance = torch.linalg.solve_triangular(other_root, (self.mean - other.mean).mT, upper=False).square().sum(0)
        log_volumes = _half_log_det(other_root) - _half_log_det(root)
        return 0.5 * (spread + distance - len(root)) + log_volumes


@dataclass(frozen=True, repr=False)
class LinearGaussian(Brief):
    """$N(m, W W^\\top + s^2 I)$, of latents $z \\sim N(0, I)$.

    Arguments:
        weight: W, (D, L).
        mean: m, (D,).
        variance: s^2, of no shape.
    """

    weight: Float[Tensor, "features latents"]
    mean: Float[Tensor, "features"]
    variance: Float[Tensor, ""]

    def covariance(self) -> Float[Tensor, "features features"]:
        r"""$C = W W^\top + s^2 I$"""
        return self.weight @ self.weight.mT + self.variance * _identity(self.weight.mT)

    def log_prob(self, x: Float[Tensor, "batch features"]) -> PerExample:
        """The exact log density, nats."""
        root = torch.linalg.cholesky(self.covariance())
        standard = torch.linalg.solve_triangular(root, (x - self.mean).mT, upper=False)
        return -0.5 * (standard.square().sum(0) + len(root) * math.log(2 * math.pi)) - _half_log_det(root)

    def mean_log_prob(self, covariance: Float[Tensor, "features features"]) -> Float[Tensor, ""]:
        r"""$-\frac12 [D \log 2 \pi + \log |C| + \mathrm{tr}\, C^{-1} S]$ (Tipping & Bishop 1999, equation 4), nats.

        The mean of `log_prob` over data of the model's mean and the covariance S.
        """
        root = torch.linalg.cholesky(self.covariance())
        trace = torch.cholesky_solve(covariance, root).trace()
        return -0.5 * (len(root) * math.log(2 * math.pi) + trace) - _half_log_det(root)

    def posterior(self, x: Float[Tensor, "batch features"]) -> FullNormal:
        r"""$p(z | x) = N(M^{-1} W^\top (x - m), s^2 M^{-1})$"""
        inverse = self._precision().inverse()
        return FullNormal((x - self.mean) @ self.weight @ inverse, self.variance * inverse)

    def elbo(self, x: Float[Tensor, "batch features"], q: FullNormal) -> PerExample:
        r"""$E_q \log p(x | z) - KL(q \| N(0, I))$ in closed form, nats."""
        error = sum_dims((x - self.mean - q.mean @ self.weight.mT) ** 2)
        spread = (self.weight @ q.covariance * self.weight).sum()
        normaliser = len(self.mean) * torch.log(2 * math.pi * self.variance)
        prior = FullNormal(torch.zeros_like(q.mean), _identity(self.weight))
        return -0.5 * ((error + spread) / self.variance + normaliser) - q.kl(prior)

    def em_step(self, covariance: Float[Tensor, "features features"]) -> "LinearGaussian":
        r"""One step of EM on data of the model's mean and the covariance S (Tipping & Bishop 1999, appendix B).

        $W' = S W (s^2 I + M^{-1} W^\top S W)^{-1}$, $s'^2 = \mathrm{tr}(S - S W M^{-1} W'^\top) / D$.
        """
        inverse, covariance_weight = self._precision().inverse(), covariance @ self.weight
        second_moment = self.variance * _identity(self.weight) + inverse @ self.weight.mT @ covariance_weight
        weight = torch.linalg.solve(second_moment, covariance_weight, left=False)
        variance = (covariance.trace() - (covariance_weight @ inverse * weight).sum()) / len(covariance)
        return LinearGaussian(weight, self.mean, variance)

    def _precision(self) -> Tensor:
        """M, the posterior's inverse covariance times s^2."""
        return self.weight.mT @ self.weight + self.variance * _identity(self.weight)


def ppca(
    mean: Float[Tensor, "features"], covariance: Float[Tensor, "features features"], latent_dims: int
) -> LinearGaussian:
    """Probabilistic PCA: the linear-Gaussian model of the greatest likelihood (Tipping & Bishop 1999, section 3.2).

    Arguments:
        mean: of the data, (D,).
        covariance: of the data, (D, D), the sum over N examples divided by N.
        latent_dims: L, 1 to D - 1.

    Raises:
        InputError: if L is out of range, or the data have fewer than L + 1 directions.
    """
    D = len(mean)
    if not 1 <= latent_dims < D:
        raise InputError(f"{latent_dims} latents for {D} features: probabilistic PCA has between 1 and {D - 1}")
    values, vectors = torch.linalg.eigh(covariance)
    variance = values[: D - latent_dims].mean()
    if not variance > 0:
        raise InputError(
            f"the data do not leave the plane of {latent_dims} directions, so that their likelihood has no maximum: use "
            "fewer latents, or leave out features that follow from the others"
        )
    scale = (values[D - latent_dims :] - variance).clamp(min=0).sqrt()
    return LinearGaussian(vectors[:, D - latent_dims :] * scale, mean, variance)


def linear_gaussian(vae: VAE) -> LinearGaussian:
    """The model of a VAE with affine networks, a normal prior and a Gaussian decoder, x being flattened.

    Raises:
        InputError: of another VAE, which has no closed form.
    """
    affine = vae.decoder[0] if isinstance(vae.decoder, nn.Sequential) else None
    if not (isinstance(affine, Affine) and isinstance(vae.output, Gaussian) and isinstance(vae.prior, StandardNormal)):
        raise InputError(
            "only a VAE with network='linear', decoder='gaussian' and prior='normal' is a linear-Gaussian model"
        )
    weight, mean = affine.map.weight, affine.map.bias
    variance = vae.output.normal(affine(weight.new_zeros(1, vae.latent_dims))).variance
    return LinearGaussian(weight, mean, torch.as_tensor(variance).to(weight).flatten()[0])


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _half_log_det(root: Tensor) -> Tensor:
    return root.diagonal().log().sum()
