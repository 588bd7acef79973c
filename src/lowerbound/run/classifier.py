"""The classifier of a run: kept in its folder as classifier.safetensors, trained by `lowerbound classifier`."""

import json
import math
from pathlib import Path

from lowerbound.classifier import NoisyClassifier
from lowerbound.errors import InputError
from lowerbound.files.weights import load_weights, read_metadata, weights_file
from lowerbound.files.whole import write_file
from lowerbound.nn.classifier import Classifier
from lowerbound.nn.size import check_size
from lowerbound.run.opened import Run

NAME = "classifier.safetensors"
"""Of its file in the run's folder."""
NUMBERS = ("gamma_min", "gamma_max", "sigma_data")
"""What the file says of it besides, as attributes of `NoisyClassifier`."""


def write_classifier(run: Run, classifier: NoisyClassifier, width: int, metadata: dict[str, str]) -> Path:
    """Keep a classifier of the run's data in its folder; the file appears whole or not at all.

    Arguments:
        run: whose it is.
        classifier: what is kept.
        width: of its network.
        metadata: what else the file says of it.
    """
    metadata = {
        "class_names": json.dumps(run.spec.class_names),
        "fingerprint": run.spec.fingerprint,
        "width": str(width),
        **{name: repr(getattr(classifier, name)) for name in NUMBERS},
        **metadata,
    }
    path = run.folder.path / NAME
    write_file(path, weights_file(dict(classifier.named_parameters()), metadata))
    return path


def open_classifier(run: Run) -> NoisyClassifier:
    """The classifier of a run, on the device of its denoiser, without gradients.

    Raises:
        InputError: if there is none, it belongs to other data, or its file is damaged.
    """
    path, command = run.folder.path / NAME, f"`lowerbound classifier {run.folder.path}`"
    if not path.is_file():
        raise InputError(f"the run in {run.folder.path} has no classifier: train one with {command}")
    try:
        return _read(path, run).requires_grad_(False).eval().to(run.device)
    except InputError as error:
        raise InputError(f"{error}: train it anew with {command}") from error


def _read(path: Path, run: Run) -> NoisyClassifier:
    """The classifier of a run's data that a file holds.

    Raises:
        InputError: if it belongs to other data, or is damaged.
    """
    metadata = read_metadata(path)
    try:
        names, width, fingerprint = json.loads(metadata["class_names"]), int(metadata["width"]), metadata["fingerprint"]
        gamma_min, gamma_max, sigma_data = (float(metadata[name]) for name in NUMBERS)
        if not (isinstance(names, list) and -math.inf < gamma_min < gamma_max < math.inf and 0 < sigma_data < math.inf):
            raise ValueError(f"classes {names}, gamma from {gamma_min} to {gamma_max}, sigma_data {sigma_data}")
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if fingerprint != run.spec.fingerprint or tuple(names) != run.spec.class_names:
        raise InputError(f"{path} is a classifier of other data than the run's")

    def build() -> Classifier:
        return Classifier(run.spec.shape, len(names), width=width)

    check_size(build, path.stat().st_size, str(path))
    classifier = NoisyClassifier(build(), gamma_min, gamma_max, sigma_data)
    load_weights(classifier, path)
    return classifier
