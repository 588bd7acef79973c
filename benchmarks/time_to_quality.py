"""Bits/dim and Frechet distance after so many minutes, ours beside a peer's own training example:
LOWERBOUND_DATA=... OMP_NUM_THREADS=1 python benchmarks/time_to_quality.py --minutes 1 5 10 --peers example faster

`ours` is what `lowerbound train mnist --minutes M` does. The peer is diffusers (`pip install -e '.[diffusers]'`), trained
by the loop of its example for unconditional images: the noise of 1,000 linear betas at uniform times, eps, a mean square,
AdamW, an average of the weights. The example's network of 114 million parameters makes no step a second on a CPU, so its
channels are `--channels`, with its two blocks a resolution and attention at the lowest. `example` keeps its batch of 16,
its rate of 1e-4 and its 500 steps of warm-up, `faster` has a batch of 32 and a rate of 1e-3. Both are saved as a pipeline
and opened by `lowerbound.imports`, and judged as ours is: samples of 16 calls, and the bound of test images.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import lowerbound as lb
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.machine import processor
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.run.imported import import_model

PEERS = {"example": (16, 1e-4), "faster": (32, 1e-3)}
"""Batch and learning rate."""
WARMUP_STEPS = 500
AVERAGED = 0.9999
"""The example's largest decay of its average, and the power of its approach."""
POWER = 3 / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 5.0, 10.0])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 64])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000, help="test examples whose bound is taken")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-quality"))
    arguments = parser.parse_args()

    dataset = lb.open_dataset(arguments.data)
    judge = Judge.of(dataset, feature_space(dataset, feature_classifier(dataset, arguments.out)), arguments.samples)
    floor = judge.floor()
    print(f"{processor()}, {torch.get_num_threads()} threads; {judge.space}")
    print(f"held-out images: Frechet distance {floor.frechet}, precision {floor.precision}")
    print(f"{'model':<10}{'minutes':>8}{'seed':>5}{'images seen':>13}{'bits/dim':>18}{'Frechet':>14}{'precision':>15}")
    for minutes in arguments.minutes:
        for seed in range(arguments.seeds):
            for name in ("ours", *arguments.peers):
                out = arguments.out / f"{name}-{minutes:g}-{seed}"
                if name == "ours":
                    run, num_seen = ours(dataset, minutes, seed, out)
                else:
                    run, num_seen = example(dataset, minutes, seed, out, arguments.channels, *PEERS[name])
                report(run, dataset, judge, f"{name:<10}{minutes:>8g}{seed:>5}{num_seen:>13,}", arguments.test)


def report(run: Run, dataset: lb.Dataset, judge: Judge, row: str, num_test: int) -> None:
    """One line of the table."""
    samples, _ = draw(run, dataset, len(judge.held_out))
    quality = judge.quality(dataset.spec.encoding.encode(samples))
    scores = lb.score(run, dataset.examples[dataset.test[:num_test]], lb.Effort(num_draws=16))
    bits = lb.mean_and_error(torch.from_numpy(scores.bits_per_dim))
    figures = (figure_text(*bits), str(quality.frechet), str(quality.precision))
    print(row + "".join(f"{each:>{width}}" for each, width in zip(figures, (18, 14, 15), strict=True)), flush=True)


def ours(dataset: lb.Dataset, minutes: float, seed: int, out: Path) -> tuple[Run, int]:
    """The recipe's run, and how many images its steps saw."""
    config = lb.recipe(dataset, minutes=minutes)
    config = replace(config, training=replace(config.training, seed=seed))
    lb.train(config, dataset, out, say=lambda line: None, show_progress=False)
    run = lb.open_run(out)
    last = run.folder.read_log()[-1]["step"]
    return run, last * config.training.batch_size


def example(
    dataset: lb.Dataset, minutes: float, seed: int, out: Path, channels: list[int], batch: int, rate: float
) -> tuple[Run, int]:
    """The peer's, after as many minutes of steps."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(seed)
    lower = len(channels) - 1
    network = UNet2DModel(
        sample_size=dataset.shape[1:],
        in_channels=dataset.shape[0],
        out_channels=dataset.shape[0],
        block_out_channels=tuple(channels),
        down_block_types=(*["DownBlock2D"] * lower, "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", *["UpBlock2D"] * lower),
        norm_num_groups=16,
    )
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    order, step, began = np.random.default_rng(seed), 0, time.perf_counter()
    while (progress := (time.perf_counter() - began) / (60 * minutes)) < 1:
        x = dataset.encoded(order.choice(dataset.train, batch)) * 256 / 255  # from -1 to 1, as the example has it
        noise, t = torch.randn_like(x), torch.randint(1000, (batch,))
        loss = functional.mse_loss(network(scheduler.add_noise(x, noise, t), t).sample, noise)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * progress))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        kept = min(AVERAGED, 1 - (1 + step) ** -POWER)
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - kept)
    network.load_state_dict(average)
    pipeline = out.with_name(f"{out.name}-pipeline")
    DDPMPipeline(network, scheduler).save_pretrained(pipeline)
    return lb.open_run(import_model(pipeline, out, image_size=dataset.shape[1:]).path), step * batch


if __name__ == "__main__":
    main()
