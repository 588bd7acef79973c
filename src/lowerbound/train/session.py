"""What happens around the training loop: folder, log, checkpoints, held-out bits/dim, pictures, progress, interruption."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

import torch
from safetensors.torch import save
from tqdm import tqdm

from lowerbound.baselines import Baseline, weakness, yardstick
from lowerbound.data import Dataset, check_batch_size
from lowerbound.errors import InputError
from lowerbound.files import clean, write_file
from lowerbound.pictures import sample_grid
from lowerbound.train.allowance import Allowance
from lowerbound.train.checkpoint import checkpoints, read_checkpoint, set_aside, step_of, write_checkpoint
from lowerbound.train.config import Config, differences
from lowerbound.train.denoising import PICTURE_STEPS
from lowerbound.train.divergence import Watch
from lowerbound.train.folder import DataFacts, RunFolder
from lowerbound.train.interruption import Interruption
from lowerbound.train.loop import TRAINING_SHARE, BadBatchError, DivergenceError, Trainer

CHECKPOINT_SECONDS = 60
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
MOST_SKIPPED = 10
"""So many bad batches in a row are left out, where they are to be."""
MOST_ROLL_BACKS = 5
"""So many times a run goes back and on at half the learning rate, where it is to do so."""
MAY_CHANGE = "training."
"""Settings that a resumed run may change: how it is trained, never what is trained."""
MAY_NOT_CHANGE = "training.optimizer"
"""The exception: an optimiser cannot go on from another one's memory."""


Start = Literal["newest", "previous", "anew"]
"""Where to go on with a run that is there."""


def train(
    config: Config,
    dataset: Dataset,
    out: Path | str,
    *,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    show_progress: bool = True,
    start: Start = "newest",
) -> RunFolder:
    """Train a model into a run folder, or go on with the run that is there.

    Arguments:
        config: the run's configuration.
        dataset: the data.
        out: the run folder.
        device: where to train.
        say: where lines for the user go.
        show_progress: whether to draw a progress bar.
        start: where to go on with a run that is there: after its newest checkpoint; if that is damaged, after the one
            before it ("previous"); or not at all ("anew"): then it is kept beside the new one.

    Returns:
        The run folder, with model.safetensors in it.

    Raises:
        InputError: if the folder holds another run, or one whose checkpoints are lost or damaged, or the data do not
            suffice.
        DivergenceError: if the training diverges, with the last good state kept.
        OSError: if something cannot be written, with what was there before intact.
        KeyboardInterrupt: after an interruption, with everything saved.
    """
    check_batch_size(config.training.batch_size, len(dataset.train))
    folder = RunFolder(out)
    trainer = Trainer(config, dataset, device)
    if start == "anew" and (kept := folder.set_aside()) is not None:
        say(f"the run that was in {folder.path} is kept in {kept}")
    folder.samples.mkdir(parents=True, exist_ok=True)
    with folder.locked():
        if folder.exists:
            _resume(folder, trainer, say, start)
        elif folder.is_started:
            raise InputError(
                f"{folder.path} holds files of a run but no config.json: choose another folder with --out, or give "
                "--restart to keep them aside and start anew"
            )
        folder.write_config(config, DataFacts.of(dataset))
        if trainer.progress >= 1:
            say(f"the run in {folder.path} is complete; give more --steps or --minutes to go on with it")
            return folder
        if not checkpoints(folder.checkpoints):
            write_checkpoint(
                folder.checkpoints, trainer.step, *trainer.state()
            )  # to go back to, or to start from again
        while True:
            try:
                _Session(trainer, folder, say, show_progress).run()
                break
            except DivergenceError as error:
                trainer = _rolled_back(trainer, folder, error, say)
        if (found := weakness(folder.read_metadata())) is not None:
            say(f"{found}: give more --minutes")
    return folder


