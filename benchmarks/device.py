"""Speed, memory and accuracy of training on a device: python benchmarks/device.py [--train 20]

Of U-Nets for images of MNIST's and CIFAR's size, the recipe's and one four times as wide, in float32, in float32 with the
products of TF32, in bfloat16, and in bfloat16 compiled: examples per second of whole training steps (data, noise, gradient,
optimiser, average) and of the gradient alone, on one batch that is on the device already; the share of the device's own
peak, measured with large matrix products of the same precision; and the most memory that was taken. The floating-point
operations are those of products and convolutions, counted by torch. --train compares the bits/dim of one run in float32
with one in bfloat16 of as many steps, on the same held-out examples under the same noise.

Without --data the images are synthetic: smooth random fields of 256 levels. --smoke runs it all in seconds, to see that it
works; its figures mean nothing.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lowerbound.data import Dataset, open_dataset
from lowerbound.machine.device import finish, peak_memory, prepared
from lowerbound.models import Draw, Effort
from lowerbound.rng import PerSample, Stream
from lowerbound.times import antithetic_times
from lowerbound.training import Config, recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.trainer import Trainer
from lowerbound.words.rounding import figure_text

MODES = {
    "float32": {},
    "TF32": {},
    "bf16": {"precision": "bf16"},
    "bf16 compiled": {"precision": "bf16", "compile": True},
}
SIZES = {"MNIST-size": (1, 28, 28), "CIFAR-size": (3, 32, 32)}
WIDER = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", help="an .npz file of images of MNIST's size; synthetic ones if not given")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.0, help="for which each speed is measured")
    parser.add_argument("--train", type=float, default=0.0, help="seconds of training in float32")
    parser.add_argument("--compile-until", type=float, default=100.0, help="after so many seconds nothing is compiled")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()
    device = prepared(arguments.device)
    if arguments.smoke:
        arguments.batch_size, arguments.seconds, arguments.train = 4, 0.0, 0.5
    if device.type == "cpu":
        warnings.simplefilter("ignore")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, batches of {arguments.batch_size}", flush=True)
    size = 256 if arguments.smoke or device.type == "cpu" else 8192
    peaks = {mode: peak(size, mode, device) for mode in MODES if is_possible(mode, device)}
    for mode, value in peaks.items():
        print(f"products of matrices, {size} a side, {mode}: {value / 1e12:.4g} TFLOP/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        datasets = {name: images(shape, Path(folder), arguments) for name, shape in SIZES.items()}
        compiled = []
        print(
            "network | parameters | GFLOP per example | mode | examples/s | gradient alone | share of peak | GiB at most"
        )
        for name, dataset in datasets.items():
            for factor in (1,) if arguments.smoke else (1, WIDER):
                config = configuration(dataset, factor, arguments)
                for mode, fastest in peaks.items():
                    row = (f"{name}, width {config.network.width}", config, dataset, mode, fastest)
                    if mode.endswith("compiled"):
                        compiled.append(row)
                    else:
                        measure(*row, device, arguments.seconds)
        if arguments.train:
            compare(datasets["MNIST-size"], device, arguments)
        for row in (compiled[0], compiled[-1]) if compiled else ():  # last, for compiling takes long
            if time.monotonic() - began < arguments.compile_until:
                measure(*row, device, arguments.seconds)
            else:
                print(f"{row[0]} | {row[3]}: left out, for {arguments.compile_until:.0f} s are over")
    print(f"{time.monotonic() - began:.0f} s in all")


def is_possible(mode: str, device: torch.device) -> bool:
    """Whether a mode makes sense on a device: what is compiled for a CPU is not what this is about."""
    return mode in ("float32", "bf16") or device.type == "cuda"


@contextmanager
def precision(mode: str) -> Iterator[None]:
    """TF32 where it is the mode; elsewhere the library has switched it off."""
    for value in (True, False):
        if mode == "TF32":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = value
        if value:
            yield


def timed(work, device: torch.device, seconds: float, fewest: int = 3) -> float:
    """Seconds that a piece of work takes, the mean over as many as fit."""
    for _ in range(fewest):
        work()
    finish(device)
    began, count = time.perf_counter(), 0
    while count < fewest or time.perf_counter() - began < seconds:
        work()
        count += 1
        if count % 10 == 0:
            finish(device)
    finish(device)
    return (time.perf_counter() - began) / count


def peak(size: int, mode: str, device: torch.device) -> float:
    """Floating-point operations per second of a product of two square matrices."""
    dtype = torch.bfloat16 if mode.startswith("bf16") else torch.float32
    a, b = (Stream(seed).normal(torch.empty(size, size)).to(device, dtype) for seed in (0, 1))
    with precision(mode):
        return 2 * size**3 / timed(lambda: a @ b, device, 0.3)


def images(shape: tuple[int, ...], folder: Path, arguments: argparse.Namespace) -> Dataset:
    """The data of a size: those that were given, of MNIST's, or smooth random fields."""
    if arguments.data and shape == SIZES["MNIST-size"]:
        return open_dataset(arguments.data)
    count = 200 if arguments.smoke else 4000
    rough = Stream(0).normal(torch.empty(count, shape[0], 7, 7))
    smooth = torch.nn.functional.interpolate(rough, size=shape[1:], mode="bicubic")
    levels = (128 + 60 * smooth + 4 * Stream(1).normal(smooth)).clamp(0, 255).round().byte().numpy()
    path = folder / f"{'x'.join(map(str, shape))}.npz"
    np.savez(path, x=levels.transpose(0, 2, 3, 1) if shape[0] > 1 else levels[:, 0])
    return open_dataset(str(path))


