r"""A forest is grown, not descended to: its trees are boosted one after the other on draws of the noise.

In each band of $\gamma$ every training example is there `num_duplicates` times, each with a $\gamma$ and a noise of its own.
What the trees of the column d learn there is $\epsilon_d - \hat\epsilon_d^N$, what the Gaussian leaves of the noise: half
its mean square, over the width of the band, is the band's part of the bound. They grow until the same figure of validation
examples, with noise of their own, no longer falls, and are cut where it was lowest; a column that is better without any
keeps the Gaussian. Minutes are shared out evenly among the ensembles that are still to come, and the number of duplicates
follows from how fast the first trees grow.

lightgbm grows them (Ke et al. 2017); what is kept is the splits, as tensors.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from lowerbound.baselines import weakness, yardstick
from lowerbound.data import Dataset
from lowerbound.data.extras import extra
from lowerbound.elementary import exp, expand
from lowerbound.errors import InputError
from lowerbound.files.weights import weights_file
from lowerbound.files.whole import write_file
from lowerbound.forest import Forest
from lowerbound.machine.interruption import Interruption
from lowerbound.models import Diffusion
from lowerbound.rng import Stream
from lowerbound.training.build import build_model
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder
from lowerbound.training.gaussians import fit_gaussian
from lowerbound.training.held_out import figures, fixed_nats, held_out_bits, held_out_text
from lowerbound.training.resume import check_same, set_aside
from lowerbound.words.brief import Brief
from lowerbound.words.counts import counted

GROWING_SHARE = 0.9
"""The share of the minutes in which trees grow; the rest is for the Gaussian and the held-out figure."""
LEARNING_RATE = 0.2
PATIENCE = 10
"""Trees in a row by which the validation's figure may fail to fall."""
FEWEST_EXAMPLES = 3
"""Different examples, at least, that a leaf is learned from."""
ENOUGH_TREES = 40
"""So many trees of each ensemble are worth fewer duplicates."""
MOST_DUPLICATES, DUPLICATES = 64, 16
"""Of each example: at most, and in a run of given steps."""
MOST_ROWS = 1 << 19
"""Of the table that an ensemble grows on, duplicates and all."""
VALIDATION_ROWS = 10_000
PILOT_ROWS, PILOT_TREES = 4096, 5
BINS = 127
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, repr=False)
class Band(Brief):
    """What the trees of a band are grown on.

    Arguments:
        seen: what they see (`Forest.seen`), (N, F).
        missed: what the Gaussian leaves of the noise, (N, D), NaN where an entry is missing.
    """

    seen: Float[np.ndarray, "row feature"]
    missed: Float[np.ndarray, "row column"]


@dataclass(frozen=True)
class Ensemble:
    """Trees of one column in one band.

    Arguments:
        trees: as lightgbm describes them, from the root down.
        curve: mean squares on validation examples: without trees, with one, and so on.
    """

    trees: list[dict[str, Any]]
    curve: list[float]