class _Session:
    """One stretch of training, from a start or a checkpoint to the run's end or an interruption."""

    def __init__(self, trainer: Trainer, folder: RunFolder, say: Callable[[str], None], show_progress: bool):
        self.trainer = trainer
        self.folder = folder
        self.say = say
        self.is_bound = trainer.training_step.is_bound
        self.fixed_bits = self._fixed_bits()
        self.best = min(
            (r["held_out_bits_per_dim"] for r in folder.read_log() if "held_out_bits_per_dim" in r), default=math.inf
        )
        minutes = trainer.config.training.minutes
        self.allowance = Allowance(None if minutes is None else 60 * minutes * (1 - TRAINING_SHARE))
        self.seconds_per_example = 0.0
        self.num_held_out = self._measured_before()
        self.yardstick: Baseline | None = None
        self.watch = Watch(trainer)
        self.saved = time.monotonic()
        self.bar = tqdm(
            total=100.0,
            initial=100 * min(1.0, trainer.progress),
            disable=None if show_progress else True,
            bar_format="{percentage:3.0f}%|{bar:24}| {desc}",
            desc="starting",
            miniters=0,
            mininterval=0.3,
        )

    def run(self) -> None:
        trainer, training = self.trainer, self.trainer.config.training
        self.evaluations = _Milestones(training.num_evaluations, trainer.progress)
        self.pictures = _Milestones(training.num_pictures, trainer.progress)
        smoothed, first, began = None, trainer.step, trainer.seconds
        advised, num_skipped = False, 0
        with self.folder.open_log(trainer.step) as log, Interruption() as interruption, self.bar:
            while trainer.progress < 1:
                try:
                    for record in trainer.records():
                        shown = asdict(record)
                        shown["loss"] += self.fixed_bits
                        log.write(json.dumps(shown) + "\n")
                        smoothed = shown["loss"] if smoothed is None else 0.98 * smoothed + 0.02 * shown["loss"]
                        examples = (record.step - first) * training.batch_size
                        self.seconds_per_example = (record.seconds - began) / examples
                        self._show(smoothed)
                        num_skipped = 0
                        if not advised and record.seconds - began > SECONDS_TO_JUDGE:
                            advised = True
                            self._advise(record.step - first)
                        self._after_step(log, interruption)
                except BadBatchError as error:
                    num_skipped += 1
                    self._bad_batch(error, log, num_skipped)
                    self._after_step(log, interruption)

    def _after_step(self, log: IO[str], interruption: Interruption) -> None:
        """Measure, save and stop if it is time to, but nothing of what is not fit to be kept."""
        trainer = self.trainer
        evaluation_due = self.evaluations.due(trainer.progress) and self._affords_evaluation()
        save_due = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        if evaluation_due or save_due or interruption.requested:
            self.watch.check()
            if evaluation_due:
                self._evaluate(log, self.pictures.due(trainer.progress))
            self._save(log)
        if interruption.requested and trainer.progress < 1:
            self.bar.close()
            self.say(f"stopped at step {trainer.step} with everything saved: repeat the command to go on")
            raise KeyboardInterrupt

    def _bad_batch(self, error: BadBatchError, log: IO[str], num_skipped: int) -> None:
        """Leave a batch out, if bad batches are to be and the weights are not what is bad."""
        trainer = self.trainer
        try:
            self.watch.check()
        except DivergenceError as cause:
            raise DivergenceError(f"{error}; {cause}") from error
        if trainer.config.training.on_divergence != "skip":
            self._save(log)
            raise error
        if num_skipped > MOST_SKIPPED:
            self._save(log)
            raise DivergenceError(f"{error}, and {MOST_SKIPPED} batches before it were left out") from error
        trainer.skip()
        self.say(f"left out: {error}")
        log.write(json.dumps({"step": trainer.step, "seconds": trainer.seconds, "left_out": str(error)}) + "\n")

    def _measured_before(self) -> int | None:
        """How many held-out examples the run measures already, if it does: the same ones as long as it lasts."""
        records = (record for record in self.folder.read_log() if "held_out_bits_per_dim" in record)
        return next((record.get("num_examples") for record in records), None)

    def _forward_seconds(self, num_calls: int) -> float:
        """About what network calls for so many examples cost: a step goes forward, and back at twice the cost."""
        return num_calls * self.seconds_per_example / 3

    def _affords_evaluation(self) -> bool:
        """Whether held-out bits are measured now; before the first time, of how many examples."""
        most, calls = self.trainer.training_step.held_out_calls(self.trainer.dataset)
        if self.num_held_out is None:
            self.num_held_out = most
            if self.allowance.seconds is not None:
                each = self._forward_seconds(calls)
                affordable = int(self.allowance.seconds / FEWEST_EVALUATIONS / each)
                self.num_held_out = max(FEWEST_HELD_OUT, min(most, affordable))
        expected = self._forward_seconds(self.num_held_out * calls)
        return self.allowance.affords("held-out bits", expected, self.trainer.progress)

    def _advise(self, num_steps: int) -> None:
        """Say so when too few steps fit into the minutes."""
        trainer = self.trainer
        minutes = trainer.config.training.minutes
        if minutes is None or trainer.progress >= 1:
            return
        left = (60 * minutes * TRAINING_SHARE - trainer.seconds) / (self.seconds_per_example * self._batch_size)
        expected = round(trainer.step + left)
        if expected < FEWEST_STEPS:
            enough = minutes * FEWEST_STEPS / expected
            self.say(
                f"about {expected} steps fit into {minutes:g} minutes here, too few to learn much: give --minutes "
                f"{enough:.0f} or more, a smaller --network.width, or a smaller --batch-size"
            )

    @property
    def _batch_size(self) -> int:
        return self.trainer.config.training.batch_size

    def _fixed_bits(self) -> float:
        """What makes the loss the bound in the data's units, bits/dim: constants, estimated on training data once."""
        trainer, dataset = self.trainer, self.trainer.dataset
        if not self.is_bound:
            return 0.0
        nats = trainer.training_step.fixed_nats(dataset.encoded(dataset.train[:256]).to(trainer.device))
        return (nats - dataset.encoding.log_det(dataset.shape)) / (trainer.num_dims * math.log(2))

    def _show(self, loss: float) -> None:
        trainer, speed = self.trainer, 1 / self.seconds_per_example
        self.bar.n = 100 * min(1.0, trainer.progress)
        left = max(0.0, trainer.seconds * (1 / max(trainer.progress, 1e-9) - 1))
        unit = " bits/dim" if self.is_bound else ""
        best = f", held-out {self.best:.4f} bits/dim" if math.isfinite(self.best) else ""
        self.bar.set_description_str(
            f"step {trainer.step}, loss {loss:.4f}{unit}{best}, {speed:.0f} examples/s, {_clock(left)} left",
            refresh=False,
        )
        self.bar.update(0)

    def _evaluate(self, log: IO[str], picture: bool) -> None:
        """Measure held-out bits/dim with the averaged weights, keep them if they are the best, and draw samples."""
        trainer = self.trainer
        trainer.average.swap(trainer.model)
        trainer.training_step.eval()
        try:
            record: dict[str, Any] = {"step": trainer.step, "seconds": trainer.seconds}
            improved = True
            assert self.num_held_out is not None
            with self.allowance.spending("held-out bits"):
                held_out = trainer.training_step.held_out(
                    trainer.dataset, trainer.config.data.conditional, self.num_held_out
                )
            if held_out is not None:
                bits, error = held_out
                if not math.isfinite(bits):
                    raise DivergenceError(f"after step {trainer.step} the held-out bits/dim are {bits}")
                self.yardstick = self.yardstick or yardstick(trainer.dataset, self.num_held_out)
                record |= {"held_out_bits_per_dim": bits, "standard_error": error, "num_examples": self.num_held_out}
                if self.yardstick is not None:
                    record |= {"baseline": self.yardstick.name, "baseline_bits_per_dim": self.yardstick.bits_per_dim}
                log.write(json.dumps(record) + "\n")
                if self.bar.disable:
                    self.say(f"step {trainer.step}: held-out {bits:.4f} ± {error:.4f} bits/dim")
                improved = bits < self.best
                self.best = min(self.best, bits)
            # a loss that is no bound does not aim at it: there the newest weights are the ones that were asked for
            if improved or not self.is_bound or not self.folder.model.exists():
                self._write_weights(self.folder.model, record)
            if EARLY <= trainer.progress < 1 and not self.folder.early.exists():
                self._write_weights(self.folder.early, record)
            num_samples = PICTURE_SAMPLES if len(trainer.dataset.shape) > 1 else PICTURE_POINTS
            expected = self._forward_seconds(num_samples * PICTURE_STEPS)
            if picture and self.allowance.affords("picture", expected, trainer.progress):
                with self.allowance.spending("picture"):
                    self._draw(num_samples)
        finally:
            trainer.training_step.train()
            trainer.average.swap(trainer.model)

    def _write_weights(self, path: Path, record: dict[str, Any]) -> None:
        metadata = {
            "weights": "averaged",
            "average_width": str(self.trainer.config.training.average_width),
            **{key: str(value) for key, value in record.items()},
        }
        tensors = {name: p.detach().cpu().contiguous() for name, p in self.trainer.model.named_parameters()}
        write_file(path, save(tensors, metadata))

    def _draw(self, num_samples: int) -> None:
        dataset = self.trainer.dataset
        samples = self.trainer.training_step.draw(num_samples)
        data = dataset.examples[dataset.train[:num_samples]]
        sample_grid(
            self.folder.samples / f"step-{self.trainer.step:09d}.png",
            dataset.encoding.decode(samples),
            dataset.encoding.value_range,
            data=data,
        )

    def _save(self, log: IO[str]) -> None:
        log.flush()
        tensors, state = self.trainer.state()
        write_checkpoint(self.folder.checkpoints, self.trainer.step, tensors, state)
        self.saved = time.monotonic()


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


