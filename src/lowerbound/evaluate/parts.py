"""The parts of an evaluation: the most important and the cheapest first."""

import dataclasses
import math
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.classes import Classes, classes
from lowerbound.evaluate.density import REFINED, held_out_density, num_flow_examples
from lowerbound.evaluate.diagnosis import Diagnosis, diagnose
from lowerbound.evaluate.features import (
    UPDATES,
    FeatureClassifier,
    Features,
    FeatureSpace,
    feature_classifier,
    feature_space,
)
from lowerbound.evaluate.judge import Judge, SampleQuality, draw
from lowerbound.evaluate.likelihood import Likelihood, completed, held_out_likelihood
from lowerbound.evaluate.part import Cost, Figures, Pace, Part, Progress
from lowerbound.evaluate.profile import profile
from lowerbound.evaluate.samples import Drawn, Neighbours, neighbours
from lowerbound.evaluate.settings import Settings
from lowerbound.evaluate.trade_off import (
    TradeOff,
    by_calls,
    by_scale,
    draw_calls,
    draw_scales,
    num_steps,
    plans_of_calls,
)
from lowerbound.evaluate.yardsticks import held_out_baselines
from lowerbound.guidance import ClassifierFree
from lowerbound.pictures import bound_by_time, denoising_strip, sample_grid, training_curve
from lowerbound.run import Run
from lowerbound.run.generate import path
from lowerbound.run.history import training_columns
from lowerbound.samplers.plan import DEFAULT_SAMPLER, DEFAULT_STEPS
from lowerbound.score import score

SHOWN = 64
INTERVALS = 24
MAX_REFERENCES = 20_000
"""Training examples that the nearest is sought among."""
FLOW_CALLS = 200
"""About how many calls an example takes along the flow, each with a derivative: a guess, before it is known."""
QUICK_SECONDS = 15.0
"""For bits/dim, and again for the picture, where only a quick look is asked for."""
QUICK_TIMES = 16
"""Calls for each example of a quick bound, before more examples are taken than calls."""
LEAST_SHOWN, LEAST_STEPS = 4, 4


