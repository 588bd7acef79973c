r"""What examples are compared by: features, a map from encoded examples to a few numbers each.

Data with labels have a classifier of their own, trained once on the training split and kept beside the data; its last hidden
layer holds what tells classes apart. Data without labels have their first principal components, not whitened, so that a
direction in which the data hardly vary counts as little as it varies; vectors of a few entries are taken as they are. All
features are centred and divided by one number so that their variance over the training split is 1 on average: distances are
in units of the data's own spread, whatever the space.
"""

import hashlib
import itertools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lowerbound.data import Dataset
from lowerbound.data.directory import data_directory
from lowerbound.evaluate.part import Figures
from lowerbound.files.weights import load_weights, weights_file
from lowerbound.files.whole import write_file
from lowerbound.nn.classifier import Classifier
from lowerbound.shapes import Examples
from lowerbound.training.config import TrainingConfig
from lowerbound.training.optimizer import plain_adamw
from lowerbound.training.training import Training

VERSION = 1
"""Of the classifier and its training: another one is another file."""
UPDATES = 1000
PASSES = 30
"""Over the training split at most: small data are learned by heart soon after."""
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
WIDTH, VECTOR_WIDTH = 16, 64
"""Of the classifier of images, signals and volumes, which has up to four times as many features, and of vectors."""
CLEAN_GAMMA = -20.0
NUM_COMPONENTS = 64
FEW_ENTRIES = 16
"""Vectors of at most so many entries are their own features."""
MAX_EXAMPLES, MAX_ENTRIES = 5000, 1 << 27
"""Training examples that centre, scale and principal components are taken from, and entries of large ones: half a GiB in
single precision."""
AT_ONCE = 500


class CleanClassifier(Classifier):
    """A classifier whose input carries no noise."""

    def forward(self, x: Tensor, gamma: Tensor | None = None) -> Tensor:
        return super().forward(x, x.new_full((len(x),), CLEAN_GAMMA))

    def features(self, x: Tensor, gamma: Tensor | None = None) -> Tensor:
        return super().features(x, x.new_full((len(x),), CLEAN_GAMMA))


@dataclass(frozen=True, eq=False)
class FeatureClassifier:
    """A classifier of the real data, trained on the training split.

    Arguments:
        network: from encoded examples to logits.
        accuracy: on the test split.
        hash: of the weights.
    """

    network: CleanClassifier
    accuracy: float
    hash: str

    def probabilities(self, x: Examples) -> Float[Tensor, "batch num_classes"]:
        """Of each class."""
        return _in_parts(lambda part: self.network(part).softmax(1), x)


def feature_classifier(
    dataset: Dataset, folder: Path, progress: Callable[[int], object] = lambda updates: None
) -> FeatureClassifier | None:
    """The classifier of a data set, read from where it was kept or trained and kept; None without two classes to tell.

    It is kept in the data directory, or, where nothing can be written there, in the folder given.

    Arguments:
        dataset: the data.
        folder: a run's.
        progress: called with 1 after each of `UPDATES` updates at most, if it is trained.
    """
    if dataset.labels is None or len(np.unique(dataset.labels[dataset.train])) < 2:
        return None
    name = f"classifier-{_key(dataset)}.safetensors"
    for parent in (data_directory(), folder):
        classifier = _read(_network(dataset), parent / name)
        if classifier is not None:
            return classifier
    network = _network(dataset)
    train_feature_classifier(network, dataset, progress)
    on_test = _in_parts(network, dataset.encoded(dataset.test)).argmax(1).numpy()
    accuracy = float((on_test == dataset.labels[dataset.test]).mean())
    content = weights_file(network.state_dict(), {"accuracy": repr(accuracy), "data": dataset.spec.name})
    try:
        data_directory().mkdir(parents=True, exist_ok=True)
        write_file(data_directory() / name, content)
    except OSError:
        write_file(folder / name, content)
    return FeatureClassifier(network, accuracy, _hash(network.state_dict()))