def _resume(folder: RunFolder, trainer: Trainer, say: Callable[[str], None], start: Start) -> None:
    """Bring the trainer to the newest checkpoint of the run in the folder, if the run is the same."""
    config, facts = folder.read_config()
    found = differences(config, trainer.config)
    fixed = [d for d in found if not d.startswith(MAY_CHANGE) or d.startswith(MAY_NOT_CHANGE)]
    if fixed:
        raise InputError(
            f"{folder.path} holds a run with other settings ({fixed[0]}{' ...' * (len(fixed) > 1)}): choose another "
            "folder with --out, or repeat its own settings to go on with it"
        )
    if facts.fingerprint != DataFacts.of(trainer.dataset).fingerprint:
        raise InputError(
            f"{folder.path} was trained on other data than {trainer.dataset.name} holds now: choose another --out"
        )
    if folder.is_distilled:
        raise InputError(
            f"{folder.path} holds a distilled run, which is not trained on: choose another folder with --out"
        )
    clean(folder.checkpoints)
    saved = checkpoints(folder.checkpoints)
    if not saved:
        if folder.log.exists() or folder.model.exists():
            raise InputError(
                f"the run in {folder.path} has been trained, but {folder.checkpoints} holds no checkpoint to go on from: "
                "give --restart to start anew, with the run kept aside, or choose another folder with --out"
            )
        return
    try:
        _restore(trainer, saved[-1])
    except InputError as error:
        before = saved[-2] if len(saved) > 1 else None
        if before is None:
            raise InputError(
                f"{error}: there is no checkpoint before it; give --restart to start anew, with the run kept aside"
            ) from error
        if start != "previous":
            raise InputError(
                f"{error}: give --fall-back to go on after step {step_of(before)}, from the checkpoint before it, or "
                "--restart to start anew"
            ) from error
        _restore(trainer, before)
        say(f"{error}: it is kept as {set_aside(saved[-1]).name}, and the checkpoint before it is taken")
    say(f"going on with the run in {folder.path} after step {trainer.step}")
    for difference in found:
        say(f"  changed: {difference}")
    if config.training.learning_rate != trainer.config.training.learning_rate:
        trainer.num_roll_backs = 0


