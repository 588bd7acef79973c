"""A stretch of a model's training: held-out bits/dim, samples, which weights are kept, and what is done about divergence."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowerbound.baselines import Baseline, weakness, yardstick
from lowerbound.files.weights import weights_file
from lowerbound.files.whole import replacing, write_file
from lowerbound.likelihood import mean_and_error
from lowerbound.machine.device import peak_memory
from lowerbound.machine.processor import process_memory
from lowerbound.rng import PerSample
from lowerbound.training.allowance import Allowance
from lowerbound.training.checkpoint import checkpoints, step_of
from lowerbound.training.config import NUM_EVALUATIONS, NUM_PICTURES
from lowerbound.training.divergence import check_sound
from lowerbound.training.folder import RunFolder
from lowerbound.training.held_out import figures, fixed_nats, held_out_by_example, held_out_effort, held_out_text
from lowerbound.training.resume import by_whom, restore
from lowerbound.training.stretch import Stretch
from lowerbound.training.trackers import Tracker
from lowerbound.training.trainer import TRAINING_SHARE, Trainer
from lowerbound.training.training import DivergenceError, Record

MOST_SKIPPED = 10
"""Batches in a row that may be left out because their loss is not finite."""
MOST_ROLL_BACKS = 3
ROLL_BACK_RATE = 0.5
"""The learning rate after going back to a checkpoint, as a multiple of that before."""
EARLY = 1 / 8
"""The share of the run after which the first averaged weights are kept for good, as a weaker model of the same kind."""
PICTURE_SAMPLES = 36
PICTURE_POINTS = 2000
FEWEST_EVALUATIONS = 5
"""So many times at least a timed run measures held-out bits, of as many examples as can be."""
FEWEST_HELD_OUT = 64
FEWEST_STEPS = 300
"""Below so many steps little is learned."""
SECONDS_TO_JUDGE = 3.0
"""After so much training it is known how many steps fit into a timed run."""


class Session(Stretch[Trainer]):
    """A stretch of a model's training, with held-out bits/dim, samples, and what is done about divergence."""

    def __init__(
        self,
        trainer: Trainer,
        folder: RunFolder,
        say: Callable[[str], None],
        show_progress: bool,
        tracker: Tracker | None = None,
    ):
        super().__init__(trainer, folder, say, show_progress, tracker)
        self.fixed_loss = self._fixed_bits()
        records = self.processes.by_first(folder.read_log)
        measured = [record for record in records if "held_out_bits_per_dim" in record]
        self.best = min((record["held_out_bits_per_dim"] for record in measured), default=math.inf)
        # the same examples as long as the run lasts; None: not chosen yet
        self.num_held_out: int | None = measured[0].get("num_examples") if measured else None
        self.yardstick: Baseline | None = None
        minutes = trainer.training.minutes
        self.allowance = Allowance(None if minutes is None else 60 * minutes * (1 - TRAINING_SHARE))
        self.roll_backs = 0

    def follow(self) -> None:
        trainer, training, most = self.trainer, self.trainer.training, self._most_held_out
        # where the training ends by what was measured, it is measured as often as can be
        num_calls = 0 if training.patience else self._held_out_calls * most
        num_evaluations = self._as_often(training.num_evaluations, NUM_EVALUATIONS, num_calls)
        num_pictures = self._as_often(training.num_pictures, NUM_PICTURES, self._picture_calls)
        self.evaluations = _Milestones(num_evaluations, trainer.progress)
        self.pictures = _Milestones(num_pictures, trainer.progress)
        self.first, self.began, self.judged, self.advised = trainer.step, trainer.seconds, False, False
        if trainer.step == 0 and trainer.mixture is not None and self.best == math.inf:
            # the mixture alone may be what suits held-out examples best
            self.num_held_out = most
            self.measure()
        super().follow()

    def records(self) -> Iterator[Record]:
        """One record per step, without the steps whose batches are left out."""
        num_skipped = 0
        while self.trainer.progress < 1:
            try:
                for record in self.trainer.records():
                    num_skipped = 0
                    self._advise()
                    yield record
            except DivergenceError as error:
                num_skipped += 1
                if self.trainer.training.on_divergence != "skip" or num_skipped > MOST_SKIPPED:
                    raise
                self._leave_out(error)

    def _leave_out(self, error: DivergenceError) -> None:
        """Go on with the batch after the next, if the weights are not what is bad."""
        try:
            self.sound_loss = check_sound(self.trainer, self.sound_loss)
        except DivergenceError as cause:
            raise DivergenceError(f"{error}; {cause}") from error
        self.trainer.step += 1
        warnings.warn(f"{error}: left out", stacklevel=2)
        self.note(left_out=str(error))

    def recover(self, error: DivergenceError) -> None:
        """Go back to the newest checkpoint and train on at half the rate, if that is wanted and not done too often yet."""
        before, training = self.trainer, self.trainer.training
        saved = self.processes.by_first(lambda: checkpoints(self.folder.checkpoints))
        if training.on_divergence != "roll-back" or self.roll_backs == MOST_ROLL_BACKS or not saved:
            raise DivergenceError(f"{error}. {self._advice(saved)}") from error
        self.roll_backs += 1
        # a new one: in the old one's optimiser something would stay of what diverged
        self.trainer = Trainer(before.config, before.dataset, before.device, self.processes)
        by_whom(self.trainer, lambda: restore(self.trainer, saved[-1]))
        self.trainer.share()
        self.trainer.rate_scale = before.rate_scale * ROLL_BACK_RATE
        self.sound_loss = check_sound(self.trainer)
        message = (
            f"{error}. Going back to step {self.trainer.step}, and on with a learning rate of "
            f"{self.trainer.rate_scale * training.learning_rate:g}"
        )
        self.say(message)
        with self.open_log() as self.log:
            self.note(rolled_back=message)

    def _advice(self, saved: list[Path]) -> str:
        """What to do about a run that has diverged."""
        rate = f"a smaller --learning-rate (now {self.trainer.training.learning_rate * self.trainer.rate_scale:g})"
        if not saved:
            return f"Repeat the command with {rate}"
        return (
            f"The checkpoint {saved[-1].name} is kept: repeat the command with {rate} to go on from step "
            f"{step_of(saved[-1])}, or with --on-divergence skip or roll-back"
        )

    @property
    def _seconds_per_example(self) -> float:
        """What training on an example has cost in this stretch."""
        num_steps = max(1, self.trainer.step - self.first)
        return (self.trainer.seconds - self.began) / (num_steps * self.trainer.training.batch_size)

    def _forward_seconds(self, num_calls: int) -> float:
        """About what network calls for so many examples cost: a step goes forward, and back at twice the cost."""
        return num_calls * self._seconds_per_example / 3

    @property
    def _most_held_out(self) -> int:
        """As many held-out examples as say enough, or as there are."""
        return min(self.trainer.model.most_held_out, len(self.trainer.dataset.validation))

    @property
    def _held_out_calls(self) -> int:
        """The network calls that a held-out example takes."""
        return held_out_effort(self.trainer.model, self.trainer.dataset).num_draws or 1

    @property
    def _picture_calls(self) -> int:
        """The network calls that a picture of samples takes."""
        plan = self.trainer.model.plan()
        return self._picture_samples * (1 if plan is None else plan.num_calls)

    @property
    def _picture_samples(self) -> int:
        return PICTURE_SAMPLES if len(self.trainer.dataset.shape) > 1 else PICTURE_POINTS

    def _as_often(self, number: int | None, usual: int, num_calls: int) -> int:
        """How often something is done along the way.

        Of a timed run the allowance decides besides. In a run of given steps no clock may, so that it is the same wherever
        it is interrupted and resumed: network calls do, of which a step takes three for each of its examples.

        Arguments:
            number: as often as was asked for; None: as often as usual, if that keeps to its share.
            usual: how often that is.
            num_calls: network calls that it takes each time.
        """
        training = self.trainer.training
        if number is not None:
            return number
        if training.steps is None or not num_calls:
            return usual
        share = (1 - TRAINING_SHARE) * 3 * training.steps * training.batch_size
        return max(1, min(usual, int(share / num_calls)))

    def is_due(self) -> bool:
        """Whether held-out bits are measured now; before the first time it is chosen of how many examples."""
        if not self.evaluations.due(self.trainer.progress):
            return False
        most = self._most_held_out
        seconds = self._forward_seconds(self._held_out_calls)
        if self.num_held_out is None:
            self.num_held_out = most
            if self.allowance.seconds is not None:
                affordable = int(self.allowance.seconds / FEWEST_EVALUATIONS / seconds)
                self.num_held_out = min(most, max(FEWEST_HELD_OUT, affordable))
        return self.allowance.affords("held-out bits", self.num_held_out * seconds, self.trainer.progress)

    def _advise(self) -> None:
        """Say once, when it is known what a step costs, if too few fit into the minutes."""
        trainer, minutes = self.trainer, self.trainer.training.minutes
        if self.judged or minutes is None or trainer.seconds - self.began <= SECONDS_TO_JUDGE or trainer.progress >= 1:
            return
        self.judged = True
        seconds_per_step = self._seconds_per_example * trainer.training.batch_size
        expected = round(trainer.step + (60 * minutes * TRAINING_SHARE - trainer.seconds) / seconds_per_step)
        if expected < FEWEST_STEPS:
            self.advised = True
            self.say(self._too_few(f"about {expected} steps fit", expected, minutes))

    def _too_few(self, found: str, num_steps: int, minutes: float) -> str:
        """What to do where so few steps fit into the minutes."""
        enough = minutes * FEWEST_STEPS / max(1, num_steps)
        return (
            f"{found} into {minutes:g} minutes here, too few to learn much: give --minutes {enough:.2g} or more, a smaller "
            "--network.width, or a smaller --batch-size"
        )

    def closing(self) -> list[str]:
        """What is to be known of a training that has ended: which weights are kept, and what it lacks."""
        trainer, minutes = self.trainer, self.trainer.training.minutes
        kept = self.early_end() if self.stops_early else self.kept()
        weak = weakness(self.folder.read_metadata())
        weak = weak and f"{weak}: give more {trainer.training.length_option}"
        few = None
        if minutes is not None and trainer.step < FEWEST_STEPS and not (self.advised or self.stops_early):
            few = self._too_few(f"only {trainer.step} step{'s'[: trainer.step > 1]} fitted", trainer.step, minutes)
        return [sentence for sentence in (kept, weak, few) if sentence]

    def early_end(self) -> str:
        """Why a run has stopped early, what is kept, and what it lacks."""
        trainer = self.trainer
        assert trainer.patience is not None
        kept, peak = self.folder.read_metadata().get("step"), trainer.training.learning_rate
        advice = f": it falls to zero in a run of --steps {kept}" if kept not in (None, "0") else ""
        return (
            f"stopped early at step {trainer.step}: {trainer.patience.reason}; the averaged weights of step {kept} are "
            f"kept. The learning rate stood at {trainer.rate() / peak:.0%} of its peak{advice}"
        )

    def kept(self) -> str | None:
        """Which step's weights are kept, where they are not the last one's."""
        step = self.folder.read_metadata().get("step")
        if step in (None, str(self.trainer.step)):
            return None
        return (
            f"the averaged weights of step {step} are kept: held-out bits/dim were lowest there, not at the last step, "
            f"{self.trainer.step}"
        )

    def _fixed_bits(self) -> float:
        """What makes the loss the bound in the data's units, bits/dim: constants, estimated on training data once."""
        trainer, dataset = self.trainer, self.trainer.dataset
        if not trainer.model.is_bound:
            return 0.0
        num_dims = float(dataset.num_observed[dataset.train].mean())
        return fixed_nats(trainer.model, dataset) / (num_dims * math.log(2))

    def describe(self, loss: float) -> str:
        trainer = self.trainer
        minutes, seconds = divmod(round(max(0.0, trainer.seconds * (1 / max(trainer.progress, 1e-9) - 1))), 60)
        best = f", held-out {self.best:.4f}" if math.isfinite(self.best) else ""
        unit = " bits/dim" if best or trainer.model.is_bound else ""
        speed = f"{1 / self._seconds_per_example:.0f} examples/s"  # last: a narrow terminal has no room for it
        return f"step {trainer.step}, loss {loss:.4f}{best}{unit}, {minutes}:{seconds:02d} left, {speed}"

    def measure(self) -> None:
        """Measure held-out bits/dim with the averaged weights, keep them if they are the best, and draw samples."""
        trainer, average = self.trainer, self.trainer.average
        assert average is not None
        average.swap()
        trainer.model.eval()
        try:
            with self._whole():
                measured = self._held_out()
                self.stops_early = self.processes.by_first(lambda: self._keep(measured))
        finally:
            trainer.model.train()
            average.swap()

    def _whole(self) -> AbstractContextManager[None]:
        """While entered, each process has all weights of a model that is divided among them."""
        if not self.trainer.is_sharded:
            return nullcontext()
        from lowerbound.training.parallel.shard import whole

        return whole(self.trainer.model)

    def _keep(self, measured: tuple[float, float] | None) -> bool:
        """Write down what was measured, keep the weights if they are the best, and draw samples; returns whether training
        stops early."""
        trainer, facts = self.trainer, self._facts(measured)
        bits = facts.get("held_out_bits_per_dim", -math.inf)
        # where a loss does not aim at the bound the newest weights are the ones that were asked for
        if bits < self.best or not trainer.model.aims_at_bound or not self.folder.model.exists():
            self._write_weights(self.folder.model, facts)
        if facts:
            self.best = min(self.best, bits)
        if EARLY <= trainer.progress < 1 and not self.folder.early.exists():
            self._write_weights(self.folder.early, facts)
        self._draw()
        patience = trainer.patience
        if patience is None or not patience.is_over or trainer.progress >= 1:
            return False
        self.note(stopped_early=patience.reason)
        return True

    def _held_out(self) -> tuple[float, float] | None:
        """Held-out bits/dim and their standard error, measured by all processes; None of a model without a likelihood."""
        trainer = self.trainer
        self.num_held_out = self.processes.by_first(lambda: self.num_held_out)
        with self.allowance.spending("held-out bits"):
            bits = held_out_by_example(
                trainer.model, trainer.dataset, self.num_held_out, trainer.config.data.conditional, self.processes
            )
        if bits is None:
            return None
        mean, error = mean_and_error(bits)
        if not math.isfinite(mean):
            raise DivergenceError(f"after step {trainer.step} the held-out bits/dim are {mean}")
        if trainer.patience is not None:
            trainer.patience.take(bits)
        return mean, error

    def _facts(self, measured: tuple[float, float] | None) -> dict[str, Any]:
        """What is known of the averaged weights, written into the log; nothing of a model without a likelihood."""
        if measured is None:
            return {}
        trainer, (bits, error) = self.trainer, measured
        assert self.num_held_out is not None
        self.yardstick = self.yardstick or yardstick(trainer.dataset, self.num_held_out)
        facts = figures(bits, error, self.num_held_out, self.yardstick)
        self.note(**facts, **self._cost())
        if self.bar.disable:
            self.say(f"step {trainer.step}: {held_out_text(bits, error)}")
        return facts

    def _cost(self) -> dict[str, float]:
        """What training has cost in this stretch: its speed, the most memory, and the share of time that it read data."""
        trainer = self.trainer
        if trainer.step == self.first:
            return {}
        return {
            "examples_per_second": 1 / self._seconds_per_example,
            "peak_memory_bytes": peak_memory(trainer.device) or process_memory(),
            "data_share": trainer.data_seconds / (trainer.seconds - self.began),
        }

    def _write_weights(self, path: Path, facts: dict[str, Any]) -> None:
        trainer = self.trainer
        metadata = {
            "weights": "averaged",
            "average_width": trainer.training.average_width,
            "step": trainer.step,
            "seconds": trainer.seconds,
            **facts,
        }
        weights = dict[str, Tensor](trainer.trained.named_parameters())
        if trainer.is_sharded:  # what is written keeps its memory for good, and whole weights are to give it back
            weights = {name: parameter.detach().clone() for name, parameter in weights.items()}
        content = weights_file(weights, {name: str(value) for name, value in metadata.items()})
        write_file(path, content)

    def _draw(self) -> None:
        """Draw samples beside data, if it is time to and affordable; at the end of a timed run as many as are."""
        trainer, dataset, num_samples = self.trainer, self.trainer.dataset, self._picture_samples
        expected = self._forward_seconds(self._picture_calls)
        if not self.pictures.due(trainer.progress) or not self.allowance.affords("picture", expected, trainer.progress):
            return
        if (seconds := self.allowance.seconds) is not None and seconds < expected:
            num_samples = max(1, int(num_samples * seconds / expected))
        from lowerbound.pictures import sample_grid  # not before: every verb comes by here, and few draw

        with self.allowance.spending("picture"):
            with torch.no_grad():
                samples = trainer.model.sample(num_samples, PerSample(range(num_samples)))
            data, encoding = dataset.examples[dataset.some("train", num_samples)], dataset.spec.encoding
            with replacing(self.folder.samples / f"step-{trainer.step:09d}.png") as unfinished:
                sample_grid(
                    unfinished, encoding.decode(samples), encoding.value_range, data=data, names=dataset.spec.names
                )


class _Milestones:
    """Equal parts of a run, each of which ends once.

    Arguments:
        count: into how many parts the run is divided.
        progress: how much of the run is done already, 1 being all.
    """

    def __init__(self, count: int, progress: float):
        self.count = count
        self.passed = math.floor(progress * count)

    def due(self, progress: float) -> bool:
        """Whether another part has ended since the last call."""
        ended = math.floor(progress * self.count + 1e-9)
        due, self.passed = ended > self.passed, max(ended, self.passed)
        return due
