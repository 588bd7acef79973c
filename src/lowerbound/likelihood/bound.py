r"""The evidence lower bound, per example, in its three terms.

$$\log p(x) \ge \underbrace{E \log p(x | x_{t_0})}_{reconstruction} - \underbrace{KL(q(x_{t_1} | x) \| p(x_{t_1}))}_{prior}
- \underbrace{\textstyle\sum_{(s, t)} E\, KL(q(x_s | x_t, x) \| p(x_s | x_t))}_{diffusion}$$

over a chain of noise levels (VDM, equation 11; formula B of Luo, equation 58), or in the limit of infinitely many
(VDM, equation 17). A chain of DDPM with T steps has the T levels of its table and a decoder that uses the network; one of
VDM has T + 1 levels and a decoder that does not. The prior is $N(0, (\alpha_1^2 + \sigma_1^2) I)$, so that the bound is
the same in every scaling.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from lowerbound import objective
from lowerbound.arguments import check_data, described
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.elementary import expand, expm1, present, sum_dims
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import Decoder
from lowerbound.reverse import posterior
from lowerbound.rng import Noise, check_noise
from lowerbound.schedule import Level
from lowerbound.settings import check_count
from lowerbound.shapes import Chain, Examples, PerExample
from lowerbound.times import antithetic_times
from lowerbound.words.brief import Brief

SILVER_RATIO = math.sqrt(2) - 1
"""Its part after the point, which is all that counts on a circle."""


@dataclass(frozen=True, repr=False)
class Elbo(Brief):
    r"""The bound's three terms, each (B,), in nats per example.

    Arguments:
        reconstruction: $E \log p(x | x_{t_0})$.
        prior: $KL(q(x_{t_1} | x) \| p(x_{t_1}))$.
        diffusion: the sum, or integral, of the reverse steps' KL.
        num_dims: the number of entries that count, (B,).
        steps: the diffusion term's summands, (B, K - 1), from the data's end; for a whole chain only.
        draws: estimates of the diffusion term in the order of time, (B, calls), of which it is the mean.
        entries: what each entry adds, (B, *shape), by the same draws: their sum is `nats`. Of entry j it is
            $\log p(x_j | x_{t_0})$ less j's own prior and diffusion terms, the latter its part of the integral: how well j
            is told from the noise beside all other entries and their noise. It is not $\log p(x_j | \text{others})$.
    """

    reconstruction: PerExample
    prior: PerExample
    diffusion: PerExample
    num_dims: PerExample
    steps: Float[Tensor, "batch num_steps"] | None = None
    draws: Float[Tensor, "batch num_calls"] | None = None
    entries: Examples | None = None

    @property
    def nats(self) -> PerExample:
        r"""The bound on $\log p(x)$: reconstruction - prior - diffusion."""
        return self.reconstruction - self.prior - self.diffusion

    @property
    def bits_per_dim(self) -> PerExample:
        r"""$-\mathrm{nats} / (D \ln 2)$: an upper bound on what a code would need for each entry."""
        return self.to_bits(-self.nats)

    @classmethod
    def mean(cls, estimates: Sequence["Elbo"]) -> "Elbo":
        """The mean of estimates for the same examples, in double precision."""
        names = ("reconstruction", "prior", "diffusion", "steps")
        columns = {name: [getattr(each, name) for each in estimates] for name in names}
        terms = {
            name: torch.stack(values).double().mean(0) for name, values in columns.items() if values[0] is not None
        }
        return cls(num_dims=estimates[0].num_dims.double(), **terms)

    def to_bits(self, nats: PerExample) -> PerExample:
        """Nats per example as bits per dimension."""
        return nats / (self.num_dims * math.log(2))


def elbo(
    denoiser: Denoiser,
    decoder: Decoder,
    x: Examples,
    chain: Chain | None = None,
    *,
    noise: Noise,
    num_times: int | None = None,
    place: PerExample | None = None,
    reverse: str = "lower",
) -> Elbo:
    r"""An unbiased estimate of the bound for each example.

    Arguments:
        denoiser: the model; of one that was given the entries that are there, only these count.
        decoder: $p(x | x_{t_0})$.
        x: data, (B, *); of discrete data, the centres of their levels.
        chain: the times of the chain's K levels, increasing, in [0, 1], a single one being a VAE's latent; None: continuous
            time from 0 to 1.
        noise: where times and noise come from.
        num_times: network calls per example for the diffusion term. In continuous time 1 by default; for a chain all of its
            K - 1 steps by default, fewer are drawn at random, one from each of as many equal parts of the chain.
        place: where in the first of these parts, numbers in [0, 1), (B,), turned on from part to part (`turned`), so that
            the spread of an example's draws tells its error. Drawn if None, in continuous time evenly over batch and parts
            (`times.antithetic_times`).
        reverse: the reverse variance (`reverse.reverse_variance`); continuous time has but one.

    Raises:
        InputError: if the denoiser has no likelihood, x is not what it and the decoder take, or the chain, `num_times` or
            `reverse` is out of range.
    """
    check_likelihood(denoiser)
    observed = denoiser.observed
    check_data(x, denoiser.shape, observed)
    check_noise(noise)
    if num_times is not None:
        check_count(num_times, "num_times")
    if place is not None and place.shape != (len(x),):
        raise InputError(f"place is {described(place)}: give one number for each example, ({len(x)},)")
    if place is not None and place.device.type == "cpu" and not bool(((place >= 0) & (place < 1)).all()):
        raise InputError(f"place is {place.min().item():g} to {place.max().item():g}: give numbers from 0 to below 1")
    check_decoder(decoder, x, observed)
    if chain is not None:
        check_chain(chain)
    x = present(x, observed)
    first, last = (0.0, 1.0) if chain is None else (chain[0].item(), chain[-1].item())
    reconstruction, prior = ends_of_entries(denoiser, decoder, x, first, last, noise=noise)
    if chain is None:
        if reverse != "lower":
            raise InputError(f"reverse variance {reverse!r} in continuous time: there all are 'lower'; give a chain")
        estimates = _integral(denoiser, x, decoder.is_real(x), num_times or 1, place, noise)
    else:
        estimates = _sum(denoiser, x, chain, num_times, reverse, place, noise)
    draws, of_entries = [], torch.zeros_like(x)
    for estimate in estimates:
        draws.append(sum_dims(estimate))
        of_entries = of_entries + estimate
    draws = torch.stack(draws, 1) if draws else x.new_zeros(len(x), 0)
    is_whole = chain is not None and draws.shape[1] == len(chain) - 1
    return Elbo(
        sum_dims(reconstruction),
        sum_dims(prior),
        diffusion=draws.mean(1) if draws.shape[1] else x.new_zeros(len(x)),
        num_dims=decoder.count_dims(x, observed),
        steps=draws / max(1, draws.shape[1]) if is_whole else None,
        draws=draws,
        entries=reconstruction - prior - of_entries / max(1, draws.shape[1]),
    )


def end_terms(
    denoiser: Denoiser, decoder: Decoder, x: Examples, first: float = 0.0, last: float = 1.0, *, noise: Noise
) -> tuple[PerExample, PerExample]:
    r"""The bound's terms at its two ends, nats: $E \log p(x | x_{t_0})$ and $KL(q(x_{t_1} | x) \| p(x_{t_1}))$.

    The first is drawn once if it has no closed form.

    Where the schedule's ends are learned, gradients reach them.

    Arguments:
        denoiser, decoder, x, noise: as in `elbo`.
        first, last: $t_0$ and $t_1$.
    """
    reconstruction, prior = ends_of_entries(denoiser, decoder, x, first, last, noise=noise)
    return sum_dims(reconstruction), sum_dims(prior)


def ends_of_entries(
    denoiser: Denoiser, decoder: Decoder, x: Examples, first: float = 0.0, last: float = 1.0, *, noise: Noise
) -> tuple[Examples, Examples]:
    """The two `end_terms` of each entry apart, (B, *); zero of one that is not there."""
    observed = denoiser.observed
    x = present(x, observed)  # before a gradient is taken, in which NaN would spread
    low, high = (_end(denoiser, t, x) for t in (first, last))
    reconstruction, prior = decoder.expected_log_prob(x, low), prior_kl(x, high)
    if reconstruction is None:
        x_t = expand(low.alpha, x) * x + expand(low.sigma, x) * noise.normal(x)
        prediction = denoiser(x_t, low) if decoder.needs_network else None
        reconstruction = decoder.estimate(x, x_t, low, prediction)
    return present(reconstruction, observed), present(prior, observed)


def check_likelihood(denoiser: Denoiser) -> None:
    """Refuse a denoiser that has no likelihood, with its reason, by an InputError."""
    if denoiser.no_likelihood is not None:
        raise InputError(f"this denoiser has no likelihood: {denoiser.no_likelihood}")


def check_decoder(decoder: Decoder, x: Examples, observed: Tensor | None) -> None:
    """Refuse what is no decoder, or data that it does not decode, by an InputError."""
    if not isinstance(decoder, Decoder):
        raise InputError(
            f"the decoder is {described(decoder)}: a likelihood needs p(x | x_0), GaussianDecoder() for continuous data "
            "or LevelPosterior(num_levels) for discrete"
        )
    if x.device.type == "cpu" or not torch.is_grad_enabled():  # in training an accelerator would wait
        decoder.check(x, observed)


def prior_kl(x: Examples, level: Level) -> Examples:
    r"""$KL(N(\alpha_1 x, \sigma_1^2) \| N(0, \alpha_1^2 + \sigma_1^2))$ of each entry, nats.

    $\frac12 [\mathrm{sigmoid}(-\gamma_1) (x^2 - 1) - \log \mathrm{sigmoid}(\gamma_1)]$, with no cancellation at large
    $\gamma_1$.
    """
    gamma = expand(torch.as_tensor(level.gamma, dtype=x.dtype, device=x.device).reshape(-1), x)
    assert isinstance(gamma, Tensor)
    return 0.5 * (torch.sigmoid(-gamma) * (x**2 - 1) - logsigmoid(gamma))


def step_kl(prediction: Prediction, x: Examples, s: Level, reverse: str = "lower") -> Examples:
    r"""$KL(q(x_s | x_t, x) \| p(x_s | x_t))$ of each entry, nats, for one step from t to s.

    With the posterior's own variance $\frac12 (SNR_s - SNR_t) (x - \hat x)^2$ (VDM, equations 13 and 14; Luo, "Learning
    diffusion noise parameters"); with another, v, $\frac12 [\frac{\tilde\beta}{v} - 1 - \log\frac{\tilde\beta}{v} +
    \frac{c^2 (x - \hat x)^2}{v}]$, c the posterior mean's coefficient of x.
    """
    t = prediction.level
    error = (x - prediction.x) ** 2
    if reverse == "lower":
        # SNR_s - SNR_t = SNR_t expm1(gamma_t - gamma_s)
        return 0.5 * expand(expm1(t.gamma - s.gamma) * (t.alpha / t.sigma) ** 2, x) * error
    step = posterior(t, s)
    variance = expand(prediction.reverse_variance(reverse, s), x)
    quotient = torch.as_tensor(expand(step.variance, x) / variance, dtype=x.dtype)
    return 0.5 * (quotient - 1 - torch.log(quotient) + expand(step.from_x, x) ** 2 * error / variance)


def mean_and_error(values: Float[Tensor, "num_examples"] | Float[np.ndarray, " num_examples"]) -> tuple[float, float]:
    r"""The mean over examples and its standard error, $\bar v$ and $s / \sqrt N$.

    Arguments:
        values: v of each example, (N,), in any unit, which the two figures have as well.

    Returns:
        The two numbers; of a single example the error is NaN.

    Raises:
        InputError: if there are none, or more than one of an example.
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"values have the shape {tuple(values.shape)}: give one of each example, (N,), at least one")
    spread = values.std().item() if len(values) > 1 else math.nan
    return values.mean().item(), spread / math.sqrt(len(values))


