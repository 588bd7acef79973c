r"""A diffusion model with scikit-learn's contract, as `sklearn.neighbors.KernelDensity` has it.

What it says of rows:

- `score_samples` and `score`: a lower bound on $\log p(x)$ in nats, drawn a few hundred times, so that each has a standard
  error; or, by `method="flow"`, the density of the probability flow, which is another model of the same network, and no
  bound. A row's figure is a function of the row alone, whatever else is scored.
- `conditional_log_prob`: $\log p(x_R | x_G) = \log p(x) - \log p(x_G)$, each term by its bound. A difference of two bounds
  is an estimate, no bound: it is too large by what the bound of $x_G$ lacks, and too small by what that of x lacks. The
  network must have been trained on parts of rows (`conditionals=True`), and is as consistent as that has made it. Both
  bounds are drawn at the same times with the same noise, so that most of the Monte Carlo error cancels.
- `impute` and `sample_conditional`: draws given what is known (`run.impute`), which need no training of their own.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from torch.distributions import Distribution

from lowerbound.data import Dataset
from lowerbound.data.parts import num_observed, numbers_of_content
from lowerbound.errors import InputError
from lowerbound.estimator.distribution import Rows
from lowerbound.estimator.rows import (
    Columns,
    as_given,
    backend_of,
    chosen_columns,
    examples_of,
    stored,
    summary,
    without_flags,
)
from lowerbound.estimator.weights import divided
from lowerbound.files.whole import write_file
from lowerbound.models import Effort
from lowerbound.run import Run, open_run
from lowerbound.run.generate import generate
from lowerbound.run.impute import impute
from lowerbound.scoring import score, score_density
from lowerbound.scoring.spread import error_of_mean
from lowerbound.training import recipe, train
from lowerbound.training.config import Config

HIDDEN = 0.5
"""The share of examples of which only a part is seen, where conditional densities are wanted."""
ENTRIES_AT_ONCE = 65_536
FILES = ("config.json", "model.safetensors")
"""Of a run's folder, those that the model is read from."""


