r"""The hybrid loss: the mean learns from $L_{simple}$, the reverse variance from the bound (Nichol & Dhariwal 2021).

$$L_{hybrid} = L_{simple} + \lambda L_{vlb}$$

with the mean held fixed in $L_{vlb}$, so that a bound dominated by the last bits does not pull at it. DDPM's first posterior
variance is zero and iDDPM clips its logarithm; here the first step belongs to the decoder, and no term of the sum meets it.
"""

from dataclasses import replace

from lowerbound.denoiser import Denoiser
from lowerbound.elementary import present, sum_dims
from lowerbound.encoder import index_at, walk_at
from lowerbound.likelihood.bound import check_chain, step_kl
from lowerbound.rng import Noise
from lowerbound.shapes import Chain, Examples, PerExample


def hybrid(
    denoiser: Denoiser,
    x: Examples,
    chain: Chain,
    *,
    noise: Noise,
    place: PerExample | None = None,
    vlb_weight: float = 0.001,
) -> PerExample:
    r"""$\|\epsilon - \hat\epsilon\|^2 + \lambda (K - 1) KL(q(x_s | x_t, x) \| p(x_s | x_t))$ at one random step.

    Nichol & Dhariwal 2021, equation 16; its expectation over steps is $L_{simple} + \lambda L_{vlb}$ without the bound's
    ends. A loss, not a bound.

    Arguments:
        denoiser: one that gives `variance_mix`.
        x: data, (B, *).
        chain: the times of the chain's K levels, increasing, in [0, 1].
        noise: where latents and places come from.
        place: which step, a number in [0, 1) for each example, (B,); drawn for each apart if None.
        vlb_weight: $\lambda$.

    Raises:
        InputError: if the denoiser learns no variance, or the chain or `place` is out of range.
    """
    check_chain(chain, at_least=2)
    num_steps = len(chain) - 1
    x = present(x, denoiser.observed)
    index = index_at(place, num_steps, x, noise)
    s, t = walk_at(x, denoiser.schedule, chain, index + 1, 2, noise)
    prediction = denoiser(t.x, t.level)
    variance_only = replace(prediction, x=prediction.x.detach())
    kl = step_kl(variance_only, x, s.level, "learned")
    eps = replace(prediction, x=x).eps  # the noise that x_t holds is what would be predicted of x itself
    terms = (eps - prediction.eps) ** 2 + vlb_weight * num_steps * kl
    return sum_dims(present(terms, denoiser.observed))
