r"""What a classifier of the real data says of samples: how sure it is, and how often it sees each class.

Whether classes are as frequent as in the training data is asked of all of them at once, by Pearson's $X^2 = \sum_k N (p_k -
\pi_k)^2 / \pi_k$: its probability under chance is counted over draws of N labels with the data's own shares, which holds for
few samples as well. What the difference comes to is the total variation, $\frac12 \sum_k |p_k - \pi_k|$: the share of the
samples that would have to change their class.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures

NUM_DRAWS = 10_000


@dataclass(frozen=True)
class Classes(Figures):
    """Figures of a classifier trained on real data.

    accuracy: on held-out real examples.
    confidence_held_out, confidence_samples: mean of the largest class probability.
    ratio, ratio_error: the samples' confidence relative to the held-out examples', and its standard error.
    names: of the classes.
    shares_train, shares_samples: of each class; the samples' by the classifier's choice.
    p: the probability of shares as far from the training data's or farther, if only chance were at work.
    num_samples: how many samples were classified.
    """

    accuracy: float
    confidence_held_out: float
    confidence_samples: float
    ratio: float
    ratio_error: float
    names: tuple[str, ...]
    shares_train: tuple[float, ...]
    shares_samples: tuple[float, ...]
    p: float
    num_samples: int

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.shares_train) == len(self.shares_samples) > 0:
            raise InputError("the figures contradict each other: names and shares are one for each class")

    @property
    def total_variation(self) -> float:
        r"""$\frac12 \sum_k |p_k - \pi_k|$"""
        pairs = zip(self.shares_samples, self.shares_train, strict=True)
        return sum(abs(sampled - real) for sampled, real in pairs) / 2


def classes(
    on_samples: Float[np.ndarray, "sample columns"],
    on_held_out: Float[np.ndarray, "held_out other_columns"],
    held_out_labels: Int64[np.ndarray, " label"],
    train_labels: Int64[np.ndarray, " train"],
    class_names: tuple[str, ...],
    seed: int = 0,
) -> Classes:
    """What the probabilities of a classifier of the real data say of samples.

    on_samples, on_held_out: (N, L), as `features.FeatureClassifier.probabilities` gives them.
    held_out_labels, train_labels: (N,) classes 0 .. L-1; class_names: L names.
    seed: of the draws that chance is measured by.

    Raises InputError if names, labels and probabilities do not belong together, or there are fewer than two of either.
    """
    num_classes = len(class_names)
    if {on_samples.shape[1], on_held_out.shape[1]} != {num_classes} or len(held_out_labels) != len(on_held_out):
        raise InputError(
            f"probabilities of shapes {on_samples.shape} and {on_held_out.shape} for {num_classes} class names and "
            f"{len(held_out_labels)} held-out labels: give one column for each class and one label for each held-out example"
        )
    if min(len(on_samples), len(on_held_out)) < 2:
        raise InputError(
            f"{len(on_samples)} samples and {len(on_held_out)} held-out examples: standard errors take two of each"
        )
    confidences = on_held_out.max(axis=1), on_samples.max(axis=1)
    relative_errors = [values.std(ddof=1) / len(values) ** 0.5 / values.mean() for values in confidences]
    ratio = confidences[1].mean() / confidences[0].mean()

    def shares(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=num_classes) / len(labels)

    real, sampled = shares(train_labels), shares(on_samples.argmax(axis=1))
    return Classes(
        accuracy=float((on_held_out.argmax(axis=1) == held_out_labels).mean()),
        confidence_held_out=float(confidences[0].mean()),
        confidence_samples=float(confidences[1].mean()),
        ratio=float(ratio),
        ratio_error=float(ratio * np.hypot(*relative_errors)),
        names=class_names,
        shares_train=tuple(real.tolist()),
        shares_samples=tuple(sampled.tolist()),
        p=chance(sampled, real, len(on_samples), seed),
        num_samples=len(on_samples),
    )


def chance(sampled: Float[np.ndarray, " L"], real: Float[np.ndarray, " L"], num: int, seed: int = 0) -> float:
    """The probability of shares of `num` labels as far from the real ones, or farther, in Pearson's measure.

    Arguments:
        sampled, real: shares, (L,).
        num: how many labels the sampled ones are of.
        seed: of the draws that are counted.
    """
    if sampled[real == 0].any():
        return 0.0
    sampled, real = sampled[real > 0], real[real > 0]
    by_chance = np.random.default_rng(seed).multinomial(num, real, NUM_DRAWS) / num
    distances = ((by_chance - real) ** 2 / real).sum(1)
    as_far = (distances >= ((sampled - real) ** 2 / real).sum() * (1 - 1e-9)).sum()
    return float((1 + as_far) / (1 + NUM_DRAWS))