def _end(denoiser: Denoiser, t: float, x: Tensor) -> Level:
    """The level at an end of the chain: of numbers in double precision, or of tensors (1,) if it is being learned."""
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in denoiser.schedule.parameters()):
        return denoiser.schedule.level(x.new_full((1,), t))
    return denoiser.schedule.level(t)


def _integral(
    denoiser: Denoiser, x: Tensor, is_real: Tensor | float, num_times: int, place: Tensor | None, noise: Noise
) -> Iterator[Tensor]:
    """Draws of the continuous diffusion term of each entry, (B, *): one in each of as many equal parts of time."""
    if place is None:
        evenly = antithetic_times(noise.uniform(x.new_empty(len(x), 1))[0, 0], len(x))
        places = [evenly] * num_times
    else:
        places = [turned(place, part) for part in range(num_times)]
    for part, within in enumerate(places):
        t = ((part + within) / num_times).to(x)
        yield objective.loss_of_entries(denoiser, x, is_real, t=t, eps=noise.normal(x))


def turned(place: PerExample, part: int) -> PerExample:
    r"""Where in a part of time: $(u + k (\sqrt 2 - 1)) \bmod 1$ of place u in the k-th of them.

    At one place in all parts the errors along a trend would have one sign, and add up to what no draw shows. The ratio is
    badly approximated by fractions, so that the places are spread evenly, and it is not the one by which examples are spread
    (`scoring`), so that no two of them share theirs.
    """
    return (place + part * SILVER_RATIO) % 1


