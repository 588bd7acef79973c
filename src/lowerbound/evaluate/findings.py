"""What samples say beside held-out data, in words: how near they are to the training data and each other, their classes."""

import numpy as np
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.evaluate.classes import classes
from lowerbound.evaluate.features import FeatureClassifier
from lowerbound.evaluate.samples import neighbours

MAX_REFERENCES = 20_000


def sample_findings(
    dataset: Dataset, samples: np.ndarray, classifier: FeatureClassifier | None, seed: int = 0
) -> list[str]:
    """One sentence on each thing that was found.

    Arguments:
        dataset: the data.
        samples: as they are stored, (N, *shape).
        classifier: of the data, if they have labels.
        seed: of the choice of as many held-out examples, and of errors.
    """

    def flat(values: Tensor) -> np.ndarray:
        return values.flatten(1).numpy()

    train, test = dataset.train[:MAX_REFERENCES], dataset.test[:MAX_REFERENCES]
    drawn, held_out = dataset.encoding.encode(samples), dataset.encoded(test)
    findings = neighbours(flat(drawn), flat(held_out), flat(dataset.encoded(train)), seed).findings()
    if classifier is not None and dataset.labels is not None:
        on_samples, on_held_out = (classifier.probabilities(values).numpy() for values in (drawn, held_out))
        labels = dataset.labels[test], dataset.labels[dataset.train]
        findings += classes(on_samples, on_held_out, *labels, dataset.class_names).findings()
    return findings
