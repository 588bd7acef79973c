"""The parts of an evaluation about the samples: their quality, copies among them, their classes, other settings."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.evaluate.classes import Classes, classes
from lowerbound.evaluate.features import (
    UPDATES,
    FeatureClassifier,
    Features,
    FeatureSpace,
    feature_classifier,
    feature_space,
)
from lowerbound.evaluate.judge import Judge, SampleQuality, draw
from lowerbound.evaluate.part import Cost, Figures, Part, Progress
from lowerbound.evaluate.samples import Drawn, Neighbours, neighbours
from lowerbound.evaluate.subject import Subject
from lowerbound.evaluate.trade_off import (
    TradeOff,
    Trial,
    draw_calls,
    draw_scales,
    num_steps,
    trade_off,
    trials_of_calls,
    trials_of_scales,
)
from lowerbound.pictures import denoising_strip, sample_grid
from lowerbound.run.generate import path
from lowerbound.sampling.plan import DEFAULT_SAMPLER, DEFAULT_STEPS

SHOWN = 64
MAX_REFERENCES = 20_000
"""Training examples that the nearest is sought among."""
LEAST_SHOWN, LEAST_STEPS = 4, 4


@dataclass(frozen=True, eq=False)
class SampleParts:
    """The parts about samples, and what several of them need."""

    subject: Subject

    def __iter__(self) -> Iterator[Part]:
        """Those that are asked for."""
        run, settings = self.subject.run, self.subject.settings
        if not self.subject.own:
            return
        yield self._samples()
        if settings.quick:
            return
        yield self._features()
        yield self._quality()
        yield self._distances()
        if self.subject.dataset.labels is not None:
            yield self._classes()
        if run.is_denoiser:
            yield self._path()
            if settings.calls:
                yield self._calls()
            if settings.scales:
                yield self._guidance()

    @cached_property
    def encoded(self) -> Tensor:
        """The samples that were drawn, as the model has them."""
        try:
            samples = np.load(self.subject.folder / "samples.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"there are no samples to look at: {error}") from error
        return self.subject.dataset.spec.encoding.encode(samples)

    @cached_property
    def encoded_test(self) -> Tensor:
        """Test examples, as the model has them."""
        return self.subject.dataset.encoded(self.subject.dataset.test[:MAX_REFERENCES])

    @cached_property
    def classifier(self) -> FeatureClassifier | None:
        """Of the data, if they have labels."""
        return feature_classifier(self.subject.dataset, self.subject.run.folder.path)

    @cached_property
    def space(self) -> FeatureSpace:
        """In which samples are compared with the data."""
        return feature_space(self.subject.dataset, self.classifier)

    @cached_property
    def judge(self) -> Judge:
        """What samples are compared with."""
        settings = self.subject.settings
        return Judge.of(self.subject.dataset, self.space, settings.num_samples, settings.seed)

    @property
    def _settings(self) -> dict[str, object]:
        """What all that is said of samples depends on."""
        return {"num": self.subject.settings.num_samples, "seed": self.subject.settings.seed}

    @property
    def _sampler(self) -> str:
        """What draws the samples, by name."""
        run = self.subject.run
        if not run.is_denoiser:
            return run.config.model.name
        return DEFAULT_SAMPLER if run.diffusion.times is None else "ddim"

    def _samples(self) -> Part:
        subject = self.subject
        run, dataset, seed, num = subject.run, subject.dataset, subject.settings.seed, subject.settings.num_samples
        plan = run.model.plan()
        if subject.settings.quick and plan is None:
            num = SHOWN
        elif subject.settings.quick and plan is not None:
            num = max(LEAST_SHOWN, min(SHOWN, int(subject.affordable / plan.num_calls)))
            if num == LEAST_SHOWN and run.diffusion.times is None:
                steps = int(subject.affordable / num)
                plan = run.diffusion.plan(num_steps=max(LEAST_STEPS, min(DEFAULT_STEPS, steps)))
        calls = None if plan is None else plan.num_calls

        def compute(drawn: Path, progress: Progress) -> Drawn:
            began = time.perf_counter()
            samples, took = draw(run, dataset, num, plan, seed=seed, progress=progress)
            seconds = (time.perf_counter() - began) / num
            np.save(drawn / "samples.npy", samples)
            extremes, data = dataset.spec.encoding.value_range, dataset.examples
            many = len(samples) if len(dataset.shape) == 1 else SHOWN
            sample_grid(drawn / "samples.png", samples[:many], extremes, data=data[dataset.test[:many]])
            if len(dataset.shape) > 1:
                sample_grid(drawn / "data.png", data[dataset.test[:SHOWN]], extremes)
            return Drawn(num, self._sampler, took, seconds)

        return Part(
            "samples",
            "samples",
            Cost(f"{num:,} samples{'' if calls is None else f', {calls} calls each'}", num * (calls or 0)),
            compute,
            num_steps(run, plan, num),
            {"num": num, "calls": calls, "seed": seed},
            ("samples.png", "data.png", "samples.npy"),
        )

    def _features(self) -> Part:
        dataset = self.subject.dataset

        def compute(drawn: Path, progress: Progress) -> Features:
            feature_classifier(dataset, self.subject.run.folder.path, progress)
            return Features(str(self.space))

        labels = "a classifier of the data, trained once" if dataset.labels is not None else "principal components"
        return Part(
            "features",
            "features that samples are compared in",
            Cost(labels),
            compute,
            UPDATES,
            missing=self.subject.incomparable,
        )

    def _quality(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> SampleQuality:
            plan = self.subject.run.model.plan()
            return SampleQuality(
                samples=self.judge.quality(self.encoded),
                held_out=self.judge.floor(),
                space=str(self.space),
                sampler=self._sampler,
                num_calls=None if plan is None else plan.num_calls,
            )

        cost = Cost(f"{self.subject.settings.num_samples:,} samples against training examples, six figures")
        return Part(
            "quality",
            "samples beside held-out data",
            cost,
            compute,
            settings=self._settings,
            missing=self.subject.incomparable,
        )

    def _distances(self) -> Part:
        def compute(drawn: Path, progress: Progress) -> Neighbours:
            train = self.subject.dataset.encoded(self.subject.dataset.train[:MAX_REFERENCES])
            flat = (values.flatten(1).numpy() for values in (self.encoded, self.encoded_test, train))
            return neighbours(*flat, seed=self.subject.settings.seed)

        cost = Cost(f"{self.subject.settings.num_samples:,} samples, each beside every training example")
        return Part(
            "distances", "copies and variety", cost, compute, settings=self._settings, missing=self.subject.incomparable
        )

    def _classes(self) -> Part:
        dataset = self.subject.dataset

        def compute(drawn: Path, progress: Progress) -> Classes:
            if self.classifier is None:
                raise InputError("the training examples are of one class")
            assert dataset.labels is not None
            return classes(
                self.classifier.probabilities(self.encoded).numpy(),
                self.classifier.probabilities(self.encoded_test).numpy(),
                dataset.labels[dataset.test[:MAX_REFERENCES]],
                dataset.labels[dataset.train],
                dataset.spec.class_names,
                self.subject.settings.seed,
            )

        cost = Cost(f"a look at {self.subject.settings.num_samples:,} samples by the data's classifier")
        return Part(
            "classes",
            "classes of the samples",
            cost,
            compute,
            settings=self._settings,
            missing=self.subject.incomparable,
        )

    def _path(self) -> Part:
        run, dataset, settings = self.subject.run, self.subject.dataset, self.subject.settings
        num, plan = settings.num_samples if len(dataset.shape) == 1 else 4, run.diffusion.plan()

        def compute(drawn: Path, progress: Progress) -> Figures:
            states = path(run, num, seed=settings.seed, progress=progress)
            denoising_strip(drawn / "path.png", states, dataset.spec.encoding.value_range)
            return Figures()

        return Part(
            "path",
            "the way from noise to data",
            Cost(f"{num:,} samples, {plan.num_calls} calls each", num * plan.num_calls),
            compute,
            len(plan.times) + 1,
            {"num": num, "seed": settings.seed},
            ("path.png",),
        )

    def _calls(self) -> Part:
        run, settings = self.subject.run, self.subject.settings
        chosen = dict(settings.samplers) or {DEFAULT_SAMPLER: run.diffusion.plan().sampler}
        trials = trials_of_calls(run, chosen, settings.calls)
        asked = {"samplers": {name: repr(sampler) for name, sampler in chosen.items()}, "calls": settings.calls}
        return self._trade_off("calls", "quality against network calls", "settings", trials, asked, draw_calls)

    def _guidance(self) -> Part:
        trials = trials_of_scales(self.subject.run, self.subject.settings.scales)
        title, asked = "fidelity and variety by scale of guidance", {"scales": self.subject.settings.scales}
        return self._trade_off("guidance", title, "scales", trials, asked, draw_scales)

    def _trade_off(
        self,
        name: str,
        title: str,
        unit: str,
        trials: Sequence[Trial],
        asked: Mapping[str, object],
        picture: Callable[[Path, TradeOff], Path],
    ) -> Part:
        """The quality at several settings, and its picture."""
        run, num = self.subject.run, self.subject.settings.num_samples

        def compute(drawn: Path, progress: Progress) -> TradeOff:
            found = trade_off(run, self.judge, trials, num, progress)
            picture(drawn / f"{name}.png", found)
            return found

        calls = sum(trial.plan.num_calls * (1 if trial.denoiser is None else 2) for trial in trials)
        return Part(
            name,
            title,
            Cost(f"{len(trials)} {unit}, {num:,} samples each", num * calls),
            compute,
            sum(num_steps(run, trial.plan, num) for trial in trials),
            {**self._settings, **asked},
            (f"{name}.png",),
            missing=self.subject.incomparable,
        )