def fit_forest(
    config: Config,
    dataset: Dataset,
    out: Path | str,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    say: Callable[[str], None] = print,
    show_progress: bool = True,
) -> RunFolder:
    """Grow a forest into a run folder; a run that was interrupted begins again.

    Arguments:
        (as of `session.train`)

    Raises:
        InputError: if lightgbm is not there, the folder holds another run, or the data do not suffice.
        KeyboardInterrupt: after an interruption; nothing is kept.
    """
    extra("lightgbm", "forest", "a forest")
    folder, model = RunFolder(out), build_model(config, dataset.spec)
    assert isinstance(model, Diffusion)
    assert isinstance(model.denoiser, Forest)
    num_trees = model.denoiser.splits.shape[2]
    if config.training.steps is not None and config.training.steps > num_trees:
        raise InputError(
            f"--steps is {config.training.steps}, and a step of a forest is one tree of each column: give at most "
            f"--model.trees, {num_trees}"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.locked():
        if restart:
            set_aside(folder, say)
        if folder.exists:
            changes = check_same(folder, config, dataset)
            if folder.model.exists() and not changes:
                say(f"the run in {folder.path} is complete: with --restart, or other minutes, it is grown anew")
                return folder
        folder.write_config(config, replace(dataset.spec, fingerprint=dataset.fingerprint()))
        with Interruption() as interruption:
            began = time.monotonic()
            mean, covariance = fit_gaussian(dataset.encoded(dataset.train), dataset.encoded(dataset.validation))
            model.denoiser.mean.copy_(mean)
            model.denoiser.covariance.copy_(covariance)
            growth = _Growth(model.denoiser, config, dataset)
            curves, width = [], float(growth.width)
            with tqdm(total=growth.num_ensembles, disable=None if show_progress else True, unit="ensemble") as bar:
                for ensemble in growth.ensembles():
                    curves.append(ensemble.curve)
                    bar.update(1)
                    if interruption.requested:
                        say("stopped: a forest is not kept until all its trees have grown")
                        raise KeyboardInterrupt
            seconds = time.monotonic() - began
        model = model.to(device).eval()
        _write(folder, model, config, dataset, width / 2 * _summed(curves), seconds, say)
        if (sentence := weakness(folder.read_metadata())) is not None:
            say(f"{sentence}: give more {config.training.length_option}")
    return folder


class _Growth:
    """The growing of a forest's ensembles.

    Arguments:
        forest: with its Gaussian; the trees are planted in it.
        config, dataset: of the run.
    """

    def __init__(self, forest: Forest, config: Config, dataset: Dataset):
        training = config.training
        self.forest, self.config, self.dataset = forest, config, dataset
        self.num_trees = training.steps or forest.splits.shape[2]
        self.edges = forest.edges
        self.width = self.edges[1] - self.edges[0]
        self.num_ensembles = math.prod(forest.splits.shape[:2])
        self.ends = None if training.minutes is None else time.monotonic() + 60 * training.minutes * GROWING_SHARE

    def ensembles(self) -> Iterator[Ensemble]:
        """Band by band and in each column by column, planted."""
        num_left, num_duplicates = self.num_ensembles, self._num_duplicates()
        for band in range(len(self.forest.splits)):
            train = self._rows(self.dataset.train, band, num_duplicates, 0)
            num_validation = max(1, min(num_duplicates, VALIDATION_ROWS // len(self.dataset.validation)))
            validation = self._rows(self.dataset.validation, band, num_validation, 1)
            for column, ensemble in enumerate(self._grow(train, validation, num_duplicates, num_left)):
                plant(self.forest, band, column, ensemble.trees)
                num_left -= 1
                yield ensemble

    def _num_duplicates(self) -> int:
        """As many as leave time for enough trees."""
        num_examples = len(self.dataset.train)
        most = max(1, min(MOST_DUPLICATES, MOST_ROWS // num_examples))
        if self.ends is None:
            return min(DUPLICATES, most)
        few = max(1, min(most, PILOT_ROWS // num_examples))
        rows = self._rows(self.dataset.train, len(self.forest.splits) // 2, few, 0)
        began = time.monotonic()
        next(iter(self._grow(rows, rows, few, None, PILOT_TREES)))
        seconds = (time.monotonic() - began) / (few * PILOT_TREES)
        allowed = (self.ends - time.monotonic()) / self.num_ensembles
        return max(1, min(most, int(allowed / (ENOUGH_TREES * seconds))))

    def _rows(self, indices: np.ndarray, band: int, num_duplicates: int, split: int) -> Band:
        """Examples, each as often as it is to be seen, at noise levels spread evenly over a band."""
        forest, spec, seed = self.forest, self.dataset.spec, self.config.training.seed
        noise = Stream(int(np.random.SeedSequence([seed, band, split]).generate_state(1)[0]))
        x = self.dataset.encoded(indices).double()
        cond = self.dataset.cond(indices) if self.config.data.conditional else None
        offset = noise.uniform(x.new_empty(len(x), 1))
        seen, missed = [], []
        for number in range(num_duplicates):
            uniform = (offset + number / num_duplicates) % 1
            gamma, eps = self.edges[band] + self.width * uniform[:, 0], noise.normal(x)
            for part in torch.arange(len(x)).split(ROWS_AT_ONCE):
                level = forest.schedule.level(forest.schedule.inverse(gamma[part]))
                alpha, sigma, ratio = (expand(c, x) for c in (level.alpha, level.sigma, exp(level.gamma / 2)))
                observed = spec.observed(x[part])
                x_t = alpha * x[part] + sigma * eps[part]
                filled = x_t if observed is None else torch.where(observed, x_t, 0)
                linear = forest.linear(filled, level, observed)
                condition = None if cond is None else cond[part]
                seen.append(forest.seen(filled, level, condition, observed).numpy())
                missed.append(((linear - x[part]) / ratio).numpy())
        return Band(np.concatenate(seen), np.concatenate(missed))

    def _grow(
        self, train: Band, validation: Band, num_duplicates: int, num_left: int | None, num_trees: int | None = None
    ) -> Iterator[Ensemble]:
        """The ensembles of a band, column by column, each in its share of the time that is left, or in any time at all."""
        import lightgbm

        num_trees = num_trees or self.num_trees
        settings = {
            "objective": "l2",
            "num_leaves": 1 << self.forest.depth,
            "max_depth": self.forest.depth,
            "learning_rate": LEARNING_RATE,
            "min_data_in_leaf": FEWEST_EXAMPLES * num_duplicates,
            "max_bin": BINS,
            "boost_from_average": False,
            "num_threads": torch.get_num_threads(),
            "seed": self.config.training.seed,
            "deterministic": True,
            "force_col_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }
        tables = []
        for rows in (train, validation):
            reference = tables[0] if tables else None
            table = lightgbm.Dataset(rows.seen, np.zeros(len(rows.seen)), reference=reference, params=settings)
            tables.append(table.construct())
        for column in range(train.missed.shape[1]):
            for table, rows in zip(tables, (train, validation), strict=True):
                missed = rows.missed[:, column]
                table.set_label(np.nan_to_num(missed))
                table.set_weight((~np.isnan(missed)).astype(np.float64))
            deadline = None
            if num_left is not None and self.ends is not None:
                now = time.monotonic()
                deadline = now + max(0.0, self.ends - now) / (num_left - column)
            booster = lightgbm.Booster(settings, tables[0])
            booster.add_valid(tables[1], "validation")
            curve = [float(np.nanmean(validation.missed[:, column] ** 2))]
            while len(curve) <= num_trees:
                if booster.update() or len(curve) > int(np.argmin(curve)) + PATIENCE:
                    break
                curve.append(booster.eval_valid()[0][2])
                if deadline is not None and time.monotonic() > deadline:
                    break
            best = int(np.argmin(curve))
            described = booster.dump_model(num_iteration=best)["tree_info"] if best else []
            yield Ensemble([tree["tree_structure"] for tree in described], curve[: best + 1])


def plant(forest: Forest, band: int, column: int, trees: list[dict[str, Any]]) -> None:
    """Put trees into a forest.

    Arguments:
        forest: its tensors are written to.
        band, column: where.
        trees: as lightgbm describes them.
    """
    splits, thresholds, leaves = (each[band, column] for each in (forest.splits, forest.thresholds, forest.leaves))
    nodes = splits.shape[1]
    for tree, root in enumerate(trees):
        waiting = [(root, 0)]
        while waiting:
            part, node = waiting.pop()
            if node >= nodes:
                leaves[tree, node - nodes] = part["leaf_value"]
            elif "split_feature" in part:
                is_left = part["missing_type"] == "None" or part["default_left"]
                splits[tree, node] = (1 if is_left else -1) * (part["split_feature"] + 1)
                thresholds[tree, node] = _single(part["threshold"])
                waiting += [(part["left_child"], 2 * node + 1), (part["right_child"], 2 * node + 2)]
            else:  # a leaf above the last row is all of those below it
                waiting += [(part, 2 * node + 1), (part, 2 * node + 2)]


def _single(threshold: float) -> float:
    """The largest number of single precision that is not above a threshold: the same values are above both."""
    largest = float(np.finfo(np.float32).max)  # lightgbm's own, where only what is missing goes right, is beyond it
    single = np.float32(min(threshold, largest))
    return float(single if float(single) <= threshold else np.nextafter(single, np.float32(-np.inf)))


def _summed(curves: list[list[float]]) -> np.ndarray:
    """The sum of the ensembles' mean squares after each number of trees, those that are done staying as they are."""
    longest = max(map(len, curves))
    return np.sum([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves], axis=0)


def _write(
    folder: RunFolder,
    model: Diffusion,
    config: Config,
    dataset: Dataset,
    nats: np.ndarray,
    seconds: float,
    say: Callable[[str], None],
) -> None:
    """Write the log, a line for each number of trees, and the weights with their held-out figure."""
    num_dims, fixed = float(dataset.num_observed[dataset.train].mean()), fixed_nats(model, dataset)
    steps = range(1, len(nats)) if len(nats) > 1 else [1]
    records: list[dict[str, Any]] = [
        {
            "step": step,
            "loss": (nats[min(step, len(nats) - 1)] + fixed) / (num_dims * math.log(2)),
            "gradient_norm": 0.0,
            "learning_rate": LEARNING_RATE,
            "seconds": seconds * step / len(steps),
        }
        for step in steps
    ]
    num = min(model.most_held_out, len(dataset.validation))
    measured = held_out_bits(model, dataset, num, config.data.conditional)
    facts: dict[str, Any] = {"step": records[-1]["step"], "seconds": seconds}
    if measured is not None:
        facts |= figures(*measured, num, yardstick(dataset, num))
        records.append(facts)
        say(f"{counted(facts['step'], 'tree')} at most: {held_out_text(*measured)}")
    folder.write_log(records)
    metadata = {"weights": "grown"} | {name: str(fact) for name, fact in facts.items()}
    write_file(folder.model, weights_file(dict(model.trained.named_parameters()), metadata))
