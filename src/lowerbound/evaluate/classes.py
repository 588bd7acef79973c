"""What a classifier of the real data says of samples: how sure it is, and how often it sees each class."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Num

from lowerbound.errors import InputError
from lowerbound.evaluate.samples import SIGNIFICANT

CLASSIFIER_UPDATES = 1800
CLASSIFIER_WIDTH = 128


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
    samples: Num[np.ndarray, "sample dim"],
    train: Num[np.ndarray, "train dim"],
    train_labels: Int64[np.ndarray, " train"],
    held_out: Num[np.ndarray, "held_out dim"],
    held_out_labels: Int64[np.ndarray, " held_out"],
    *,
    class_names: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Classes:
    """Trains a perceptron of one hidden layer on real data and applies it to samples.

    samples, train, held_out: (N, D) in one unit.
    train_labels, held_out_labels: (N,) classes 0 .. L-1; class_names: L names, the numbers if not given.
    seed: of the classifier.

    Raises InputError if the training labels hold fewer than two classes, or a label without a name.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    present = np.unique(train_labels)
    names = class_names or tuple(str(label) for label in range(int(present[-1]) + 1))
    if len(present) < 2:
        raise InputError(f"the training labels hold one class ({present[0]}); a classifier needs at least two")
    if present[0] < 0 or max(present[-1], held_out_labels.max()) >= len(names):
        raise InputError(f"labels run from {present[0]} to {present[-1]}, but there are {len(names)} class names")

    centre = train.mean(axis=0, dtype=np.float64)
    scale = train.std(dtype=np.float64)

    def inputs(values: np.ndarray) -> np.ndarray:
        return ((values - centre) / scale).astype(np.float32)

    batch_size = 64 if len(train) < 10_000 else 256
    passes = max(8, CLASSIFIER_UPDATES * batch_size // len(train))
    classifier = MLPClassifier((CLASSIFIER_WIDTH,), max_iter=passes, random_state=seed)
    classifier.set_params(batch_size=min(batch_size, len(train)))
    with warnings.catch_warnings(), threadpool_limits(1):
        # A fixed number of passes is the stopping rule: confidence stays calibrated where convergence would overfit.
        # On batches as small as these, a second thread costs more than it gives.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(inputs(train), train_labels)
    on_held_out, on_samples = (np.asarray(classifier.predict_proba(inputs(values))) for values in (held_out, samples))
    confidences = on_held_out.max(axis=1), on_samples.max(axis=1)
    relative_errors = [values.std(ddof=1) / len(values) ** 0.5 / values.mean() for values in confidences]
    ratio = confidences[1].mean() / confidences[0].mean()

    def shares(labels: np.ndarray) -> tuple[float, ...]:
        return tuple((np.bincount(labels, minlength=len(names)) / len(labels)).tolist())

    return Classes(
        accuracy=float((present[on_held_out.argmax(axis=1)] == held_out_labels).mean()),
        confidence_held_out=float(confidences[0].mean()),
        confidence_samples=float(confidences[1].mean()),
        ratio=float(ratio),
        ratio_error=float(ratio * np.hypot(*relative_errors)),
        names=names,
        shares_train=shares(train_labels),
        shares_samples=shares(present[on_samples.argmax(axis=1)]),
        num_samples=len(samples),
    )
