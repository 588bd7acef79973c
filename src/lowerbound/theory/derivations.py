r"""The bound in all its derivations: one sum over a chain's steps, with a summand for each way to arrive at it.

For a chain of K levels let r < s < t be neighbours, and below the first level let r be the data itself, $x_r = x$. Then

$$\log p(x) \ge E_q \left[\log p(x | x_{t_0}) + \log p(x_{t_1}) + \textstyle\sum \log p(x_s | x_t) -
\log q(x_{t_0}, ..., x_{t_1} | x)\right]$$

and the encoder's density has two factorings: from the data up, $\prod q(x_s | x_r)$ (form A), and from the noise down,
$q(x_{t_1} | x) \prod q(x_s | x_t, x)$ (form B). On one and the same path the two are therefore the same number. What can be
averaged in closed form need not be drawn:

| value | a step's summand in the diffusion term | drawn |
|---|---|---|
| `form_a` | $\log q(x_s \| x_r) - \log p(x_s \| x_t)$ | $x_r, x_s, x_t$ |
| `form_b_sampled` | $\log q(x_s \| x_t, x) - \log p(x_s \| x_t)$ | $x_s, x_t$ |
| `t_sample`, `two_sample` | $-H[q(x_s \| x_t, x)] - \log p(x_s \| x_t)$ | $x_s, x_t$ |
| `form_b`, `one_sample` | $KL(q(x_s \| x_t, x) \Vert p(x_s \| x_t))$ | $x_t$ |
| `luo_45`, wrong | $KL(q(x_s \| x_r) \Vert p(x_s \| x_t))$ | $x_r, x_t$ |

The first four have one expectation, that of `likelihood.elbo` for the same chain and reverse variance, and differ in their
variance. The last takes $x_s$ to follow $q(x_s | x_r)$ while $x_t$ is held fixed; but given $x_t$ it follows
$q(x_s | x_r, x_t)$, and what is left is not the bound (docs/luo_45.md). Each sum is over one whole path, or one term at a
random step times their number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.elementary import expand, expm1, log, present, sum_dims
from lowerbound.encoder import Latent, Normal, encode, encode_back, index_at, walk_at, walk_from
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo, check_chain, check_likelihood, prior_kl, step_kl
from lowerbound.likelihood.decoder import Decoder
from lowerbound.rng import Noise
from lowerbound.schedule import CLEAN, Schedule
from lowerbound.shapes import Chain, Examples, PerExample
from lowerbound.words.brief import Brief


@dataclass(frozen=True, repr=False)
class Step(Brief):
    """One step of the chain as drawn.

    Arguments:
        data: x, (B, *).
        r, s: the latents $x_r$ and $x_s$.
        prediction: what the denoiser says at $x_t$.
        reverse: the reverse variance.
    """

    data: Examples
    r: Latent
    s: Latent
    prediction: Prediction
    reverse: str

    @property
    def from_below(self) -> Normal:
        """$q(x_s | x_r)$"""
        return encode(self.r, self.s.level)

    @property
    def from_above(self) -> Normal:
        """$q(x_s | x_t, x)$"""
        return encode_back(Latent(self.prediction.x_t, self.prediction.level), self.data, self.s.level)

    @property
    def model(self) -> Normal:
        r"""$p(x_s | x_t)$: the mean of $q(x_s | x_t, \hat x)$, and the reverse variance."""
        t, x_hat = self.prediction.level, self.prediction.x
        mean = encode_back(Latent(self.prediction.x_t, t), x_hat, self.s.level).mean
        return Normal(mean, expand(self.prediction.reverse_variance(self.reverse, self.s.level), x_hat))


@dataclass(frozen=True, eq=False)
class Derivation:
    r"""A way to arrive at the bound: a summand for each step of the chain, and what stands for the prior.

    Calling it gives an estimate of the bound for each example.

    Arguments:
        summand: of the diffusion term, for each entry.
        prior: the prior's term for each entry, in closed form, from x, the schedule and the chain.
        prior_on_path: the same from the drawn path, where that is whole; None: in closed form there too.
        whole_path: whether, if nothing else is said, all K - 1 summands are taken on one trajectory, held in memory;
            otherwise one summand at a random step, times K - 1.
    """

    summand: Callable[[Step], Examples]
    prior: Callable[[Examples, Schedule, Chain], Examples]
    prior_on_path: Callable[[list[Latent]], Examples] | None = None
    whole_path: bool = True

    def __call__(
        self,
        denoiser: Denoiser,
        decoder: Decoder,
        x: Examples,
        chain: Chain,
        *,
        noise: Noise,
        whole_path: bool | None = None,
        place: PerExample | None = None,
        reverse: str = "lower",
    ) -> Elbo:
        """The bound's terms, each (B,), nats.

        Arguments:
            denoiser: the model.
            decoder: $p(x | x_{t_0})$.
            x: data, (B, *); of discrete data, the centres of their levels.
            chain: the times of the chain's K levels, increasing, in [0, 1]. A single one is a VAE's latent: no steps.
            noise: where latents and places come from.
            whole_path: all summands on one trajectory, or one at a random step; the derivation's own way if None.
            place: which step, a number in [0, 1) for each example, (B,), such as `times.antithetic_times`, which spreads
                them evenly over a batch; drawn for each example apart if None. Only without the whole path.
            reverse: the reverse variance (`reverse.reverse_variance`).

        Raises:
            InputError: if the denoiser has no likelihood, or the chain, `place` or `reverse` is out of range.
        """
        check_likelihood(denoiser)
        whole_path = self.whole_path if whole_path is None else whole_path
        if whole_path and place is not None:
            raise InputError("a place on the chain has no effect on the whole path: give whole_path=False, or no place")
        check_chain(chain)
        observed, schedule = denoiser.observed, denoiser.schedule
        x = present(x, observed)
        num_steps = len(chain) - 1

        def term(r: Latent, s: Latent, t: Latent) -> Tensor:
            step = Step(x, r, s, denoiser(t.x, t.level), reverse)
            return sum_dims(present(self.summand(step), observed))

        steps, diffusion = None, x.new_zeros(len(x))
        path = walk_from(x, schedule, chain if whole_path else chain[:1], noise)
        if whole_path:
            terms = [term(*neighbours) for neighbours in zip(path[:-2], path[1:-1], path[2:], strict=True)]
            steps = torch.stack(terms, 1) if terms else x.new_zeros(len(x), 0)
            diffusion = steps.sum(1)
        elif num_steps:
            index = index_at(place, num_steps, x, noise)
            diffusion = num_steps * term(*walk_at(x, schedule, chain, index, 3, noise))
        first = path[1]
        prediction = denoiser(first.x, first.level) if decoder.needs_network else None
        reconstruction = decoder.log_prob(x, first.x, first.level, prediction)
        if whole_path and self.prior_on_path is not None:
            prior = self.prior_on_path(path)
        else:
            prior = self.prior(x, schedule, chain)
        return Elbo(
            sum_dims(present(reconstruction, observed)),
            sum_dims(present(prior, observed)),
            diffusion,
            decoder.count_dims(x, observed),
            steps,
        )


def _prior_kl(x: Tensor, schedule: Schedule, chain: Tensor) -> Tensor:
    r"""$KL(q(x_{t_1} | x) \| p(x_{t_1}))$ of each entry."""
    return prior_kl(x, schedule.level(chain[-1].item()))


def _prior_log_ratio(below: Latent, last: Latent) -> Tensor:
    r"""$\log q(x_{t_1} | below) - \log p(x_{t_1})$ of each entry."""
    model = Normal(torch.zeros_like(last.x), last.level.alpha**2 + last.level.sigma**2)
    return encode(below, last.level).log_prob(last.x) - model.log_prob(last.x)


def _prior_kl_from_below(x: Tensor, schedule: Schedule, chain: Tensor) -> Tensor:
    r"""$E\, KL(q(x_t | x_s) \| p(x_t))$ of each entry at the chain's end: form B's, and $\frac12 \log(\sigma_t^2 /
    \sigma_{t|s}^2)$."""
    s, t = [CLEAN, *schedule.levels(chain)][-2:]
    return prior_kl(x, t) - 0.5 * log(-expm1(s.gamma - t.gamma))


form_a = Derivation(
    lambda step: step.from_below.log_prob(step.s.x) - step.model.log_prob(step.s.x),
    _prior_kl_from_below,
    lambda path: _prior_log_ratio(path[-2], path[-1]),
)
r"""Form A, "consistency": each latent as the encoder makes it from below and the model from above.

