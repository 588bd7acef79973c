"""Training of a classifier of noisy data: on all noise levels of a schedule, evenly in gamma, and on clean data."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lowerbound.classifier import NoisyClassifier
from lowerbound.data import Dataset, batch_indices
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.machine.device import prepared
from lowerbound.nn.classifier import Classifier
from lowerbound.rng import Noise, Stream
from lowerbound.schedule import Level
from lowerbound.training.config import TrainingConfig
from lowerbound.training.optimizer import plain_adamw
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.stretch import Workspace, complete
from lowerbound.training.training import State, Training, check_length

BATCH_SIZE = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
MOST_HELD_OUT = 2000
CLEAN_SHARE = 0.2
"""How many of the training examples carry no noise."""


def train_classifier(
    dataset: Dataset,
    gamma_min: float,
    gamma_max: float,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    width: int = 32,
    sigma_data: float = 1.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    workspace: Workspace | None = None,
    processes: Processes = ALONE,
) -> NoisyClassifier:
    r"""A classifier of a data set's labels, from its training split, for clean data and for $\gamma$ between two levels.

    The same seed and steps give the same weights.

    Arguments:
        dataset: labelled data.
        gamma_min, gamma_max: the least and the most noise.
        steps, minutes: how long to train; one of the two.
        width: of the network.
        sigma_data: the data's standard deviation, as the network's input scaling assumes it.
        seed: of weights, order and noise.
        device: where to train.
        workspace: where an interrupted training is kept to go on with; None: nowhere.
        processes: that train together, each with its rows of every batch.

    Raises:
        InputError: for data without labels, or of a single class; a length that is not one; or a loss that diverges.
    """
    check_labels(dataset)
    check_length(steps=steps, minutes=minutes)
    # the weights come from the seed alone, and the caller's own random numbers stay as they were
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(dataset.shape, len(dataset.spec.class_names), width=width)
    classifier = NoisyClassifier(network, gamma_min, gamma_max, sigma_data).to(prepared(device))
    training = TrainingConfig(
        steps=steps, minutes=minutes, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, seed=seed
    )
    complete(_ClassifierTraining(classifier, dataset, training, processes), workspace)
    return classifier.requires_grad_(False).eval()


class _ClassifierTraining(Training):
    """Of examples under noise of random widths, some under none."""

    def __init__(
        self, classifier: NoisyClassifier, dataset: Dataset, training: TrainingConfig, processes: Processes = ALONE
    ):
        super().__init__(classifier, plain_adamw(classifier, training), training, processes=processes)
        self.classifier, self.dataset, self.labels = classifier, dataset, torch.from_numpy(check_labels(dataset))
        self.noise = Stream(training.seed)

    def gradient(self) -> tuple[float, float]:
        train = self.dataset.train
        indices = train[batch_indices(self.training.seed, self.step, min(BATCH_SIZE, len(train)), len(train))]
        return self.descend([self._loss(indices, self.noise, self.processes.rows(len(indices)))])

    @torch.no_grad()
    def probe(self) -> float:
        return self._loss(self.dataset.some("train", BATCH_SIZE), Stream(self.training.seed), slice(None)).item()

    def words(self, loss: float) -> str:
        return f"loss {loss:.3f} nats over all noise levels"

    def state(self) -> State:
        tensors, numbers = super().state()
        return {**tensors, "noise": {"stream": self.noise.state()}}, numbers

    def recall(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        self.noise.restore(tensors["noise"]["stream"])

    def _loss(self, indices: np.ndarray, noise: Noise, own: slice) -> Tensor:
        """What a part of some examples adds to their mean, at random noise levels, some of them clean, in units in which
        alpha is one."""
        x, classifier = self.dataset.encoded(indices), self.classifier
        device = next(classifier.parameters()).device
        t, share = noise.uniform(x.new_empty(2, len(x)))
        gamma = classifier.gamma_min + (classifier.gamma_max - classifier.gamma_min) * t
        gamma = torch.where(share < CLEAN_SHARE, -math.inf, gamma)
        sigma = (gamma / 2).exp()
        x_t = x + expand(sigma, x) * noise.normal(x)
        level = Level(*(value[own].to(device) for value in (t, gamma, torch.ones_like(gamma), sigma)))
        labels = self.labels[indices[own]].to(device)
        return cross_entropy(classifier(x_t[own].to(device), level), labels, reduction="sum") / len(indices)


@torch.no_grad()
def accuracies(classifier: NoisyClassifier, dataset: Dataset, ratios: Sequence[float]) -> list[tuple[float, float]]:
    r"""The share of validation examples that are classified rightly, and its standard error, under noise of several widths.

    Arguments:
        classifier: what is measured.
        dataset: whose validation split is read, up to 2,000 examples of it.
        ratios: $\sigma_t / \alpha_t$, the noise's standard deviation in units of the model's x; 0 is clean data.

    Raises:
        InputError: for data without labels, or of a single class.
    """
    indices = dataset.some("validation", MOST_HELD_OUT)
    labels = torch.from_numpy(check_labels(dataset)[indices])
    x, noise, device = dataset.encoded(indices), Stream(0), next(classifier.parameters()).device
    shares = []
    for ratio in ratios:
        level = Level(0.0, 2 * math.log(ratio) if ratio else -math.inf, 1.0, ratio)
        x_t = (x + ratio * noise.normal(x)).to(device)
        predicted = torch.cat([classifier(part, level).argmax(1).cpu() for part in x_t.split(256)])
        num_right = int((predicted == labels).sum())
        likely = (num_right + 0.5) / (len(labels) + 1)  # even without a single mistake the error is not zero
        shares.append((num_right / len(labels), math.sqrt(likely * (1 - likely) / len(labels))))
    return shares


def check_labels(dataset: Dataset) -> np.ndarray:
    """The class indices of all examples; data without labels, or of a single class, are refused by an InputError."""
    if dataset.labels is None:
        raise InputError(
            f"{dataset.spec.name} has no labels, which a classifier learns from: give an .npz file with labels, or another "
            "labelled data set"
        )
    if len(np.unique(dataset.labels[dataset.train])) < 2:
        raise InputError(
            f"all training examples of {dataset.spec.name} are of one class: a classifier needs two or more"
        )
    return dataset.labels
