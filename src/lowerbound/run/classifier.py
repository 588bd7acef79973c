"""The classifier of a run: kept in its folder as classifier.safetensors, trained by `lowerbound classifier`."""

import json
import math
from pathlib import Path

from lowerbound.classifier import NoisyClassifier
from lowerbound.errors import InputError
from lowerbound.files import write_file
from lowerbound.nn.classifier import Classifier
from lowerbound.run.opened import Run
from lowerbound.size import check_size
from lowerbound.weights import load_weights, read_metadata, weights_file


def classifier_path(run: Run) -> Path:
    """Where the run's classifier is kept."""
    return run.folder.path / "classifier.safetensors"


def write_classifier(run: Run, classifier: NoisyClassifier, width: int, told: dict[str, str]) -> Path:
    """Keep a classifier of the run's data in its folder; the file appears whole or not at all.

    Arguments:
        run: whose it is.
        classifier: what is kept.
        width: of its network.
        told: what else the file says of it.
    """
    metadata = {
        "class_names": json.dumps(run.spec.class_names),
        "fingerprint": run.spec.fingerprint,
        "width": str(width),
        "gamma_min": repr(classifier.gamma_min),
        "gamma_max": repr(classifier.gamma_max),
        "sigma_data": repr(classifier.sigma_data),
        **told,
    }
    write_file(classifier_path(run), weights_file(dict(classifier.named_parameters()), metadata))
    return classifier_path(run)


def open_classifier(run: Run) -> NoisyClassifier:
    """The classifier of a run, on the device of its denoiser, without gradients.

    Raises:
        InputError: if there is none, it belongs to other data, or its file is damaged.
    """
    path = classifier_path(run)
    if not path.is_file():
        raise InputError(
            f"the run in {run.folder.path} has no classifier: train one with `lowerbound classifier {run.folder.path}`"
        )
    advice = f"train it anew with `lowerbound classifier {run.folder.path}`"
    try:
        return _read(path, run).requires_grad_(False).eval().to(run.device)
    except InputError as error:
        raise InputError(f"{error}: {advice}") from error


def _read(path: Path, run: Run) -> NoisyClassifier:
    """The classifier of a run's data that a file holds.

    Raises:
        InputError: if it belongs to other data, or is damaged.
    """
    told = read_metadata(path)
    try:
        names, width = json.loads(told["class_names"]), int(told["width"])
        ends = float(told["gamma_min"]), float(told["gamma_max"])
        sigma_data, fingerprint = float(told["sigma_data"]), told["fingerprint"]
        if not (isinstance(names, list) and -math.inf < ends[0] < ends[1] < math.inf and 0 < sigma_data < math.inf):
            raise ValueError(f"classes {names}, gamma from {ends[0]} to {ends[1]}, sigma_data {sigma_data}")
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if fingerprint != run.spec.fingerprint or tuple(names) != run.spec.class_names:
        raise InputError(f"{path} is a classifier of other data than the run's")

    def build() -> Classifier:
        return Classifier(run.spec.shape, len(names), width=width)

    check_size(build, path.stat().st_size, str(path))
    classifier = NoisyClassifier(build(), *ends, sigma_data)
    load_weights(classifier, path)
    return classifier