$$E \log p(x | x_{t_0}) - E\, KL(q(x_{t_1} | x_{t_1-}) \| p(x_{t_1}))
- \textstyle\sum E_{q(x_r, x_s, x_t | x)} [\log q(x_s | x_r) - \log p(x_s | x_t)]$$

with $t_1-$ the level before the last (Luo, the line above equation 45; r, s, t are his t - 1, t, t + 1). The result's
`prior` and `diffusion` are these terms and not form B's: the prior's does not vanish at the noise's end, and the
diffusion's may be negative."""

form_b = Derivation(lambda step: step_kl(step.prediction, step.data, step.s.level, step.reverse), _prior_kl)
r"""Form B, "denoising matching": each latent as the encoder, which knows x, and the model make it from above.

$$E \log p(x | x_{t_0}) - KL(q(x_{t_1} | x) \| p(x_{t_1}))
- \textstyle\sum E_{q(x_t | x)} KL(q(x_s | x_t, x) \| p(x_s | x_t))$$

Luo, equation 58. `likelihood.elbo` is the same sum with independent latents at each level in the place of a path."""

form_b_sampled = Derivation(
    lambda step: step.from_above.log_prob(step.s.x) - step.model.log_prob(step.s.x),
    _prior_kl,
    lambda path: _prior_log_ratio(path[0], path[-1]),
)
"""Form B with the steps' log-ratios, and on a whole path the prior's, as sampled, in the place of the divergences."""

