r"""Score matching: to learn $s \approx \nabla \log p$ from draws of p, without knowing p.

The sign is the same everywhere: the score is $\nabla \log p = -\nabla E$ of an energy E. What should be small is the Fisher
divergence $F = \tfrac12 E_p \|s - \nabla \log p\|^2$, which asks for the unknown. By parts (Hyvarinen 2005, theorem 1), for
p that vanishes at infinity,

$$E_p [s \cdot \nabla \log p] = -E_p \left[\mathrm{tr} \frac{\partial s}{\partial x}\right], \qquad
F = \underbrace{E_p \left[\mathrm{tr} \frac{\partial s}{\partial x} + \tfrac12 \|s\|^2\right]}_{explicit}
+ \tfrac12 E_p \|\nabla \log p\|^2,$$

and the last term knows nothing of s. The other two objectives avoid the trace:

- sliced: $\mathrm{tr}\, J = E_v [v^T J v]$ over random v with $E[v v^T] = I$ (Song et al. 2019, "Sliced score matching");
  its expectation is the explicit one's;
- denoising: of data with noise, $\tilde x = x + \sigma \epsilon$, the same integration by parts in $\epsilon$ alone gives
  $\tfrac12 E \|s(\tilde x) + \epsilon / \sigma\|^2 = E_{\tilde p} [explicit] + D / 2 \sigma^2$ (Vincent 2011): the Fisher
  divergence from the smoothed density $\tilde p$, up to a constant.

A denoiser has a score at every level, $s = -\hat\epsilon / \sigma_t$. The loss of `objective.loss`,
$\tfrac12 \int w E \|\epsilon - \hat\epsilon\|^2 d\gamma$, is denoising score matching, as $\|\epsilon - \hat\epsilon\|^2 =
\sigma_t^2 \|s + \epsilon / \sigma_t\|^2$. For one x, in the expectation over $\epsilon$,

$$E \|\epsilon - \hat\epsilon\|^2 = 2 \sigma_t^2\, E \left[\mathrm{tr} \frac{\partial s}{\partial x_t} + \tfrac12
\|s\|^2\right] + D,$$

which is Stein's unbiased estimate of a risk. `explicit_loss` and `sliced_loss` draw the right-hand side: with the weighting
`elbo` their expectation is the bound's diffusion term, for each example and to the nat.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lowerbound import objective
from lowerbound.denoiser import Denoiser
from lowerbound.elementary import Scalar, count_dims, expand, present, sum_dims, unit_vectors
from lowerbound.errors import InputError
from lowerbound.rng import Noise, random_signs
from lowerbound.schedule import Level
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples, PerExample

Score = Callable[[Tensor], Tensor]
r"""$x \mapsto \nabla \log p(x)$, both (B, *), each row of the one a differentiable function of the same row of the other."""
PROBES = ("signs", "normal")
"""The distributions of probes: 1 or -1 (Rademacher), which makes the trace of a diagonal Jacobian exact, and N(0, I)."""


def explicit(score: Score, x: Examples) -> PerExample:
    r"""$\mathrm{tr} \frac{\partial s}{\partial x} + \tfrac12 \|s\|^2$ (Hyvarinen 2005), the trace in full.

    It takes one differentiation of s for each of the D entries: for few dimensions. Where autograd is on, the result can be
    differentiated again, in the parameters of s and in x.

    Arguments:
        score: s.
        x: draws of p, (B, *).

    Raises:
        InputError: if s cannot be differentiated in x.
    """
    s, products = _products(score, x, unit_vectors(x).expand(-1, *x.shape))
    return products.sum(0) + 0.5 * sum_dims(s.square())


def sliced(
    score: Score, x: Examples, noise: Noise, *, num_probes: int = 1, probes: str = "signs", reduced: bool = True
) -> PerExample:
    r"""$v^T \frac{\partial s}{\partial x} v + \tfrac12 \|s\|^2$, the mean over random v (Song et al. 2019).

    The trace takes one differentiation for each probe, whatever the number of dimensions.

    Arguments:
        score: s.
        x: draws of p, (B, *).
        noise: where the probes come from.
        num_probes: how many v for each example.
        probes: their distribution, one of `PROBES`.
        reduced: $\tfrac12 \|s\|^2$, known without probes; otherwise $\tfrac12 (v^T s)^2$, of the same expectation and mostly
            of more variance.

    Raises:
        InputError: for an impossible number or kind of probes, or if s cannot be differentiated in x.
    """
    check_least(1, num_probes=num_probes)
    check_choice("probes", probes, PROBES)
    v = torch.stack([noise.normal(x) if probes == "normal" else random_signs(x, noise) for _ in range(num_probes)])
    s, products = _products(score, x, v)
    if reduced:
        return products.mean(0) + 0.5 * sum_dims(s.square())
    return (products + 0.5 * (v * s).flatten(2).sum(2).square()).mean(0)


def denoising(score: Score, x: Examples, sigma: Scalar, noise: Noise) -> PerExample:
    r"""$\tfrac12 \|s(x + \sigma \epsilon) + \epsilon / \sigma\|^2$ (Vincent 2011): s becomes the smoothed density's score.

    Arguments:
        score: s, which need not be differentiable in x.
        x: data, (B, *).
        sigma: the noise's standard deviation, a number or (B,).
        noise: where $\epsilon$ comes from.
    """
    eps, sigma = noise.normal(x), expand(sigma, x)
    return 0.5 * sum_dims((score(x + sigma * eps) + eps / sigma).square())


def fisher_divergence(score: Score, true_score: Score, x: Examples) -> PerExample:
    r"""$\tfrac12 \|s - \nabla \log p\|^2$, whose mean over p is what all score matching minimises.

    Arguments:
        score: s.
        true_score: $\nabla \log p$.
        x: draws of p, (B, *).
    """
    return 0.5 * sum_dims((score(x) - true_score(x)).square())


@dataclass(frozen=True)
class MatchingLoss:
    r"""`objective.loss` by score matching of $q(x_t)$: the same expectation for each x.

    $$\gamma'(t)\, w \left[\sigma_t^2 \left(\mathrm{tr} \frac{\partial s}{\partial x_t} + \tfrac12 \|s\|^2\right) + \tfrac
    D2\right]$$

    Arguments:
        matching: what stands in the round brackets, or has its expectation, (B,), of the score at $x_t$ and of what noise
            there is.
    """

    matching: Callable[[Score, Tensor, Noise | None], Tensor]

    def __call__(
        self,
        denoiser: Denoiser,
        x: Examples,
        weighting: objective.Weighting = objective.uniform,
        *,
        t: PerExample | None = None,
        eps: Examples | None = None,
        noise: Noise | None = None,
    ) -> PerExample:
        """The loss of each example, (B,).

        Arguments:
            denoiser, x, weighting, t, eps, noise: as in `objective.loss`.

        Raises:
            InputError: if something must be drawn and no `noise` is given.
        """
        observed = denoiser.observed
        num_dims = count_dims(x, observed)

        def error(x_t: Tensor, level: Level, eps: Tensor) -> Tensor:
            def score(x_t: Tensor) -> Tensor:
                # torch's fused attention on a CPU cannot be differentiated twice
                with sdpa_kernel(SDPBackend.MATH):
                    return present(denoiser(x_t, level).score, observed)

            return 2 * level.sigma**2 * self.matching(score, x_t, noise) + num_dims

        x = present(x, observed)
        return objective.integrand(denoiser.schedule, x, weighting, error, t=t, eps=eps, noise=noise)


explicit_loss = MatchingLoss(lambda score, x_t, noise: explicit(score, x_t))
"""`MatchingLoss` by explicit score matching, from D differentiations."""

sliced_loss = MatchingLoss(lambda score, x_t, noise: sliced(score, x_t, objective.source(noise)))
"""`explicit_loss` with the trace from one probe of random signs: one differentiation. The probe comes from `noise` as well,
which has to be given."""


def _products(score: Score, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    r"""s(x), and $v^T \frac{\partial s}{\partial x} v$ for each of the probes (P, B, *), (P, B)."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if keep and x.requires_grad else x.detach().requires_grad_()
        s = score(x)
        # a row of s knows but its own row of x, so that one differentiation serves the whole batch
        products = torch.stack([sum_dims(v * _differentiate(s, x, v, keep)) for v in probes])
    return (s, products) if keep else (s.detach(), products.detach())


def _differentiate(s: Tensor, x: Tensor, v: Tensor, keep: bool) -> Tensor:
    r"""$v^T \frac{\partial s}{\partial x}$"""
    if s.requires_grad:
        # of a sum: as in `likelihood.density`
        (product,) = torch.autograd.grad((v * s).sum(), x, retain_graph=True, create_graph=keep, allow_unused=True)
        if product is not None:
            return product
    raise InputError(
        "the score does not depend on x as autograd sees it, and its trace cannot be taken: keep autograd on inside the "
        "score, or use denoising score matching"
    )
