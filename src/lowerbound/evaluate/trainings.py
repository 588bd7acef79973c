r"""What is known of a model that was trained several times: over its trainings, and over the examples of its figures.

The bits of training s on example i are $\mu + a_s + e_i + r_{si}$: the luck of a training, how hard an example is, and the
rest. The mean over S trainings and N examples has the variance

$$\frac{\sigma_a^2}{S} + \frac{\sigma_e^2}{N} + \frac{\sigma_r^2}{S N}.$$

The S means over examples vary by the first and the last of these, the N means over trainings by the last two. Both are
added, in which the last is counted twice: an error that is too large by it, and by less than a part in N.

Of two models on the same examples the bits are subtracted example by example, which takes out what is hard for both (a
paired test). Their trainings are not pairs: a seed shared by two models is no more than a number, and each has a spread of
its own (Welch 1947). As the sum of variances has no number of degrees of freedom, Satterthwaite's (1946) is taken,
$(\sum v_k)^2 / \sum v_k^2 / f_k$: three trainings leave an interval of 95 % up to 4.3 errors wide on each side, not 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, stdtrit

from lowerbound.errors import InputError
from lowerbound.files.records import Measured, Unsure

LEVEL = 0.95
"""Of intervals; a difference is one where the interval does not hold zero."""
MOST_SEEDS = 1 << 32
_MANY = 1e9
"""Degrees of freedom of an error that is known."""

Bits = Float[np.ndarray, "_trainings _examples"]
"""Of each training, on the same examples."""


def seeds_of_trainings(first: int, num: int) -> range:
    """The seeds of so many trainings of one configuration, from a first one on.

    Raises:
        InputError: if there is none, or they do not all lie below 2^32, where samples have seeds of their own.
    """
    if num < 1:
        raise InputError(f"--seeds is {num}: each model is trained once at least")
    if first + num > MOST_SEEDS:
        raise InputError(
            f"--seeds is {num:,}: seeds from {first:,} on, one for each training, are below 2^32; give fewer"
        )
    return range(first, first + num)


@dataclass(frozen=True)
class OverTrainings:
    """A figure of one model, or the difference of two, and how well it is known.

    Arguments:
        value: the mean.
        error: its standard error; over examples alone where a model was trained once.
        freedom: the error's degrees of freedom.
        num_trainings: of each model; of two, the smaller number.
    """

    value: float
    error: Unsure
    freedom: Unsure
    num_trainings: int

    @classmethod
    def of(cls, figure: Measured) -> "OverTrainings":
        """A figure of one training, whose error is over many examples."""
        return cls(figure.value, figure.error, _MANY, 1)

    def __str__(self) -> str:
        return str(Measured(self.value, self.error))

    @property
    def half_interval(self) -> float:
        """Half the width of an interval of `LEVEL`, by Student's quantile."""
        return self.error * float(stdtrit(min(self.freedom, _MANY), (1 + LEVEL) / 2))

    def quantile(self, sigmas: float) -> float:
        """How far from zero the error carries the figure as seldom as it carries a normal number by so many sigmas."""
        return self.error * float(stdtrit(min(self.freedom, _MANY), ndtr(sigmas)))

    def __sub__(self, other: Measured) -> "OverTrainings":
        """The difference to a figure whose error is independent and known."""
        variances = [(self.error**2, self.freedom), (other.error**2, math.inf)]
        return _sum(self.value - other.value, variances, self.num_trainings)

    @property
    def is_of_one_training(self) -> bool:
        """Whether nothing is known of what a further training would change."""
        return self.num_trainings == 1

    @property
    def sign(self) -> int:
        """-1 or 1 if the interval is on one side of zero, and 0 if it is not."""
        return int(np.sign(self.value)) if abs(self.value) > self.half_interval else 0


def mean_over_trainings(bits: Bits) -> OverTrainings:
    """The mean of one model's bits over trainings and examples.

    Raises:
        InputError: if there are none.
    """
    _check(bits)
    return _sum(float(bits.mean()), [_between(bits.mean(1)), _between(bits.mean(0), of_one=math.nan)], len(bits))


def difference_over_trainings(ours: Bits, theirs: Bits) -> OverTrainings:
    """The mean of one model's bits less another's, on the same examples.

    Arguments:
        ours, theirs: of any number of trainings each, and of as many examples.

    Raises:
        InputError: if the examples are not as many, or there are none.
    """
    _check(ours, theirs)
    if ours.shape[1] != theirs.shape[1]:
        raise InputError(f"{ours.shape[1]} examples of one model, {theirs.shape[1]} of the other: give the same ones")
    differences = ours.mean(0) - theirs.mean(0)
    variances = [_between(ours.mean(1)), _between(theirs.mean(1)), _between(differences, of_one=math.nan)]
    return _sum(float(differences.mean()), variances, min(len(ours), len(theirs)))


def figure_over_trainings(figures: Sequence[Measured]) -> OverTrainings:
    """The mean of a figure that each training has with an error of its own, such as a distance of samples.

    The references of these figures are the same for all trainings. So their errors are not taken to average out, which makes
    the mean's too large by what they would.

    Raises:
        InputError: if there are none.
    """
    values = _values(figures)
    return _sum(float(values.mean()), [_between(values), _own(figures)], len(values))


def difference_of_figures(ours: Sequence[Measured], theirs: Sequence[Measured]) -> OverTrainings:
    """The mean of one model's figures less another's, with errors as in `figure_over_trainings`.

    Raises:
        InputError: if there are none.
    """
    first, second = _values(ours), _values(theirs)
    variances = [_between(first), _own(ours), _between(second), _own(theirs)]
    return _sum(float(first.mean() - second.mean()), variances, min(len(first), len(second)))


_Variance = tuple[float, float]
"""Of a mean, and its degrees of freedom."""


def _between(means: Float[np.ndarray, " num_means"], of_one: float = 0.0) -> _Variance:
    """Of the mean of means, of trainings or examples; of a single one as it is given."""
    num = len(means)
    return (float(means.var(ddof=1)) / num, num - 1.0) if num > 1 else (of_one, math.inf)


def _own(figures: Sequence[Measured]) -> _Variance:
    return float(np.mean([figure.error**2 for figure in figures])), math.inf


def _values(figures: Sequence[Measured]) -> Float[np.ndarray, " num_trainings"]:
    values = np.array([figure.value for figure in figures])
    _check(values)
    return values


def _check(*trainings: np.ndarray) -> None:
    if not all(each.size for each in trainings):
        raise InputError("there are no figures to compare: give at least one training and one example")


def _sum(value: float, variances: list[_Variance], num_trainings: int) -> OverTrainings:
    """A value with the sum of variances of means."""
    total = sum(variance for variance, _ in variances)
    uncertain = sum(variance**2 / freedom for variance, freedom in variances)
    freedom = min(total**2 / uncertain, _MANY) if uncertain else _MANY
    return OverTrainings(value, math.sqrt(total), freedom, num_trainings)