luo_45 = Derivation(lambda step: step.from_below.kl(step.model), _prior_kl_from_below)
r"""Form A's last step as it is printed, which is wrong: to be looked at, not to be used.

$$E \log p(x | x_{t_0}) - E\, KL(q(x_{t_1} | x_{t_1-}) \| p(x_{t_1}))
- \textstyle\sum E_{q(x_r, x_t | x)} KL(q(x_s | x_r) \| p(x_s | x_t))$$

Luo, equation 45. With the exact reverse process it falls short of the log likelihood by nats, and it is largest for
another process: the one that draws $x_s$ as if $x_t$ told of $x_r$ alone (docs/luo_45.md)."""

t_sample = Derivation(lambda step: -step.model.log_prob(step.s.x) - step.from_above.entropy(), _prior_kl)
r"""The T-sample estimator with all constants: $\log p(x_s | x_t)$ along one trajectory, K - 1 network calls.

$$diffusion = -\textstyle\sum \left[\log p(x_s | x_t) + \frac{D}{2} \log(2 \pi e\, \sigma_q^2)\right], \qquad
x_{t_0}, ..., x_{t_1} \sim q(\cdot | x)$$"""

two_sample = replace(t_sample, whole_path=False)
r"""The two-sample estimator with all constants: the same at one random step from its two latents, one network call.

$$diffusion = -(K - 1) \left[\log p(x_s | x_t) + \frac{D}{2} \log(2 \pi e\, \sigma_q^2)\right], \qquad
x_s \sim q(x_s | x), \quad x_t \sim q(x_t | x_s)$$"""

one_sample = replace(form_b, whole_path=False)
r"""The one-sample estimator with all constants: $x_s$ averaged in closed form, one network call.

$$diffusion = (K - 1) \left[\frac{\|\mu_q - \hat\mu\|^2 + D \sigma_q^2}{2 v_t} + \frac{D}{2} \log(2 \pi v_t) -
\frac{D}{2} \log(2 \pi e\, \sigma_q^2)\right], \qquad x_t \sim q(x_t | x)$$

The bracket is $KL(q(x_s | x_t, x) \| p(x_s | x_t))$: with its constants, this is form B at a random step."""