def _sum(
    denoiser: Denoiser,
    x: Tensor,
    chain: Tensor,
    num_times: int | None,
    reverse: str,
    place: Tensor | None,
    noise: Noise,
) -> Iterator[Tensor]:
    """Draws of the chain's diffusion term of each entry, (B, *), at all its steps or at `num_times` drawn ones."""
    num_steps = len(chain) - 1

    def term(t: Level, s: Level) -> Tensor:
        x_t = expand(t.alpha, x) * x + expand(t.sigma, x) * noise.normal(x)
        return num_steps * present(step_kl(denoiser(x_t, t), x, s, reverse), denoiser.observed)

    if num_times is None or num_times >= num_steps:
        levels = denoiser.schedule.levels(chain)
        for s, t in zip(levels[:-1], levels[1:], strict=True):
            yield term(t, s)
        return
    chain = chain.to(x.device)
    for part in range(num_times):
        if place is None:
            within = noise.uniform(x.new_empty(len(x), 1, dtype=torch.float64))[:, 0]
        else:
            within = turned(place, part).to(x.device)
        index = ((part + within) * (num_steps / num_times)).long().clamp(max=num_steps - 1)
        yield term(denoiser.schedule.level(chain[index + 1]), denoiser.schedule.level(chain[index]))


def check_chain(chain: Chain, at_least: int = 1) -> None:
    """Raise InputError unless the chain's times increase within [0, 1]; a single one is a VAE's latent, with no steps."""
    if not isinstance(chain, Tensor) or chain.ndim != 1:
        raise InputError(
            f"chain is {described(chain)}: give the times of its levels, such as torch.linspace(0, 1, 101)"
        )
    if len(chain) < at_least or not bool((chain.diff() > 0).all() and chain[0] >= 0 and chain[-1] <= 1):
        raise InputError(
            f"a chain of {len(chain)} times: it needs at least {at_least}, increasing from 0 or more to at most 1"
        )