def _restore(trainer: Trainer, path: Path) -> None:
    """Bring the trainer to a checkpoint.

    Raises:
        InputError: if that is damaged, or holds a state that diverged.
    """
    tensors, state = read_checkpoint(path)
    try:
        trainer.restore(tensors, state)
        Watch(trainer)
    except InputError as error:
        raise InputError(f"damaged checkpoint: {path} ({error})") from error


def _rolled_back(trainer: Trainer, folder: RunFolder, error: DivergenceError, say: Callable[[str], None]) -> Trainer:
    """A trainer at the last good checkpoint that goes on at half the learning rate, if the run is to go on.

    Raises:
        DivergenceError: if it is not, or has done so too often, with what to do.
    """
    training = trainer.config.training
    newest = checkpoints(folder.checkpoints)[-1]
    num_roll_backs = trainer.num_roll_backs + 1
    rate = training.learning_rate / 2**num_roll_backs
    if training.on_divergence != "roll-back" or num_roll_backs > MOST_ROLL_BACKS:
        tried = f" even after {MOST_ROLL_BACKS} halvings of it" if num_roll_backs > MOST_ROLL_BACKS else ""
        raise DivergenceError(
            f"{error}. The run is kept as it was after step {step_of(newest)}: to go on from there, repeat the command with "
            f"a smaller --learning-rate (now {training.learning_rate:g}{tried}), or with --on-divergence skip or roll-back"
        ) from error
    again = Trainer(trainer.config, trainer.dataset, trainer.device)
    _restore(again, newest)
    again.num_roll_backs = num_roll_backs
    told = f"{error}: back to step {again.step}, and on at half the learning rate, {rate:g} at most"
    say(told)
    with folder.open_log(again.step) as log:
        log.write(json.dumps({"step": again.step, "seconds": again.seconds, "rolled_back": told}) + "\n")
    return again


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
