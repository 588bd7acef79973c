r"""A denoiser for examples whose values are of several kinds, with what is discrete built in.

With $y = x_t / \alpha_t$ and $r = e^{\gamma / 2}$, and F and S what a network says of an entry:

| block | $\hat x$ |
|---|---|
| `Real` | $y - r F$: the target eps |
| `Grid` | the mean of a normal on its k, as in `levels`: $P(k \| x_t) \propto e^{-(k - m')^2 / 2 \tau'^2}$, $w = r / d$, $m' = (y - c_0) / d - w F$, $\tau'^2 = w^2 \mathrm{sigmoid}(S + 2)$ |
| `Choice`, of a `ChoiceOrReal` too | $s \sum_k \pi_k e_k$ with $\pi = \mathrm{softmax}_k(F_k + s y_k / r^2)$ |

The last one is Bayes' rule: the noisy block has the likelihood $\propto e^{s y_k / r^2}$ under category k, exactly, and $F_k$ is
what the network knows of it from the rest of the example. Where there is little noise, a grid's place and a choice's category
are known without the network. In the place of a noisy block the network sees $s\, \mathrm{softmax}_k(s y_k / r^2)$, all that
the block says of its category, in which no noise is left to be taken out.

A number that is one of some values or another is the mean of what each leaves of it, $\sum_k \pi_k y / (1 + r^2) + \pi (y - r
F)$, and the chances $\pi_k$ begin with the shares $q_k$ of training, $\propto q_k e^{F_k + s y_k / r^2}$: all that is known of the
noise in its place is not left to be learned. A `FittedMixture` knows as much, and upon one it is $y - r F$.

Upon a Gaussian of the windows of series F is what is added to its $\hat\epsilon$ of real numbers and of those on grids. It
sees each value with a probability at its place, and not the noise about it.
Upon a `FittedMixture`, F is what is added to the mixture's $\hat\epsilon$ and its log probabilities, and a grid's normal has
the mixture's mean and variance, $\tau'^2 = Var^M[k | x_t]\, 2\, \mathrm{sigmoid}(S)$: where both are silent, $\hat x$ is the
mixture's own on the grids.
"""  # noqa: E501 - a table

import torch
from torch import Tensor, nn

from lowerbound.blocks import ONE_HOT, Blocks, along, at_places, layout, num_entries
from lowerbound.denoiser.base import Prediction
from lowerbound.denoiser.network import OfNetwork
from lowerbound.elementary import exp, expand, sqrt
from lowerbound.fitted import FittedMixture, FittedWindows
from lowerbound.levels import mean_between
from lowerbound.schedule import Level, Schedule

_UNTRAINED = 2.0  # as of levels