def _network(dataset: Dataset) -> CleanClassifier:
    """With the weights that training starts from; the other random numbers of the program stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CleanClassifier(
            dataset.shape, len(dataset.spec.class_names), width=VECTOR_WIDTH if len(dataset.shape) == 1 else WIDTH
        )


def train_feature_classifier(
    network: CleanClassifier, dataset: Dataset, progress: Callable[[int], object] = lambda updates: None
) -> None:
    """Fit a network to the labels of the training split, in a fixed number of updates and a fixed order: it stops before its
    confidence outgrows its accuracy, and the same start gives the same weights."""
    for _ in _FeatureTraining(network, dataset).records():
        progress(1)


class _FeatureTraining(Training):
    """Of clean examples, in one order of passes that run into each other, at a rate that falls to zero in a line."""

    def __init__(self, network: CleanClassifier, dataset: Dataset):
        num_updates = min(UPDATES, -(-PASSES * len(dataset.train) // BATCH))
        training = TrainingConfig(steps=num_updates, weight_decay=WEIGHT_DECAY)
        super().__init__(network, plain_adamw(network, training), training)
        self.network, self.dataset = network, dataset
        # the line as a product, each rate from the one before: kept classifiers know no other rounding
        shares = (1 - 1 / num_remaining for num_remaining in range(num_updates, 1, -1))
        self.rates = list(itertools.accumulate(shares, operator.mul, initial=LEARNING_RATE))
        self.order, self.waiting = np.random.default_rng(0), np.empty(0, dtype=np.int64)

    def rate(self) -> float:
        return self.rates[self.step]

    def gradient(self) -> tuple[float, float]:
        labels = self.dataset.labels
        assert labels is not None
        while len(self.waiting) < BATCH:
            self.waiting = np.concatenate([self.waiting, self.order.permutation(self.dataset.train)])
        batch, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
        logits = self.network(self.dataset.encoded(batch))
        return self.descend([functional.cross_entropy(logits, torch.from_numpy(labels[batch]))])


def _read(network: CleanClassifier, path: Path) -> FeatureClassifier | None:
    """The classifier that a file holds; None where it is missing or damaged."""
    try:
        accuracy = float(load_weights(network, path)["accuracy"])
    except (KeyError, ValueError):  # InputErrors among them
        return None
    return FeatureClassifier(network, accuracy, _hash(network.state_dict()))


def _key(dataset: Dataset) -> str:
    """The data's fingerprint, and what else the classifier depends on: labels, split and its own version."""
    assert dataset.labels is not None
    digest = hashlib.sha256(f"{VERSION} {len(dataset.spec.class_names)} {dataset.spec.encoding.to_dict()}".encode())
    for values in (dataset.train, dataset.labels[dataset.train]):
        digest.update(np.ascontiguousarray(values, dtype=np.int64).data)
    return f"{dataset.fingerprint()}-{digest.hexdigest()[:8]}"


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A named map from encoded examples to features.

    Arguments:
        name: in words.
        map: from a batch (B, *shape) to (B, F).
        centre: subtracted, (F,).
        scale: divided by.
        hash: of everything that the map depends on.
        accuracy: on the test split, if it is a classifier's.
        at_once: examples that are mapped at a time.
        is_inception: whether it is the one in which the distances are called FID and KID.
    """

    name: str
    map: Callable[[Tensor], Tensor]
    centre: np.ndarray
    scale: float
    hash: str
    accuracy: float | None = None
    at_once: int = AT_ONCE
    is_inception: bool = False

    def __call__(
        self, x: Examples, progress: Callable[[int], object] = lambda examples: None
    ) -> Float[np.ndarray, "batch feature"]:
        """Features, (B, F); progress is called with the number of examples that were mapped."""
        return (_in_parts(self.map, x, self.at_once, progress).double().numpy() - self.centre) / self.scale

    def of_examples(
        self, dataset: Dataset, indices: np.ndarray, progress: Callable[[int], object] = lambda examples: None
    ) -> Float[np.ndarray, "batch feature"]:
        """Features of some examples of a data set, (B, F), which are never all in memory at once."""
        parts = np.split(indices, range(AT_ONCE, len(indices), AT_ONCE))
        return np.concatenate([self(dataset.encoded(part), progress) for part in parts])

    @property
    def num_features(self) -> int:
        """F."""
        return len(self.centre)

    def __str__(self) -> str:
        accuracy = "" if self.accuracy is None else f", {self.accuracy:.2%} right on test examples"
        return f"{self.num_features} features: {self.name}{accuracy} ({self.hash})"


@dataclass(frozen=True)
class Features(Figures):
    """What samples are compared in, in words, with its hash."""

    space: str


def feature_space(dataset: Dataset, classifier: FeatureClassifier | None) -> FeatureSpace:
    """The space in which samples of a data set are compared with its examples.

    Arguments:
        dataset: the data.
        classifier: theirs, if they have labels.
    """
    x = dataset.encoded(dataset.some("train", MAX_EXAMPLES, MAX_ENTRIES))
    basis, accuracy = "", None
    if len(dataset.shape) == 1 and dataset.shape[0] <= FEW_ENTRIES:
        name, features = "the values themselves", lambda part: part
    elif classifier is not None:
        name, features = "the last hidden layer of a classifier of the training examples", classifier.network.features
        basis, accuracy = classifier.hash, classifier.accuracy
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            num_components = min(NUM_COMPONENTS, *x.flatten(1).shape)
            _, _, axes = torch.pca_lowrank(x.flatten(1), num_components, niter=4)
        name, features = "principal components of the training examples", lambda part: part.flatten(1) @ axes
        basis = _hash({"axes": axes})
    values = _in_parts(features, x).double().numpy()
    centre, scale = values.mean(0), float(values.var(0).mean() ** 0.5)
    digest = _hash({"centre": torch.from_numpy(centre)}, basis)
    return FeatureSpace(name, features, centre, scale, digest, accuracy)


def _in_parts(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    at_once: int = AT_ONCE,
    progress: Callable[[int], object] = lambda examples: None,
) -> Tensor:
    values = []
    with torch.no_grad():
        for part in x.split(at_once):
            values.append(function(part))
            progress(len(part))
    return torch.cat(values)


def _hash(tensors: dict[str, Tensor], basis: str = "") -> str:
    digest = hashlib.sha256(basis.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name].detach().numpy()).data)
    return digest.hexdigest()[:12]
