r"""Distillation: a denoiser whose few steps lead where many of its teacher's do.

A solver of the probability flow, DPM-Solver++, takes the teacher from noise through n m + 1 states to data, on a grid of n m
times. The student, who starts with the teacher's weights, is to go from each m-th of these states, $x_t$, to the next m-th,
$x_s$, in one step of DDIM. That step is linear in the prediction, so there is one that leads there exactly:

$$x_s = \kappa x_t + (\alpha_s - \kappa \alpha_t)\, \tilde x, \quad \kappa = \sigma_s / \sigma_t
\qquad\Rightarrow\qquad \tilde x = \frac{x_s - \kappa x_t}{\alpha_s - \kappa \alpha_t} ,$$

and the student is fitted to it by least squares, $E\|\hat x_\theta(x_t) - \tilde x\|^2$. This is the target of progressive
distillation (Salimans & Ho 2022, algorithm 2), with all halvings at once and states of the teacher's own paths in place of
noisy data, so that it takes conditions from the data and nothing else. With n = 1 it is a regression of data on noise
(Luhman & Luhman 2021). A path is a function of its noise, so the least loss is zero; where neighbouring noise leads to
different data a network of finite size averages them, the more of them the fewer steps there are.

What the student predicts is no longer $E[x | x_t]$ and it knows n levels only: no likelihood belongs to it.
"""

import copy
import json
import math
import shutil
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound import grid
from lowerbound.data import Dataset, DataSpec
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.files.weights import weights_file
from lowerbound.files.whole import new_folder, write_file
from lowerbound.rng import Stream
from lowerbound.samplers import DPMSolver, start, trajectory
from lowerbound.schedule import CLEAN, Schedule
from lowerbound.shapes import Times
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder
from lowerbound.training.optimizer import Optimizer
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.stretch import Workspace, complete
from lowerbound.training.trainer import without_condition
from lowerbound.training.training import State, Training, check_length

TEACHER_CALLS = 16
"""How many calls of the teacher a path takes at least."""
MOST_STEPS = 8
BATCH_SIZE = 64
USES = 8
"""How often each state of a path is learned from."""
POOL_ENTRIES = 16_000_000
"""How many entries the paths that are learned from have together, at most."""
RATE = 0.5
"""The learning rate, relative to the teacher's own training."""


def teacher_times(schedule: Schedule, spec: DataSpec, num_steps: int) -> Times:
    """The grid of the teacher's solver, at least `TEACHER_CALLS` times, for a student of a number of steps."""
    limits = grid.visible_limits(schedule, math.prod(spec.shape), spec.num_levels)
    num_times = num_steps * math.ceil(TEACHER_CALLS / num_steps)
    return grid.karras(schedule, num_times, gamma_min=limits[0], gamma_max=limits[1])


def student_times(schedule: Schedule, spec: DataSpec, num_steps: int) -> Times:
    """The grid of a student: every m-th of the teacher's times."""
    return teacher_times(schedule, spec, num_steps)[:: math.ceil(TEACHER_CALLS / num_steps)]


def distill(
    teacher: Denoiser,
    config: Config,
    dataset: Dataset,
    num_steps: int,
    *,
    updates: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    workspace: Workspace | None = None,
    processes: Processes = ALONE,
) -> Denoiser:
    r"""The student: a denoiser for DDIM on `student_times`, $\arg\min_\theta E\|\hat x_\theta(x_t) - \tilde x\|^2$.

    The same seed and updates give the same weights.

    Arguments:
        teacher: the trained denoiser, which stays as it is.
        config: how it was trained.
        dataset: its data, of which only the conditions are used.
        num_steps: n, the steps that the student takes.
        updates, minutes: how long to train; one of the two.
        seed: of noise, conditions and order.
        workspace: where an interrupted training is kept to go on with; None: nowhere.
        processes: that train together, each with its rows of every batch.

    Raises:
        InputError: for a number of steps outside of 1 to `MOST_STEPS`, a length that is not one, or a loss that diverges.
    """
    if not 1 <= num_steps <= MOST_STEPS:
        raise InputError(
            f"a student of {num_steps} steps: it takes 1 to {MOST_STEPS}; for more, sample the run itself with dpm++"
        )
    check_length(updates=updates, minutes=minutes)
    # a student's weights are to stay near its teacher's
    rate = RATE * config.training.learning_rate
    training = replace(config.training, steps=updates, minutes=minutes, learning_rate=rate, weight_decay=0.0)
    config = replace(config, training=training)
    distillation = _Distillation(teacher, config, dataset, num_steps, seed, processes)
    complete(distillation, workspace)
    return distillation.student.requires_grad_(False).eval()


