r"""An autoregressive model: the chain rule, exactly.

$$\log p(x) = \sum_d \log p(x_d | x_{<d})$$

in the order of `nn.causal`, each term an `Output` whose parameters a causal network reads from the entries before. There
are no latents, so that nothing is bounded: the likelihood is exact, and the price is that a sample takes its entries one
after the other (NADE, Larochelle & Murray 2011; MADE, Germain et al. 2015; PixelCNN, van den Oord et al. 2016).
"""

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.arguments import check_axes
from lowerbound.elementary import sum_dims
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.models.base import Draw, Losses, Model
from lowerbound.models.output import MOST_CATEGORIES, Categorical, output
from lowerbound.nn.causal import CausalCNN, CausalMLP, Keep
from lowerbound.nn.embeddings import octaves, over_space
from lowerbound.nn.seen import Counts, SeenLevels
from lowerbound.rng import Noise
from lowerbound.settings import check_least
from lowerbound.shapes import Examples, PerExample


class Autoregressive(Model):
    r"""$p(x) = \prod_d p(x_d | x_{<d})$ with a causal network: masked weights for vectors, causal convolutions otherwise.

    Arguments:
        shape: of one example, (D,) or (C, *spatial) with 1 to 3 spatial dimensions.
        num_levels: K of discrete data; None: continuous data.
        width: units of the hidden layers; None: 32 channels, or 256 units of a vector and at least 4 D.
        depth: residual layers, or blocks of each stack of convolutions.
        decoder: the distribution of an entry, one of `output.OUTPUTS`; None: Bernoulli for two levels, categorical up to
            1024, a mixture of discretised logistics beyond them, and a mixture of logistics for continuous data.
        decoder_components: logistics in a mixture; None: 10.
        dropout: share of the hidden units that each example's training leaves out, whole channels of convolutions.
        odds: tables of odds by which levels came before an entry, for a categorical distribution; 0 for none.

    Raises:
        InputError: a shape or a size that is impossible, or a decoder that does not fit the data.
    """

    likelihood = "exact"
    name = "autoregressive"

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        *,
        width: int | None = None,
        depth: int = 4,
        decoder: str | None = None,
        decoder_components: int | None = None,
        dropout: float = 0.0,
        odds: int = 0,
    ):
        super().__init__(shape, num_levels)
        check_axes(shape)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}: it is at least 0 and below 1")
        decoder = decoder or default_decoder(num_levels)
        if decoder_components is None and "logistic" in decoder:
            decoder_components = 10
        self.output = output(decoder, num_levels, num_components=decoder_components)
        self.dropout = dropout
        check_least(0, odds=odds)
        self.seen = None
        if odds:
            if num_levels is None or not isinstance(self.output, Categorical):
                raise InputError(
                    f"odds={odds} has no effect on the decoder {decoder!r}: it is for discrete data by 'categorical'; "
                    "choose that decoder, or leave odds out"
                )
            self.seen = SeenLevels(odds, shape, num_levels)
        # the finest octave has a period of one level and says nothing of a level's centre
        frequencies = () if num_levels is None else octaves(num_levels)[1:]
        P = self.output.num_parameters + (0 if self.seen is None else self.seen.num_coefficients)
        if len(shape) == 1:
            width = max(256, 4 * shape[0]) if width is None else width
            self.network = CausalMLP(shape[0], P, width=width, depth=depth, frequencies=frequencies)
        else:
            width = 32 if width is None else width
            # powers of two below half of the longest side
            dilations = max(1, math.ceil(math.log2(max(shape[1:]) / 2)))
            self.network = CausalCNN(
                shape[0], len(shape) - 1, P, width=width, depth=depth, num_dilations=dilations, frequencies=frequencies
            )

    def log_prob(self, x: Examples) -> PerExample:
        r"""$\log p(x)$, nats: of a mass for discrete data, of a density otherwise."""
        return self._log_prob(x, None)

    def loss(self, x: Examples, draw: Draw) -> Losses:
        r"""$-\log p(x)$, nats, of a network that lacks some of its hidden units if there is dropout."""

        def keep(hidden: Tensor) -> Tensor:
            mask = draw.noise.uniform(hidden[:, :, *[0] * (hidden.ndim - 2)]) >= self.dropout
            return hidden * over_space(mask / (1 - self.dropout), hidden)

        return Losses.whole(-self._log_prob(x, keep if self.dropout else None))

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        r"""$\log p(x)$ itself, as the reconstruction of a model without latents; nothing is drawn."""
        return self.undivided(self.log_prob(x))

    @torch.no_grad()
    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        return self.filled(num_samples, lambda parameters: self.output.sample(parameters, noise))

    def filled(self, num_examples: int, answer: Callable[[Tensor], Tensor]) -> Float[Tensor, "num_examples *shape"]:
        """Examples of entries that are answered one after the other, each given those before it.

        Arguments:
            num_examples: how many.
            answer: called for each entry with the numbers that `output` reads, (B, P, *1); returns the values, (B, 1, *1).
        """
        x = next(self.parameters()).new_zeros(num_examples, *self.shape)
        entries = itertools.count()

        def with_odds(parameters: Tensor) -> Tensor:
            if self.seen is not None:
                parameters = self._with_odds(parameters, 1, self.seen.counts_at(x, next(entries)))
            return answer(parameters)

        self.network.fill(x, with_odds)
        return x

    def _log_prob(self, x: Tensor, keep: Keep | None) -> Tensor:
        self.check(x)
        parameters = self.network(x, keep)
        if self.seen is not None:
            parameters = self._with_odds(parameters, x.shape[1], self.seen.counts(x))
        return sum_dims(self.output.log_prob(parameters, x))

    def _with_odds(self, said: Tensor, num_channels: int, counts: Counts) -> Tensor:
        """The output's parameters, of what the network said and how many entries at each level came before."""
        assert self.seen is not None
        logits, coefficients = said.unflatten(1, (-1, num_channels)).tensor_split([self.output.num_parameters], dim=1)
        return self.seen(logits, coefficients, counts).flatten(1, 2)


def default_decoder(num_levels: int | None) -> str:
    """The decoder that suits data of K levels, or continuous ones (None), best."""
    if num_levels is None:
        return "logistic-mixture"
    if num_levels == 2:
        return "bernoulli"
    return "categorical" if num_levels <= MOST_CATEGORIES else "discretized-logistic"