class BlockDenoiser(OfNetwork):
    r"""$\hat x = E[x | x_t]$ block by block (table in the module's docstring).

    Arguments:
        network: (x, gamma, cond) -> two outputs per entry, (B, 2 D): F and S; with `takes_observed` as in
            `NetworkDenoiser`.
        schedule: the noise schedule.
        blocks: of the entries of x.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.
        mixture: of the same blocks, that the network stands upon; of rows. Of series the one Gaussian of their windows'
            numbers, real ones and those on grids.
        spatial: the positions of an example, each of which has a value of every block; none of a row.

    Raises:
        InputError: if `sigma_data` is out of range, or the network does not take three arguments.
    """

    rows_are_apart = True

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        blocks: Blocks,
        sigma_data: float = 1.0,
        mixture: FittedMixture | FittedWindows | None = None,
        spatial: tuple[int, ...] = (),
    ):
        super().__init__(network, schedule, (num_entries(blocks), *spatial), sigma_data)
        self.blocks = blocks
        self.mixture = mixture

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        at = layout(self.blocks, x_t.device)
        y, ratio = x_t / expand(level.alpha, x_t), expand(exp(level.gamma / 2), x_t)
        evidence = (ONE_HOT * y / ratio**2)[:, at.choices]
        evidence = evidence.masked_fill(along(at.beyond, evidence), -torch.inf)
        upon_rows = self.mixture is not None and not isinstance(self.mixture, FittedWindows)
        if not upon_rows:
            evidence = evidence + along(at.log_shares, evidence).to(y)
        seen = x_t
        if len(at.choices):
            # as the network sees it, its input's scale taken back
            shown = ONE_HOT * evidence.softmax(2)
            scale = expand(level.alpha, shown) * sqrt(self.sigma_data**2 + expand(exp(level.gamma), shown))
            seen = x_t.index_copy(1, at.chosen, (scale * shown).flatten(1, 2)[:, at.own])
        said, spread = self.output(seen, level, cond, observed, outputs_per_entry=2).chunk(2, 1)
        spread = spread[:, at.grids]
        if self.mixture is None or isinstance(self.mixture, FittedWindows):
            share = torch.sigmoid(spread + _UNTRAINED)
        else:
            guess = self.mixture(x_t, level, observed)
            said, share = said + guess.eps, 2 * torch.sigmoid(spread) * guess.spread
            evidence = evidence + guess.log_chances
        if isinstance(self.mixture, FittedWindows):
            said = said.index_add(1, at.numbers, self._eps_of_windows(y, level, cond, observed, evidence))
        x = y - ratio * said
        if len(at.grids):
            x = x.index_copy(1, at.grids, self._on_grids(x[:, at.grids], ratio**2 * share))
        if len(at.choices):
            chances = (said[:, at.choices] + evidence).softmax(2)
            x = x.index_copy(1, at.chosen, (ONE_HOT * chances).flatten(1, 2)[:, at.own])
            if len(at.optional) and not upon_rows:
                x = x.index_copy(1, at.optional, self._mean_of_numbers(x, y, level, chances[:, -len(at.optional) :]))
        return Prediction(x_t, level, x, self.schedule)

    def _eps_of_windows(
        self, y: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None, evidence: Tensor
    ) -> Tensor:
        r"""$\hat\epsilon$ of the Gaussian, of the entries that are numbers, (B, n, length).

        It sees each value at its place: y, which is of N(0, 1 + r^2) under that value, as $x_k + y r / \sqrt{1 + r^2}$, the
        place under noise of r, as other numbers are.
        """
        at = layout(self.blocks, y.device)
        if len(at.optional):
            numbers, chances = y[:, at.optional, None], evidence[:, -len(at.optional) :].softmax(2)
            variance = expand(exp(level.gamma), numbers)
            moved = along(at.places, chances).to(y) + numbers * sqrt(variance / (1 + variance))
            each = torch.where(along(at.chooses_number, chances) > 0, numbers, moved)
            y = y.index_copy(1, at.optional, (chances * each).sum(2))
            if cond is not None:
                cond = torch.cat([at_places(cond[:, : y.shape[1]], self.blocks), cond[:, y.shape[1] :]], 1)
        of_numbers = (None if each is None else each[:, at.numbers] for each in (cond, observed))
        assert isinstance(self.mixture, FittedWindows)
        return self.mixture.eps(y[:, at.numbers] * expand(level.alpha, y), level, *of_numbers)

    def _mean_of_numbers(self, x: Tensor, y: Tensor, level: Level, chances: Tensor) -> Tensor:
        """Of numbers that are what x says, or noise, by their chances."""
        at = layout(self.blocks, x.device)
        x, y = (each[:, at.optional, None] for each in (x, y))
        each = torch.where(along(at.chooses_number, chances) > 0, x, y / (1 + expand(exp(level.gamma), y)))
        return (chances * each).sum(2)

    def _on_grids(self, x: Tensor, variance: Tensor) -> Tensor:
        at = layout(self.blocks, x.device)
        each = at.origin, at.spacing, at.lowest, at.highest
        origin, spacing, lowest, highest = (along(values, x).to(x) for values in each)
        k = mean_between((x - origin) / spacing, variance / spacing**2, lowest, highest)
        if not self.training:  # as of levels
            k = k.clamp(lowest, highest)
        return origin + spacing * k