class DiffusionDensity(DensityMixin, BaseEstimator):
    """A density estimator: a diffusion model that is trained for a few minutes.

    Rows may have missing entries, NaN: it learns from the others, and scores the others. Fitted to complete rows, it scores
    complete ones.

    Arguments:
        minutes: of training on this machine.
        steps: of training, in the place of `minutes`; the result is then a function of the data and `random_state`.
        conditionals: whether to train on parts of rows too, which `conditional_log_prob` needs; the density of whole rows
            then has half of the training.
        width: of the network's hidden layers; the recipe's if None, as for the next three.
        depth: of the network, in residual layers.
        batch_size: rows in a step.
        learning_rate: after warm-up, before it falls.
        validation_fraction: the share of rows that is held out, by which the best weights of the training are chosen.
        num_draws: network calls for each row's bound; 16 to 256, the more the fewer columns, if None.
        random_state: the seed of split, weights, order and noise: an integer, a RandomState, or None for another each time.
        device: where to train and to score: "cpu", or an accelerator as torch calls it.
        n_jobs: how many threads; -1: all; None: as many as torch is set to.
        path: a folder to keep the run in; `fit` goes on with one of the same data and settings that is there. None: a
            temporary folder, gone after `fit`.
        verbose: whether to say how the training goes.

    Attributes:
        run_: the trained `Run`, for all else that can be done with one.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if the rows came with names.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    run_: Run

    # without annotations: scikit-learn wants a constructor to take anything, and `fit` to refuse it
    def __init__(
        self,
        minutes=2.0,
        steps=None,
        *,
        conditionals=False,
        width=None,
        depth=None,
        batch_size=None,
        learning_rate=None,
        validation_fraction=0.1,
        num_draws=None,
        random_state=0,
        device="cpu",
        n_jobs=None,
        path=None,
        verbose=False,
    ):
        self.minutes = minutes
        self.steps = steps
        self.conditionals = conditionals
        self.width = width
        self.depth = depth
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.num_draws = num_draws
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.path = path
        self.verbose = verbose

    @classmethod
    def from_run(cls, path: str | Path, device: str = "cpu") -> "DiffusionDensity":
        """A fitted estimator of a run, such as `lowerbound train` makes.

        Images and other arrays are rows of all their entries.

        Arguments:
            path: the run's folder.
            device: where its model is to be.

        Raises:
            InputError: as `open_run`, or if its model has no likelihood.
        """
        run = open_run(path, device)
        training, network = run.config.training, run.config.network
        estimator = cls(
            2.0 if training.minutes is None else training.minutes,
            training.steps,
            conditionals=training.hidden > 0,
            width=network.width,
            depth=network.depth,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            random_state=training.seed,
            device=device,
            path=path,
        )
        estimator._take(run)
        estimator._backend = None
        estimator.n_features_in_ = run.spec.num_dims
        names = [column.name for column in run.spec.columns]
        if names != list(map(str, range(len(names)))):
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return estimator

    def to_run(self, path: str | Path) -> Path:
        """Write the fitted model as the folder of a run, for `open_run` and the command line.

        Raises:
            InputError: if the folder is there and not empty.
        """
        check_is_fitted(self)
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} is there already: give a new folder")
        path.mkdir(parents=True, exist_ok=True)
        self._write(path)
        return path

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "DiffusionDensity":
        """Train on rows.

        Arguments:
            X: (N, D), floats, NaN where an entry is missing; or a dataframe of pandas, polars or pyarrow, whose columns are
                numbers, categories, truth values or dates by their types.
            y: ignored.
            sample_weight: (N,), at least 0: how often each row counts. Training draws a row in proportion to it.

        Raises:
            InputError: if the rows or the settings are not what a model can be trained on.
        """
        with without_flags():
            examples = examples_of(self, X)
        self._backend = backend_of(X)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, examples.values, dtype=np.float64, ensure_non_negative=True)
        seed = _seed(self.random_state)
        with without_flags():
            dataset = divided(examples, weights, self.validation_fraction, np.random.default_rng(seed))
        config = self._config(dataset, seed)
        with TemporaryDirectory() as temporary, _threads(self.n_jobs):
            say = print if self.verbose else lambda line: None
            folder = Path(temporary) / "run" if self.path is None else Path(self.path)
            train(config, dataset, folder, device=self.device, say=say, show_progress=bool(self.verbose))
            self._take(open_run(folder, self.device))
        return self

    def score_samples(self, X: Any, *, return_std: bool = False, by: str | None = None, method: str = "bound") -> Any:
        """The log density of each row, (N,), in nats.

        Arguments:
            X: (N, D); NaN where an entry is missing, if rows that were fitted had such: of a row, the density of the others.
            return_std: whether to return the standard error of each as well, as a second array.
            by: divide each figure: "column" gives (N, D), what each column adds; "noise" (N, K + 2), what is added by the
                reconstruction, by K equal parts of time and by the prior (`scoring.bound`). Rows add up to the figure, but
                for NaN, by column, where an entry is missing.
            method: "bound", a lower bound by Monte Carlo, or "flow", the density of the probability flow, whose standard
                error is 0 up to 16 columns.

        Raises:
            InputError: if the rows are not what was fitted, or `by` does not go with `method`.
        """
        raw = self._raw(X)
        if method not in ("bound", "flow"):
            raise InputError(f"method is {method!r}: choose 'bound' or 'flow'")
        with _threads(self.n_jobs):
            if method == "flow":
                if by is not None:
                    raise InputError(f"by={by!r} is of the bound: leave it out, or take method='bound'")
                flow = score_density(self.run_, raw, numbers=numbers_of_content(raw))
                nats, error = flow.nats, flow.standard_error
            else:
                scores = self._score(raw, numbers_of_content(raw), by)
                nats, error = scores.nats, scores.diffusion_error
                if by is not None:
                    parts = scores.entries if scores.bands is None else scores.bands
                    assert parts is not None
                    nats = parts.reshape(len(parts), -1)
        return (nats, error * num_observed(raw) * np.log(2)) if return_std else nats

    def score(self, X: Any, y: Any = None) -> float:
        """The sum of `score_samples`, the log likelihood of all rows together in nats, as `KernelDensity.score` has it."""
        return float(np.sum(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows, (n_samples, D).

        Arguments:
            n_samples: how many.
            random_state: as of the estimator; None: others each time.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise InputError(f"n_samples is {n_samples!r}: it is a whole number, 1 or more")
        with _threads(self.n_jobs):
            drawn = generate(self.run_, int(n_samples), seed=_seed(random_state), batch_size=self._batch_size)
        return as_given(drawn.reshape(len(drawn), -1), self.run_.spec, self._backend)

    def conditional_log_prob(self, X: Any, given: Columns, *, return_std: bool = False) -> Any:
        r"""$\log p(x_R | x_G) = \log p(x) - \log p(x_G)$ of each row, (N,), in nats: estimated, as a difference of bounds.

        Arguments:
            X: (N, D); what is NaN is in neither.
            given: the columns G: names, numbers, or (D,) booleans; R are the others.
            return_std: whether to return the standard error of each as well: of the draws, not of the model.

        Raises:
            InputError: if the model was not trained on parts of rows, or there are no such columns.
        """
        raw, known = self._raw(X), self._places(given)
        if not self.run_.config.training.hidden:
            raise InputError(
                "the model was trained on whole rows and does not know log p of a part of the columns: fit with "
                "conditionals=True (on the command line: train with --hidden 0.5)"
            )
        numbers = numbers_of_content(raw)
        parts = np.where(known, raw.reshape(len(raw), -1), np.nan).reshape(raw.shape)
        some = np.flatnonzero(num_observed(parts))
        with _threads(self.n_jobs):
            bands = self._score(raw, numbers, "noise").bands
            assert bands is not None
            if len(some):
                bands[some] -= self._score(parts[some], numbers[some], "noise").bands
        nats = bands.sum(1)
        error = error_of_mean(bands[:, 1:-1])[0] * (bands.shape[1] - 2)
        return (nats, error) if return_std else nats

    def sample_conditional(self, X: Any, given: Columns, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw the other columns given some, (N, n_samples, D), where the given ones are as they came; after a fit to a
        dataframe one of N * n_samples rows, the draws of a row one after another.

        Arguments:
            X: (N, D); of the columns that are not given nothing is looked at. What is NaN is drawn.
            given: the columns that are known: names, numbers, or (D,) booleans.
            n_samples: draws for each row.
            random_state: as of the estimator; None: others each time.

        Raises:
            InputError: if there are no such columns, or none is left to draw.
        """
        raw, known = self._raw(X), self._places(given).reshape(self.run_.spec.raw_shape)
        drawn = self._imputed(raw, known & ~np.isnan(raw), n_samples, random_state)
        if self._backend is None:
            return drawn
        return as_given(drawn.reshape(-1, self.n_features_in_), self.run_.spec, self._backend)

    def impute(self, X: Any, n_samples: int = 16, random_state: Any = 0) -> Any:
        """The rows with what is missing replaced by the mean of draws given what is there; of categories, the most frequent.

        For the draws themselves see `sample_conditional`.

        Arguments:
            X: (N, D).
            n_samples: draws for each row.
            random_state: as of the estimator.
        """
        raw = self._raw(X, may_miss=True)
        observed = ~np.isnan(raw)
        flat = raw.reshape(len(raw), -1)
        if not observed.all():
            drawn = self._imputed(raw, observed, n_samples, random_state)
            flat = np.where(np.isnan(flat), summary(drawn, self.run_.spec.columns), flat)
        return as_given(flat, self.run_.spec, self._backend)

    def as_distribution(self, method: str = "bound") -> Distribution:
        """The fitted density as a distribution of torch over rows, of event shape (D,), without gradients.

        Arguments:
            method: of `log_prob`, as in `score_samples`.
        """
        check_is_fitted(self)
        return Rows(self.n_features_in_, partial(self.score_samples, method=method), self.sample)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Of the fitted model, the files of its run: text and safetensors."""
        return {name: value for name, value in vars(self).items() if name != "run_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_files" in state:
            with TemporaryDirectory() as folder:
                self._write(Path(folder))
                self.run_ = open_run(folder, self.device)

    def _take(self, run: Run) -> None:
        """Be fitted: a run's model, and the files that it was read from."""
        if run.model.likelihood == "none":
            raise InputError(f"the run in {run.folder.path} has no likelihood: {run.model.no_likelihood}")
        self.run_ = run
        self._files = {name: (run.folder.path / name).read_bytes() for name in FILES}

    def _write(self, folder: Path) -> None:
        """Write the files of the run into a folder."""
        for name, content in self._files.items():
            write_file(folder / name, content)

    def _config(self, dataset: Dataset, seed: int) -> Config:
        """The recipe, with what was chosen in its place."""
        config = recipe(dataset, minutes=self.minutes)
        chosen = {"batch_size": self.batch_size, "learning_rate": self.learning_rate}
        length = {} if self.steps is None else {"steps": self.steps, "minutes": None}
        hidden = HIDDEN if self.conditionals and dataset.spec.num_dims > 1 else 0.0
        told: dict[str, Any] = length | _given(chosen) | {"seed": seed, "hidden": hidden, "num_pictures": 0}
        training = replace(config.training, **told)
        network = replace(config.network, **_given({"width": self.width, "depth": self.depth}))
        return replace(config, training=training, network=network)

    @property
    def _batch_size(self) -> int:
        return max(1, ENTRIES_AT_ONCE // self.run_.spec.num_dims)

    def _score(self, raw: np.ndarray, numbers: np.ndarray, by: str | None = None) -> Any:
        return score(self.run_, raw, Effort(self.num_draws), numbers=numbers, by=by)

    def _imputed(self, raw: np.ndarray, observed: np.ndarray, n_samples: int, random_state: Any) -> np.ndarray:
        """Draws given what is observed, (N, n_samples, D)."""
        with _threads(self.n_jobs):
            seed, batch_size = _seed(random_state), self._batch_size
            samples = impute(self.run_, raw, observed, num_samples=n_samples, seed=seed, batch_size=batch_size).samples
        return samples.reshape(len(raw), n_samples, -1)

    def _raw(self, X: Any, *, may_miss: bool = False) -> np.ndarray:
        """Rows as the run's data are stored."""
        check_is_fitted(self)
        with without_flags():
            return stored(self, X, self.run_.spec, may_miss=may_miss)

    def _places(self, columns: Columns) -> np.ndarray:
        """Which columns are meant, (D,) booleans."""
        return chosen_columns(columns, self.n_features_in_, list(getattr(self, "feature_names_in_", ())))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def _seed(random_state: Any) -> int:
    """An integer of what scikit-learn takes for a source of randomness."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def _threads(n_jobs: int | None) -> Generator[None]:
    """Torch on so many threads as long as it lasts."""
    before = torch.get_num_threads()
    if n_jobs is not None:
        torch.set_num_threads(effective_n_jobs(n_jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)