class Parts:
    """The parts of an evaluation of a run, and what several of them need.

    Arguments:
        run: the model.
        dataset: what it is evaluated on.
        settings: what is asked for.
        folder: of the evaluation, where the samples lie once they are drawn.
        own: whether the data are the run's own; of others only bits/dim can be told.
        pace: of the network, measured.
    """

    def __init__(self, run: Run, dataset: Dataset, settings: Settings, folder: Path, own: bool, pace: Pace) -> None:
        self.run, self.dataset, self.settings = run, dataset, settings
        self.folder, self.own, self.pace = folder, own, pace

    def __iter__(self) -> Iterator[Part]:
        """In the order in which they are found."""
        run, settings = self.run, self.settings
        yield self._likelihood()
        if self.own:
            yield self._samples()
        if self.own and not settings.quick:
            if settings.with_baselines:
                yield self._baselines()
            yield self._training()
            if run.is_denoiser:
                yield self._diagnosis()
            yield self._features()
            yield self._quality()
            yield self._distances()
            if self.dataset.labels is not None:
                yield self._classes()
            if run.is_denoiser:
                yield self._path()
        if run.is_denoiser and not settings.quick:
            if settings.num_flow != 0:
                yield self._density()
            if self.own and settings.calls:
                yield self._calls()
            if self.own and settings.scales:
                yield self._guidance()

    # what is known of the likelihood

    def _likelihood(self) -> Part:
        run, settings, indices, of = self.run, self.settings, *self._examples()
        effort = completed(run, self.dataset, len(indices), settings.effort)
        if settings.quick and settings.effort.num_draws is None and effort.num_draws is not None:
            most = int(self._affordable / len(indices))
            effort = dataclasses.replace(effort, num_draws=max(1, min(effort.num_draws, most)))
        each = (effort.num_draws or 1) if run.is_denoiser else effort.importance
        calls = f", {each:,} calls each" if run.is_denoiser else ""
        weighted = f", {each:,} importance samples" if effort.importance > 1 and not run.is_denoiser else ""

        def compute(drawn: Path, progress: Progress) -> Likelihood:
            given = {"seed": settings.seed, "progress": progress}
            return dataclasses.replace(held_out_likelihood(run, self.dataset, indices, effort, **given), of=of)

        return Part(
            "likelihood",
            "bits/dim of the bound" if run.is_denoiser else "bits/dim",
            Cost(f"{len(indices):,} examples{calls}{weighted}", len(indices) * each),
            compute,
            len(indices) * (1 + (effort.importance > 1)),
            {"examples": len(indices), "of": of, "effort": dataclasses.asdict(effort), "seed": settings.seed},
            missing=run.model.no_likelihood,
        )

    def _examples(self) -> tuple[np.ndarray, str]:
        """The test examples whose bits/dim are told, and what they were drawn from, in words."""
        indices = self.dataset.test[: self.settings.num_examples]
        if not self.settings.quick:
            return indices, ""
        num = max(8, int(self._affordable / QUICK_TIMES))
        if num >= len(indices):
            return indices, ""
        chosen = np.random.default_rng(self.settings.seed).permutation(indices)[:num]
        return np.sort(chosen), f" drawn from {len(indices):,}"

    @property
    def _incomplete(self) -> str | None:
        """Why samples, which are complete, can't be compared with the data; None if they can."""
        if not self.dataset.spec.has_missing:
            return None
        return f"samples are complete, and entries of {self.dataset.spec.name} are missing: the two can't be compared"

    @property
    def _affordable(self) -> float:
        """Network calls for one example each that a quick look has time for."""
        return QUICK_SECONDS / self.pace.per_call if self.pace.known else 256.0

    def _baselines(self) -> Part:
        num = self.settings.num_examples
        fitted = f"{len(self.dataset.train):,} training examples of {math.prod(self.dataset.shape):,} numbers"
        return Part(
            "baselines",
            "bits/dim of simple models",
            Cost(f"fits to {fitted}"),
            lambda drawn, progress: held_out_baselines(self.dataset, num),
            settings={"examples": num},
        )

    def _density(self) -> Part:
        run, settings = self.run, self.settings
        # the bound beside the flow has a number of draws of its own, and the flow its own importance samples
        effort = dataclasses.replace(settings.effort, num_draws=None, importance=1)
        num = settings.num_flow
        if num is None:
            num = min(num_flow_examples(self.dataset), len(self.dataset.test[: settings.num_examples]))
        num = len(self.dataset.test[:num])
        return Part(
            "density",
            "bits/dim along the probability flow",
            Cost(
                f"{num:,} examples, some {FLOW_CALLS} calls each with a derivative",
                3 * FLOW_CALLS * (num + 2 * min(num, REFINED)),
                at_least=True,
            ),
            lambda drawn, progress: held_out_density(
                run,
                self.dataset,
                settings.flow,
                num_examples=num,
                effort=effort,
                seed=settings.seed,
                progress=progress,
            ),
            num,
            {
                "examples": num,
                "flow": dataclasses.asdict(settings.flow),
                "effort": dataclasses.asdict(effort),
                "seed": settings.seed,
            },
            missing=run.model.no_likelihood,
        )

    # what is known of the samples

    def _samples(self) -> Part:
        run, settings, num = self.run, self.settings, self.settings.num_samples
        plan = run.model.plan()
        if settings.quick and plan is None:
            num = SHOWN
        elif settings.quick and plan is not None:
            num = max(LEAST_SHOWN, min(SHOWN, int(self._affordable / plan.num_calls)))
            if num == LEAST_SHOWN and run.diffusion.times is None:
                steps = int(self._affordable / num)
                plan = run.diffusion.plan(num_steps=max(LEAST_STEPS, min(DEFAULT_STEPS, steps)))
        calls = None if plan is None else plan.num_calls

        def compute(drawn: Path, progress: Progress) -> Drawn:
            began = time.perf_counter()
            samples, took = draw(run, self.dataset, num, plan, seed=settings.seed, progress=progress)
            seconds = (time.perf_counter() - began) / num
            np.save(drawn / "samples.npy", samples)
            extremes, data = self.dataset.spec.encoding.value_range, self.dataset.examples
            many = len(samples) if len(self.dataset.shape) == 1 else SHOWN
            sample_grid(drawn / "samples.png", samples[:many], extremes, data=data[self.dataset.test[:many]])
            if len(self.dataset.shape) > 1:
                sample_grid(drawn / "data.png", data[self.dataset.test[:SHOWN]], extremes)
            return Drawn(num, self._sampler, took, seconds)

        return Part(
            "samples",
            "samples",
            Cost(f"{num:,} samples{'' if calls is None else f', {calls} calls each'}", num * (calls or 0)),
            compute,
            num_steps(run, plan, num),
            {"num": num, "calls": calls, "seed": settings.seed},
            {"samples.png": "Samples", "data.png": "Held-out data, for comparison", "samples.npy": None},
        )

    @property
    def _sampler(self) -> str:
        """What draws the samples, by name."""
        if not self.run.is_denoiser:
            return self.run.config.model.name
        return DEFAULT_SAMPLER if self.run.diffusion.times is None else "ddim"

    @cached_property
    def samples(self) -> np.ndarray:
        """Those that were drawn, as they are stored."""
        try:
            return np.load(self.folder / "samples.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"there are no samples to look at: {error}") from error

    @cached_property
    def classifier(self) -> FeatureClassifier | None:
        """Of the data, if they have labels."""
        return feature_classifier(self.dataset, self.run.folder.path)

    @cached_property
    def space(self) -> FeatureSpace:
        """In which samples are compared with the data."""
        return feature_space(self.dataset, self.classifier)

    @cached_property
    def judge(self) -> Judge:
        """What samples are compared with."""
        return Judge.of(self.dataset, self.space, self.settings.num_samples, self.settings.seed)

    @property
    def _sampled(self) -> dict[str, object]:
        """The settings that whatever is said of samples depends on."""
        return {"num": self.settings.num_samples, "seed": self.settings.seed}

    def _features(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> Features:
            feature_classifier(self.dataset, self.run.folder.path, progress)
            return Features(str(self.space))

        labels = "a classifier of the data, trained once" if self.dataset.labels is not None else "principal components"
        return Part(
            "features",
            "features that samples are compared in",
            Cost(labels),
            compute,
            UPDATES,
            missing=self._incomplete,
        )

    def _quality(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> SampleQuality:
            plan = self.run.model.plan()
            return SampleQuality(
                samples=self.judge.quality(self.samples),
                held_out=self.judge.floor(),
                space=str(self.space),
                sampler=self._sampler,
                num_calls=None if plan is None else plan.num_calls,
            )

        cost = Cost(f"{self.settings.num_samples:,} samples against training examples, six figures")
        return Part(
            "quality",
            "samples beside held-out data",
            cost,
            compute,
            settings=self._sampled,
            missing=self._incomplete,
        )

    def _distances(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> Neighbours:
            dataset = self.dataset
            samples, held_out, train = (
                values.flatten(1).numpy()
                for values in (
                    dataset.spec.encoding.encode(self.samples),
                    dataset.encoded(dataset.test[:MAX_REFERENCES]),
                    dataset.encoded(dataset.train[:MAX_REFERENCES]),
                )
            )
            return neighbours(samples, held_out, train, self.settings.seed)

        cost = Cost(f"{self.settings.num_samples:,} samples, each beside every training example")
        return Part("distances", "copies and variety", cost, compute, settings=self._sampled, missing=self._incomplete)

    def _classes(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> Classes:
            if self.classifier is None:
                raise InputError("the training examples are of one class")
            dataset, test = self.dataset, self.dataset.test[:MAX_REFERENCES]
            assert dataset.labels is not None
            on_samples, on_held_out = (
                self.classifier.probabilities(values).numpy()
                for values in (dataset.spec.encoding.encode(self.samples), dataset.encoded(test))
            )
            return classes(
                on_samples,
                on_held_out,
                dataset.labels[test],
                dataset.labels[dataset.train],
                dataset.spec.class_names,
                self.settings.seed,
            )

        cost = Cost(f"a look at {self.settings.num_samples:,} samples by the data's classifier")
        return Part(
            "classes", "classes of the samples", cost, compute, settings=self._sampled, missing=self._incomplete
        )

    # what is known of the training and the denoiser

    def _training(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> Figures:
            training_curve(drawn / "training.png", **training_columns(self.run))
            return Figures()

        pictures = {"training.png": "Training and held-out bits per dimension"}
        return Part("training", "how the training went", Cost("its log"), compute, files=pictures)

    def _diagnosis(self) -> Part:
        run, num = self.run, min(256, len(self.dataset.validation))

        def compute(drawn: Path, progress: Progress) -> Diagnosis:
            found = profile(
                run, self.dataset, split="validation", num_bins=INTERVALS, seed=self.settings.seed, progress=progress
            )
            bound_by_time(drawn / "bound.png", found.gamma, found.bits, found.errors)
            return diagnose(run, self.dataset, found)

        return Part(
            "diagnosis",
            "diagnosis of noise levels and denoiser",
            Cost(f"{num:,} validation examples, {INTERVALS} calls each", num * INTERVALS),
            compute,
            INTERVALS,
            {"seed": self.settings.seed},
            {"bound.png": "Where the bound's diffusion term comes from (validation examples)"},
            missing=run.model.no_likelihood,
        )

    def _path(self) -> Part:
        run, num = self.run, self.settings.num_samples if len(self.dataset.shape) == 1 else 4
        plan = run.diffusion.plan()

        def compute(drawn: Path, progress: Progress) -> Figures:
            states = path(run, num, seed=self.settings.seed, progress=progress)
            denoising_strip(drawn / "path.png", states, self.dataset.spec.encoding.value_range)
            return Figures()

        return Part(
            "path",
            "the way from noise to data",
            Cost(f"{num:,} samples, {plan.num_calls} calls each", num * plan.num_calls),
            compute,
            len(plan.times) + 1,
            {"num": num, "seed": self.settings.seed},
            {"path.png": "From noise to data"},
        )

    # what other settings give

    def _calls(self) -> Part:
        run, settings = self.run, self.settings
        chosen = dict(settings.samplers) or {DEFAULT_SAMPLER: run.diffusion.plan().sampler}
        plans = [plan for _, plan in plans_of_calls(run, chosen, settings.calls)]

        def compute(drawn: Path, progress: Progress) -> TradeOff:
            points = by_calls(
                run,
                self.judge,
                chosen,
                settings.calls,
                num_samples=settings.num_samples,
                seed=settings.seed,
                progress=progress,
            )
            found = TradeOff(tuple(points), self.judge.floor())
            draw_calls(drawn / "calls.png", found.points, found.floor)
            return found

        return Part(
            "calls",
            "quality against network calls",
            Cost(
                f"{len(plans)} settings, {settings.num_samples:,} samples each",
                settings.num_samples * sum(plan.num_calls for plan in plans),
            ),
            compute,
            sum(num_steps(run, plan, settings.num_samples) for plan in plans),
            {
                **self._sampled,
                "samplers": {name: repr(sampler) for name, sampler in chosen.items()},
                "calls": settings.calls,
            },
            {"calls.png": "Quality against network calls"},
            missing=self._incomplete,
        )

    def _guidance(self) -> Part:
        run, settings, plan = self.run, self.settings, self.run.diffusion.plan()

        def compute(drawn: Path, progress: Progress) -> TradeOff:
            points = by_scale(
                run,
                self.judge,
                lambda scale: ClassifierFree(run.denoiser, scale),
                settings.scales,
                sampler=DEFAULT_SAMPLER,
                plan=plan,
                num_samples=settings.num_samples,
                seed=settings.seed,
                progress=progress,
            )
            found = TradeOff(tuple(points), self.judge.floor())
            draw_scales(drawn / "guidance.png", found.points, found.floor)
            return found

        return Part(
            "guidance",
            "fidelity and variety by scale of guidance",
            Cost(
                f"{len(set(settings.scales))} scales, {settings.num_samples:,} samples each",
                2 * len(set(settings.scales)) * settings.num_samples * plan.num_calls,
            ),
            compute,
            len(set(settings.scales)) * num_steps(run, plan, settings.num_samples),
            {**self._sampled, "scales": settings.scales},
            {"guidance.png": "Fidelity and variety by scale of guidance"},
            missing=self._incomplete,
        )


def probe(run: Run, dataset: Dataset, settings: Settings, pace: Pace) -> None:
    """Measure how fast the network is, on a few test examples; it also finds out settings that the run can't have.

    Raises:
        InputError: for such settings.
    """
    if run.model.likelihood == "none":
        return
    if run.is_denoiser:
        settings.flow.dequantizer_of(run)
    importance = 1 if run.is_denoiser else settings.effort.importance
    effort = dataclasses.replace(settings.effort, num_draws=1, importance=importance)

    def calls(num: int) -> float:
        which = np.resize(dataset.test, num)
        score(run, dataset.examples[which], effort, numbers=which)
        return float(num * importance)

    pace.probe(calls)