class _Distillation(Training):
    """Of a student, from the newest paths of its teacher; the loss is a mean square in the units of the model's x."""

    def __init__(
        self, teacher: Denoiser, config: Config, dataset: Dataset, num_steps: int, seed: int, processes: Processes
    ):
        self.teacher, self.config, self.dataset = teacher, config, dataset
        self.student = copy.deepcopy(teacher).train().requires_grad_(True)
        self.student.schedule.requires_grad_(False)
        training = config.training
        super().__init__(self.student, Optimizer(self.student, training), training, processes=processes)
        self.batch_size = max(BATCH_SIZE, training.batch_size)
        self.times = teacher_times(teacher.schedule, dataset.spec, num_steps)
        self.stride = len(self.times) // num_steps
        self.noise = Stream(seed, teacher.device)
        self.order = np.random.default_rng(seed)
        entries = 2 * num_steps * self.batch_size * math.prod(teacher.shape)
        self.paths: deque[dict[str, Tensor]] = deque(maxlen=max(USES, POOL_ENTRIES // entries))

    def gradient(self) -> tuple[float, float]:
        """From one state of each path of a batch, as many at each level as can be."""
        if self.step % USES == 0:
            self.paths.append(self._solve())
        paths = self.paths[self.order.integers(len(self.paths))]
        own = self.processes.rows(self.batch_size)
        level = torch.from_numpy(self.order.permutation(self.batch_size) % paths["states"].shape[1])[own]
        path = torch.arange(self.batch_size)[own]
        times = self.times[:: self.stride].float().to(self.student.device)
        cond = paths["cond"][own] if "cond" in paths else None
        prediction = self.student.given(cond)(paths["states"][path, level], times[level])
        squares = (prediction.x - paths["targets"][path, level]).square()
        return self.descend([squares.sum() / (self.batch_size * math.prod(self.student.shape))])

    def _solve(self) -> dict[str, Tensor]:
        """A batch of the teacher's paths: where the student's steps begin, what it has to predict there, and conditions.

        Each process solves its rows of the batch, and all have all of them, whoever goes on with the training.
        """
        teacher, paths, own = self.teacher, {}, self.processes.rows(self.batch_size)
        if self.config.data.conditional:  # those of training examples, some left out as in training
            cond = self.dataset.cond(self.order.choice(self.dataset.train, self.batch_size))
            assert cond is not None
            dropped = torch.from_numpy(self.order.random(self.batch_size) < self.training.null_probability)
            paths["cond"] = without_condition(cond, dropped).to(teacher.device)
        x_1 = start(teacher, self.batch_size, self.noise, t=self.times[0].item())
        cond = paths["cond"][own] if "cond" in paths else None
        solved = list(trajectory(teacher.given(cond), DPMSolver(), x_1[own], self.times, self.noise))
        states = self.processes.whole(torch.stack(solved[:: self.stride], 1), self.batch_size).unbind(1)
        levels = [*teacher.schedule.levels(self.times[:: self.stride]), CLEAN]
        targets = []
        for x_t, x_s, t, s in zip(states[:-1], states[1:], levels[:-1], levels[1:], strict=True):
            ratio = s.sigma / t.sigma
            targets.append((x_s - ratio * x_t) / (s.alpha - ratio * t.alpha))
        return paths | {"states": torch.stack(states[:-1], 1), "targets": torch.stack(targets, 1)}

    def words(self, loss: float) -> str:
        return f"missed by {loss**0.5:.3f} (root mean square)"

    def state(self) -> State:
        tensors, numbers = super().state()
        names = self.paths[0] if self.paths else ()
        paths = {name: torch.stack([batch[name] for batch in self.paths]) for name in names}
        tensors |= {"paths": paths, "noise": {"stream": self.noise.state()}}
        return tensors, {**numbers, "order": dict(self.order.bit_generator.state)}

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        numbers = dict(state)
        try:
            self.order.bit_generator.state = numbers.pop("order")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"state.json: the order of the paths cannot be read: {error}") from error
        super().restore(tensors, numbers)

    def recall(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        paths = tensors["paths"]
        shapes = {name: tuple(stack.shape) for name, stack in paths.items()}
        if "cond" in shapes:  # labels, or vectors of any length
            shapes["cond"] = shapes["cond"][:2]
        count = len(paths["states"]) if paths else 0
        states = (count, self.batch_size, len(self.times) // self.stride, *self.teacher.shape)
        expected: dict[str, tuple[int, ...]] = {"states": states, "targets": states}
        if self.config.data.conditional:
            expected["cond"] = states[:2]
        if paths and shapes != expected:
            raise InputError(f"checkpoint: the paths have the shapes {shapes}; they should have {expected}")
        self.paths.clear()
        for number in range(count):
            self.paths.append({name: stack[number].to(self.teacher.device) for name, stack in paths.items()})
        self.noise.restore(tensors["noise"]["stream"])


def write_student(
    student: Denoiser,
    num_steps: int,
    config: Config,
    spec: DataSpec,
    out: RunFolder,
    metadata: dict[str, str],
    log: Path | None = None,
) -> None:
    """Write a student as a run: its teacher's configuration, and weights whose file says at which times they are used.

    The folder appears whole or not at all.

    Arguments:
        student: what `distill` gave for `num_steps`.
        config, spec: the teacher's.
        out: a folder that is not there yet or empty.
        metadata: what else the file of weights says of them.
        log: of its training, which the folder gets a copy of.

    Raises:
        InputError: if there is something in the folder.
    """
    times = student_times(student.schedule, spec, num_steps).tolist()
    metadata = {"weights": "distilled", "times": json.dumps(times), **metadata}
    with new_folder(out.path) as unfinished:
        folder = RunFolder(unfinished)
        folder.samples.mkdir()
        write_file(folder.model, weights_file(dict(student.named_parameters()), metadata))
        folder.write_config(config, spec)
        if log is not None:
            shutil.copyfile(log, folder.log)
