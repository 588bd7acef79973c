"""Forecasts and imputations of ETTh1 beside simple models: python benchmarks/series.py --minutes 10

The hourly file etth1.csv of the data directory, 7 channels, in the usual split of 12, 4 and 4 months of 30 days (8,640,
2,880 and 2,880 rows; the rest is not used). One model of windows of 96 + 24 hours is trained, given the hour and the
weekday, which the simple models are not; every figure is of windows that lie in the test months as a whole, a day apart. All
values are in the standard deviations of the training rows of each channel, as published figures of this file are, so that a
CRPS is a mean over all entries in these units.

Forecasts: the last 24 hours given the 96 before. Persistence repeats the last value, seasonal-naive the last day; as point
forecasts their CRPS is their mean absolute error. "with residuals" adds to them what they were wrong by in windows of the
validation months, drawn at random as whole windows. The linear model is a ridge regression of the 24 hours on the 96 before,
all channels together, its penalty chosen on validation windows and its residuals Gaussian with their covariance there.
The Gaussian of windows is what the network stands upon (`denoiser.FittedWindows`), fitted to the same months; --simple
prints its figures and those of the other simple models in seconds, without a network.

Imputation: 10, 50 and 90 % of the entries of whole windows of 120 hours are hidden at random, beside the channel's mean,
linear interpolation in time and the nearest training windows by what is seen, which are the draws.

CRPS-sum is of the sum over the channels; the energy score is of all hidden entries of a window together, over the root of
their number; both as CRPS, lower is better. Errors are standard errors over windows, which are not quite independent; the
last column says by CRPS which is the best, within one standard error of it, or how far behind. With --run each figure is
kept in the run's folder, and the same command again goes on from there, and with the run that was being trained.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ledger import DONE, Ledger, places, print_table

from lowerbound import open_dataset, open_run, recipe, train
from lowerbound.data import DataConfig, Dataset
from lowerbound.data.directory import data_directory
from lowerbound.evaluate.forecasts import inputs, ridge
from lowerbound.evaluate.imputation import crps, judge
from lowerbound.files.records import Measured
from lowerbound.inverse import Method
from lowerbound.run import Run
from lowerbound.run.impute import METHODS, NETWORK, Drawing, draws, network_method
from lowerbound.training import Config
from lowerbound.training.folder import RunFolder
from lowerbound.training.gaussians import fit_windows

HISTORY, HORIZON, SPLIT = 96, 24, (8640, 2880, 2880)
SHARES = (0.1, 0.5, 0.9)
NEIGHBOURS = 10
ONLY = "seed 0"
MEASURES = ("CRPS", "CRPS-sum", "MAE", "RMSE", "in 50 %", "in 90 %", "energy")
Draws = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From windows, (N, C, L), and which entries are seen, to draws (N, K, C, L); one draw: a point."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--steps", type=int, help="of training, in the place of minutes")
    parser.add_argument("--densities", action="store_true", help="repeated values have densities too")
    parser.add_argument("--small", action="store_true", help="a network of width 16 with one block at each resolution")
    parser.add_argument("--alone", action="store_true", help="a network that stands upon no Gaussian of windows")
    parser.add_argument("--target", help="what the network predicts; the recipe's if not given")
    parser.add_argument("--objective", help="of training; the recipe's if not given")
    parser.add_argument("--run", type=Path, help="a run that is there, or where it is to be kept")
    parser.add_argument("--covariates", nargs="*", default=("hour", "weekday"), type=str, help="of the calendar")
    parser.add_argument("--draws", type=int, default=100, help="of each window")
    parser.add_argument("--windows", type=int, help="how many test windows; all if not given")
    parser.add_argument("--methods", nargs="+", default=[NETWORK], help=f"{NETWORK}, {', '.join(METHODS)}")
    parser.add_argument("--sampler-steps", type=int, help="noise levels that each draw goes through")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--simple", action="store_true", help="the simple models alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # everything is judged, and simple models are fitted, in standard deviations
        run, steps, dataset = None, "", open_dataset(dataclasses.replace(configured(arguments), densities=True))
        if not arguments.simple:
            run = trained(arguments, arguments.run or Path(folder) / "run")
        indices = dataset.test[::HORIZON]
        if arguments.windows is not None:
            indices = indices[np.linspace(0, len(indices) - 1, arguments.windows).round().astype(int)]
        windows = dataset.encoded(indices).numpy()
        ours = {"Gaussian of windows": gaussian(dataset, arguments.draws)}
        if run is not None:
            steps, bits = run.metadata.get("step", "?"), float(run.metadata.get("held_out_bits_per_dim", "nan"))
            cond = run.open_dataset().cond(indices)
            print(f"step {steps}, {run.num_parameters:,} parameters, held-out bound {bits:.3f} bits/dim")
            for name in arguments.methods:
                draw = drawn_by(run, name, dataset, cond, arguments.draws, arguments.sampler_steps)
                ours[f"diffusion, {name}"] = draw
        print(f"{len(windows)} windows, {arguments.draws} draws")
        settings = {name: getattr(arguments, name) for name in ("draws", "windows", "sampler_steps")}
        kept = (arguments.run or Path(folder)) / "benchmark" / ("simple" if run is None else f"step-{steps}")
        ledger = Ledger(kept, **settings)
        known = np.ones(windows.shape, bool)
        known[..., HISTORY:] = False
        title = f"forecasts of {HORIZON} hours given {HISTORY}"
        table(ledger, title, windows, known, {**forecasters(dataset, arguments.draws), **ours})
        for share in SHARES:
            hidden = np.random.default_rng(0).random(windows.shape) < share
            title = f"imputation, {share:.0%} of the entries hidden"
            table(ledger, title, windows, ~hidden, {**imputers(dataset), **ours})


def configured(arguments: argparse.Namespace) -> DataConfig:
    """The file and its windows."""
    path = str(data_directory() / "etth1.csv")
    cut = {"window": HISTORY, "horizon": HORIZON, "split_steps": SPLIT}
    return DataConfig(path, **cut, covariates=tuple(arguments.covariates), densities=arguments.densities)


def trained(arguments: argparse.Namespace, out: Path) -> Run:
    """The run, trained as far as it is not yet."""
    data = configured(arguments)
    dataset = open_dataset(data)
    if RunFolder(out).exists:  # by its own settings
        config, _ = RunFolder(out).read_config()
    else:
        config = chosen(arguments, recipe(dataset, data, arguments.minutes))
    train(config, dataset, out, device=arguments.device, show_progress=False)
    return open_run(out, arguments.device)


def chosen(arguments: argparse.Namespace, config: Config) -> Config:
    """The recipe, changed as the options say."""
    if arguments.steps is not None:
        training = dataclasses.replace(config.training, minutes=None, steps=arguments.steps)
        config = dataclasses.replace(config, training=training)
    if arguments.small:
        network = dataclasses.replace(config.network, width=16, blocks_per_level=1)
        config = dataclasses.replace(config, network=network)
    if arguments.alone or arguments.target not in (None, "eps"):  # others stand upon nothing
        config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, components=0))
    if arguments.target is not None:
        config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, target=arguments.target))
    if arguments.objective is not None:
        training = dataclasses.replace(config.training, objective=arguments.objective)
        config = dataclasses.replace(config, training=training)
    return config


def table(ledger: Ledger, title: str, windows: np.ndarray, known: np.ndarray, kinds: dict[str, Draws]) -> None:
    """A row for each way to draw what is hidden."""
    for name, draw in kinds.items():
        if not ledger.lacks(title, ONLY, name, DONE):
            continue
        drawn = np.where(known[:, None], windows[:, None], draw(windows, known))
        for measure, figure in figures_of(drawn, windows, known).items():
            ledger.add((title, ONLY, name, measure), figure)
        ledger.add((title, ONLY, name, DONE), Measured(1.0, 0.0))
    figures = {kind: figure for kind, figure in ledger.pooled(title).items() if kind[0] in kinds}
    measures = list(dict.fromkeys(measure for _, measure in sorted(figures, key=lambda kind: MEASURES.index(kind[1]))))
    found = places({name: figures[name, "CRPS"] for name in kinds}, lower_is_better=True)
    cells = {name: [str(figures.get((name, each), "")) for each in measures] + [found[name]] for name in kinds}
    print_table(title, [*measures, "beside the best"], cells)


def figures_of(drawn: np.ndarray, windows: np.ndarray, known: np.ndarray) -> dict[str, Measured]:
    """What draws of what is hidden are worth; of a single one, a point, what there is."""
    num, num_draws = drawn.shape[:2]
    some = ~known.all(1)  # hours of which something is hidden
    summed = Measured.of((crps(drawn.sum(2), windows.sum(1)) * some).sum(1) / np.maximum(1, some.sum(1)))
    flat = [each.reshape(num, *each.shape[1:-2], -1) for each in (drawn, windows, ~known)]
    if num_draws == 1:
        errors = (flat[0][:, 0] - flat[1]).astype(np.float64)
        each = Measured.of((np.abs(errors) * flat[2]).sum(1) / flat[2].sum(1))
        squares = Measured.of((errors**2 * flat[2]).sum(1) / flat[2].sum(1))
        root = Measured(squares.value**0.5, squares.error / (2 * squares.value**0.5))
        return {"CRPS": each, "CRPS-sum": summed, "MAE": each, "RMSE": root}
    found = judge(*flat)
    return {
        "CRPS": found.crps,
        "CRPS-sum": summed,
        "MAE": found.mean_absolute_error,
        "RMSE": found.skill,
        "in 50 %": found.coverage[0],
        "in 90 %": found.coverage[1],
        "energy": found.energy,
    }


def drawn_by(
    run: Run, name: str, dataset: Dataset, cond: torch.Tensor | None, num_draws: int, num_steps: int | None
) -> Draws:
    """Draws of the model by a method, given covariates, in the units of a data set."""
    method: Method = network_method(run) if name == NETWORK else METHODS[name]
    encoding = dataset.spec.encoding

    def draw(windows: np.ndarray, known: np.ndarray) -> np.ndarray:
        raw = encoding.decode(torch.from_numpy(windows))
        found = draws(run, raw, known, Drawing(num_draws, method, num_steps, batch_size=256), cond).samples
        return encoding.encode(found.reshape(-1, *windows.shape[1:])).numpy().reshape(found.shape)

    return draw


def gaussian(dataset: Dataset, num_draws: int) -> Draws:
    """Draws of a Gaussian of windows, fitted as for a network to stand upon, given what is known."""
    mean, covariance = (each.numpy() for each in fit_windows(dataset))
    precision, rng = np.linalg.inv(covariance), np.random.default_rng(0)

    def draw(windows: np.ndarray, known: np.ndarray) -> np.ndarray:
        drawn = np.repeat(windows.reshape(len(windows), 1, -1), num_draws, 1)
        for number, seen in enumerate(known.reshape(len(windows), -1)):
            left = precision[np.ix_(~seen, ~seen)]
            offset = precision[np.ix_(~seen, seen)] @ (drawn[number, 0, seen] - mean[seen])
            factor = np.linalg.cholesky(left)
            noise = np.linalg.solve(factor.T, rng.standard_normal((len(left), num_draws)))
            drawn[number][:, ~seen] = (mean[~seen] - np.linalg.solve(left, offset))[None] + noise.T
        return drawn.reshape(len(windows), num_draws, *windows.shape[1:])

    return draw


def forecasters(dataset: Dataset, num_draws: int) -> dict[str, Draws]:
    """Simple forecasts, in the place of what is hidden."""
    train_windows, validation = (dataset.encoded(dataset.indices(split)).numpy() for split in ("train", "validation"))
    weights = ridge(train_windows, validation, HORIZON)
    points: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "persistence": lambda windows: windows[..., HISTORY - 1 : HISTORY].repeat(HORIZON, 2),
        "seasonal-naive": lambda windows: windows[..., HISTORY - HORIZON : HISTORY],
        "linear": lambda windows: (inputs(windows, HORIZON) @ weights).reshape(len(windows), -1, HORIZON),
    }
    rng, kinds = np.random.default_rng(0), dict[str, Draws]()
    for name, point in points.items():
        wrong = validation[..., HISTORY:] - point(validation)
        flat = wrong.reshape(len(wrong), -1)
        factor = np.linalg.cholesky(np.cov(flat.T) + 1e-6 * np.eye(flat.shape[1])) if name == "linear" else None

        def residuals(shape: tuple[int, ...], wrong=wrong, flat=flat, factor=factor) -> np.ndarray:
            if factor is None:
                return wrong[rng.integers(0, len(wrong), shape)]
            noise = rng.standard_normal((*shape, len(factor))) @ factor.T + flat.mean(0)
            return noise.reshape(*shape, *wrong.shape[1:])

        def alone(windows: np.ndarray, known: np.ndarray, point=point) -> np.ndarray:
            return np.concatenate([windows[..., :HISTORY], point(windows)], 2)[:, None]

        def spread(windows: np.ndarray, known: np.ndarray, point=point, residuals=residuals) -> np.ndarray:
            ahead = point(windows)[:, None] + residuals((len(windows), num_draws))
            return np.concatenate([windows[:, None, :, :HISTORY].repeat(num_draws, 1), ahead], 3).astype(np.float32)

        kinds |= {} if name == "linear" else {name: alone}
        kinds[f"{name} with residuals"] = spread
    return kinds


def imputers(dataset: Dataset) -> dict[str, Draws]:
    """Simple fillings of what is hidden."""
    pool = dataset.encoded(dataset.train[::8]).numpy()
    pool = pool.reshape(len(pool), -1)

    def interpolation(windows: np.ndarray, known: np.ndarray) -> np.ndarray:
        places, filled = np.arange(windows.shape[2]), np.zeros_like(windows)
        for index, channel in np.ndindex(windows.shape[:2]):
            seen = known[index, channel]
            if seen.any():
                filled[index, channel] = np.interp(places, places[seen], windows[index, channel, seen])
        return filled[:, None]

    def neighbours(windows: np.ndarray, known: np.ndarray) -> np.ndarray:
        seen, values = known.reshape(len(windows), -1), windows.reshape(len(windows), -1)
        found = [
            pool[np.argsort((((pool - value) * mask) ** 2).sum(1))[:NEIGHBOURS]]
            for value, mask in zip(values, seen, strict=True)
        ]
        return np.stack(found).reshape(len(windows), NEIGHBOURS, *windows.shape[1:])

    return {
        "mean": lambda windows, known: np.zeros_like(windows)[:, None],
        "linear interpolation": interpolation,
        f"{NEIGHBOURS} nearest windows": neighbours,
    }


if __name__ == "__main__":
    main()
