r"""The textbook's three estimators of one sum, as losses in its own settings; as bounds: `derivations`.

$$J = \textstyle\sum E_q \log p(x_s | x_t), \qquad p(x_s | x_t) = N(\hat\mu(x_t), v_t I)$$

over the K - 1 steps of a chain of K levels. The bound is J and the entropies $\frac{D}{2} \log(2 \pi e\, \sigma_q^2)$ of the
$q(x_s | x_t, x) = N(\mu_q, \sigma_q^2 I)$, with reconstruction and prior. J can be drawn on one trajectory (T-sample), at a
random step from its two latents (two-sample), or from the upper one alone (one-sample), because for every $v_t > 0$

$$E\|x_s - \hat\mu\|^2 = E\|\mu_q - \hat\mu\|^2 + D \sigma_q^2 .$$

The three (`derivations.t_sample`, `two_sample`, `one_sample`) agree in expectation if they keep one $v_t$ and all
constants. The textbook's own settings do neither: $v_t = 1$ in
the first two and $v_t = \sigma_q^2$ in the third. `textbook_t_sample`, `textbook_two_sample` and `textbook_one_sample` are
losses, of different generative models, and none is a bound. Whether the network outputs $\hat\mu$, $\hat x$ or
$\hat\epsilon$ is its denoiser's affair (`NetworkDenoiser`) and makes no difference to any of the six.
"""

from itertools import pairwise

import torch
from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.elementary import present, sum_dims
from lowerbound.encoder import Latent, encode_back, index_at, walk_at, walk_from
from lowerbound.likelihood.bound import check_chain, step_kl
from lowerbound.rng import Noise
from lowerbound.shapes import Chain, Examples, PerExample


def textbook_t_sample(denoiser: Denoiser, x: Examples, chain: Chain, *, noise: Noise) -> PerExample:
    r"""The T-sample loss as taught, not a bound: $\frac12 \sum_{t=1}^T \|x_{t-1} - \hat\mu(x_t)\|^2$ on one trajectory.

    $-J$ with $v_t = 1$ and no constants; $x_0$ is the data, so that the last step down is one of the sum.

    Arguments:
        denoiser: the model.
        x: data, (B, *).
        chain: the times of $x_1, ..., x_T$, increasing, in [0, 1]: of a table of betas, its schedule's `times`.
        noise: where latents and places come from.

    Raises:
        InputError: if the chain is out of range.
    """
    check_chain(chain)
    x = present(x, denoiser.observed)
    path = walk_from(x, denoiser.schedule, chain, noise)
    return torch.stack([_squared_error(denoiser, s, t) for s, t in pairwise(path)], 1).sum(1) / 2


def textbook_two_sample(
    denoiser: Denoiser, x: Examples, chain: Chain, *, noise: Noise, place: PerExample | None = None
) -> PerExample:
    r"""The two-sample loss as taught, not a bound: $\frac{T}{2} \|x_{t-1} - \hat\mu(x_t)\|^2$ at $t \sim U\{1, ..., T\}$.

    Its expectation is that of `textbook_t_sample`.

    Arguments:
        denoiser, x, chain, noise: as in `textbook_t_sample`.
        place: which t, as in `derivations.Derivation`.

    Raises:
        InputError: if the chain or `place` is out of range.
    """
    check_chain(chain)
    x = present(x, denoiser.observed)
    index = index_at(place, len(chain), x, noise)
    s, t = walk_at(x, denoiser.schedule, chain, index, 2, noise)
    return len(chain) / 2 * _squared_error(denoiser, s, t)


def textbook_one_sample(
    denoiser: Denoiser, x: Examples, chain: Chain, *, noise: Noise, place: PerExample | None = None
) -> PerExample:
    r"""The one-sample loss as taught, not a bound: $\|\mu_q - \hat\mu(x_t)\|^2 / \sigma_q^2$ at $t \sim U\{2, ..., T\}$.

    $-J$ with $v_t = \sigma_q^2(t)$, no constants, and the factor T / 2 dropped. $\sigma_q^2(1)$ is zero: t = 1, which the
    text draws as well, would divide by it, and is the decoder's term.

    Arguments:
        denoiser, x, chain, noise: as in `textbook_t_sample`.
        place: which t, as in `derivations.Derivation`.

    Raises:
        InputError: if the chain or `place` is out of range.
    """
    check_chain(chain, at_least=2)  # this loss starts at t = 2
    x = present(x, denoiser.observed)
    index = index_at(place, len(chain) - 1, x, noise)
    s, t = walk_at(x, denoiser.schedule, chain, index + 1, 2, noise)
    return 2 * sum_dims(present(step_kl(denoiser(t.x, t.level), x, s.level), denoiser.observed))


def _squared_error(denoiser: Denoiser, s: Latent, t: Latent) -> Tensor:
    r"""$\|x_s - \hat\mu(x_t)\|^2$"""
    mean = encode_back(t, denoiser(t.x, t.level).x, s.level).mean
    return sum_dims(present((s.x - mean) ** 2, denoiser.observed))