def configuration(dataset: Dataset, factor: int, arguments: argparse.Namespace) -> Config:
    """The recipe's, with a network so many times as wide."""
    config = recipe(dataset, DataConfig(dataset.spec.name))
    network = replace(config.network, width=(8 if arguments.smoke else config.network.width) * factor)
    training = replace(config.training, minutes=None, steps=10**6, batch_size=arguments.batch_size, objective="elbo")
    return replace(config, network=network, training=training)


def measure(
    name: str, config: Config, dataset: Dataset, mode: str, peak: float, device: torch.device, seconds: float
) -> None:
    """Print the figures of one network in one mode."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    trainer = Trainer(replace(config, training=replace(config.training, **MODES[mode])), dataset, device)
    num = config.training.batch_size
    x = dataset.encoded(dataset.train[np.arange(num) % len(dataset.train)]).to(device)
    places = antithetic_times(torch.tensor(0.5), num).to(device)

    def gradient() -> None:
        trainer.optimizer.zero_grad()
        trainer.model.loss(x, Draw(PerSample(range(num)), place=places)).total.mean().backward()

    with FlopCounterMode(display=False) as counter:
        if not mode.endswith("compiled"):
            gradient()
    operations = counter.get_total_flops() / num or OPERATIONS[name]
    OPERATIONS[name] = operations
    began = time.perf_counter()
    with precision(mode):
        records = trainer.records()
        next(records)
        finish(device)
        first = time.perf_counter() - began
        step = timed(lambda: next(records), device, seconds)
        alone = timed(gradient, device, seconds)
    memory = peak_memory(device)
    held = "" if memory is None else f"{memory / 2**30:.2f}"
    compiling = f" (first step {first:.0f} s)" if mode.endswith("compiled") else ""
    count = sum(parameter.numel() for parameter in trainer.trained.parameters())
    print(
        f"{name} | {count:,} | {operations / 1e9:.3g} | {mode}{compiling} | {num / step:,.0f} | {num / alone:,.0f} | "
        f"{num / alone * operations / peak:.1%} | {held}",
        flush=True,
    )


OPERATIONS: dict[str, float] = {}
"""Of a gradient, for one example, by network: as counted where nothing is compiled."""


def compare(dataset: Dataset, device: torch.device, arguments: argparse.Namespace) -> None:
    """Print the held-out bits/dim of float32 and of bfloat16 after as many steps."""
    config, steps, bits = configuration(dataset, 1, arguments), 0, {}
    training = config.training
    for mode in ("float32", "bf16"):
        length = (
            {"steps": None, "minutes": arguments.train / 60 / Trainer.time_share}
            if mode == "float32"
            else {"steps": steps}
        )
        settings = replace(training, **{"minutes": None, **length, **MODES[mode]})
        trainer = Trainer(replace(config, training=settings), dataset, device)
        for record in trainer.records():
            steps = record.step
        bits[mode] = held_out(trainer, 64 if arguments.smoke else 2048)
        figure = figure_text(bits[mode].mean().item(), error(bits[mode]))
        print(f"{mode}, {steps} steps: {trainer.seconds:.1f} s, held-out {figure} bits/dim", flush=True)
    difference = bits["bf16"] - bits["float32"]
    print(f"bf16 - float32, example by example: {figure_text(difference.mean().item(), error(difference))} bits/dim")


def error(values: Tensor) -> float:
    return values.std().item() / len(values) ** 0.5


@torch.no_grad()
def held_out(trainer: Trainer, num: int) -> Tensor:
    """Bits/dim of validation examples with the averaged weights, in float32, one by one."""
    assert trainer.average is not None
    trainer.average.swap()
    trainer.model.eval()
    bits = []
    for part in torch.from_numpy(trainer.dataset.some("validation", num)).split(256):
        x = trainer.dataset.encoded(part.numpy()).to(trainer.device)
        noise = PerSample((1 << 40) + part)
        bits.append(trainer.model.elbo(x, noise, Effort(num_draws=4)).bits_per_dim.double().cpu())
    return torch.cat(bits)


if __name__ == "__main__":
    main()
