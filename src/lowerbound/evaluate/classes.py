"""What a classifier of the real data says of samples: how sure it is, and how often it sees each class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from lowerbound.errors import InputError
from lowerbound.evaluate.samples import SIGNIFICANT


@dataclass(frozen=True)
class Classes:
    """Figures of a classifier trained on real data.

    accuracy: on held-out real examples.
    confidence_held_out, confidence_samples: mean of the largest class probability.
    ratio, ratio_error: the samples' confidence relative to the held-out examples', and its standard error.
    names: of the classes.
    shares_train, shares_samples: of each class; the samples' by the classifier's choice.
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
    num_samples: int

    def findings(self) -> list[str]:
        """One sentence on confidence and one on the classes."""
        return [self._confidence(), self._coverage()]

    def _confidence(self) -> str:
        figures = (
            f"the classifier's mean confidence on samples is {self.ratio:.3f} ± {self.ratio_error:.3f} of that on "
            f"held-out data ({self.confidence_samples:.3f} against {self.confidence_held_out:.3f}, accuracy "
            f"{self.accuracy:.1%})"
        )
        if self.ratio + SIGNIFICANT * self.ratio_error < 0.9:
            return f"Many samples belong to no class clearly: {figures}."
        return f"Samples are recognisable: {figures}."

    def _coverage(self) -> str:
        low, high = min(self.shares_samples), max(self.shares_samples)
        figures = (
            f"the {len(self.names)} classes have between {low:.1%} ({self.names[self.shares_samples.index(low)]}) and "
            f"{high:.1%} ({self.names[self.shares_samples.index(high)]}) of the samples"
        )
        odd = []
        for name, real, found in zip(self.names, self.shares_train, self.shares_samples, strict=True):
            error = (real * (1 - real) / self.num_samples) ** 0.5
            if not 0.5 * real <= found <= 1.5 * real and abs(found - real) > SIGNIFICANT * error:
                odd.append(f"{name} {found:.1%} instead of {real:.1%}")
        if odd:
            rest = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
            return f"Collapse or imbalance of classes ({', '.join(odd[:3])}{rest}): {figures}."
        return f"Every class occurs about as often as in the training data: {figures}."


def classes(
    on_samples: Float[np.ndarray, "sample columns"],
    on_held_out: Float[np.ndarray, "held_out other_columns"],
    held_out_labels: Int64[np.ndarray, " label"],
    train_labels: Int64[np.ndarray, " train"],
    class_names: tuple[str, ...],
) -> Classes:
    """What the probabilities of a classifier of the real data say of samples.

    on_samples, on_held_out: (N, L), as `features.FeatureClassifier.probabilities` gives them.
    held_out_labels, train_labels: (N,) classes 0 .. L-1; class_names: L names.

    Raises InputError if names, labels and probabilities do not belong together.
    """
    num_classes = len(class_names)
    if {on_samples.shape[1], on_held_out.shape[1]} != {num_classes} or len(held_out_labels) != len(on_held_out):
        raise InputError(
            f"probabilities of shapes {on_samples.shape} and {on_held_out.shape} for {num_classes} class names and "
            f"{len(held_out_labels)} held-out labels: give one column for each class and one label for each held-out example"
        )
    confidences = on_held_out.max(axis=1), on_samples.max(axis=1)
    relative_errors = [values.std(ddof=1) / len(values) ** 0.5 / values.mean() for values in confidences]
    ratio = confidences[1].mean() / confidences[0].mean()

    def shares(labels: np.ndarray) -> tuple[float, ...]:
        return tuple((np.bincount(labels, minlength=num_classes) / len(labels)).tolist())

    return Classes(
        accuracy=float((on_held_out.argmax(axis=1) == held_out_labels).mean()),
        confidence_held_out=float(confidences[0].mean()),
        confidence_samples=float(confidences[1].mean()),
        ratio=float(ratio),
        ratio_error=float(ratio * np.hypot(*relative_errors)),
        names=class_names,
        shares_train=shares(train_labels),
        shares_samples=shares(on_samples.argmax(axis=1)),
        num_samples=len(on_samples),
    )
