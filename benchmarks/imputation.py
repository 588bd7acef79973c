"""Inpainting by a run against naive fillings: python benchmarks/imputation.py runs/mnist

The middle of held-out validation images is hidden. For each hidden pixel the continuous ranked probability score (CRPS) of
its true value, E|X - x| - E|X - X'| / 2 over the imputations X, X' (without bias for their number; of a single filling the
absolute error), is averaged over the pixels; lower is better. The error is over images.

- training mean; the nearest training image by the pixels that are known;
- a Gaussian with the training images' mean and covariance, given the known pixels: draws, rounded to levels;
- the run, by each method.
"""

import argparse
import time

import numpy as np
import torch

from lowerbound import impute, mean_and_error, open_run
from lowerbound.data import Examples
from lowerbound.evaluate.imputation import crps
from lowerbound.inverse import MMPS, PiGDM, Replacement, TwistedParticles
from lowerbound.run.examples import conditions
from lowerbound.run.impute import METHODS

VARIANTS = METHODS | {
    "replacement, once": Replacement(1),
    "replacement, each step 4 times": Replacement(4, jump=1),
    "pigdm, variance 0.4": PiGDM(data_variance=0.4),
    "mmps, 1 iteration": MMPS(num_iterations=1),
    "mmps, 3 iterations": MMPS(num_iterations=3),
    "particles, 4": TwistedParticles(4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--num-examples", type=int, default=20)
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--num-steps", type=int, default=100)
    parser.add_argument("--method", nargs="*", default=list(METHODS), choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    run = open_run(arguments.run)
    dataset = run.open_dataset()
    indices = dataset.some("validation", arguments.num_examples)
    raw, known = dataset.examples[indices], dataset.examples[dataset.train]
    observed = np.ones(raw.shape, bool)
    height, width = raw.shape[-2:]
    observed[..., height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    print(
        f"{len(raw)} validation images of {dataset.spec.name}, {arguments.num_samples} imputations each, "
        f"{arguments.num_steps} steps; {1 - observed.mean():.0%} of the pixels hidden"
    )
    print(f"{'filling':<32} {'CRPS':>8} {'error':>8} {'seconds':>8}")
    scores = {}

    def report(name: str, samples: np.ndarray, seconds: float = 0.0) -> None:
        hidden = ~observed
        each = (crps(samples, raw) * hidden).reshape(len(raw), -1).sum(1) / hidden.reshape(len(raw), -1).sum(1)
        scores[name] = torch.from_numpy(each)
        mean, error = mean_and_error(scores[name])
        print(f"{name:<32} {mean:>8.3f} {error:>8.3f} {seconds:>8.0f}", flush=True)

    report("training mean", np.broadcast_to(known.mean(0), raw.shape)[:, None])
    report("nearest training image", nearest(known, raw, observed)[:, None])
    report("Gaussian", gaussian(known, raw, observed, arguments.num_samples, arguments.seed))
    for name in arguments.method:
        begin = time.perf_counter()
        found = impute(
            run,
            raw,
            observed,
            method=VARIANTS[name],
            num_samples=arguments.num_samples,
            num_steps=arguments.num_steps,
            cond=conditions(run, Examples.of(dataset), indices),
            numbers=indices,
            seed=arguments.seed,
        )
        report(name, found.samples, time.perf_counter() - begin)
    best = min(scores, key=lambda name: scores[name].mean().item())
    print(f"\ndifferences from {best}, on the same images")
    for name, score in scores.items():
        mean, error = mean_and_error(score - scores[best])
        print(f"{name:<32} {mean:>8.3f} {error:>8.3f}")


def nearest(known: np.ndarray, raw: np.ndarray, observed: np.ndarray) -> np.ndarray:
    flat, seen = known.reshape(len(known), -1).astype(np.float32), observed.reshape(len(raw), -1)
    rows = zip(raw.reshape(len(raw), -1).astype(np.float32), seen, strict=True)
    return known[[int(((flat[:, there] - row[there]) ** 2).sum(1).argmin()) for row, there in rows]]


def gaussian(known: np.ndarray, raw: np.ndarray, observed: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Draws given the known pixels, which are the same of all images; the covariance's diagonal gets a variance of 1."""
    there = observed[0].ravel()
    flat = known.reshape(len(known), -1).astype(np.float64)
    mean, covariance = flat.mean(0), np.cov(flat.T) + np.eye(flat.shape[1])
    gain = np.linalg.solve(covariance[np.ix_(there, there)], covariance[np.ix_(there, ~there)]).T
    left = covariance[np.ix_(~there, ~there)] - gain @ covariance[np.ix_(there, ~there)]
    centre = mean[~there] + (raw.reshape(len(raw), -1)[:, there] - mean[there]) @ gain.T
    draws = np.random.default_rng(seed).multivariate_normal(np.zeros(len(left)), left, (len(raw), num_samples))
    found = np.repeat(raw.reshape(len(raw), 1, -1).astype(np.float64), num_samples, 1)
    found[..., ~there] = np.clip(np.round(centre[:, None] + draws), known.min(), known.max())
    return found.reshape(len(raw), num_samples, *raw.shape[1:])


if __name__ == "__main__":
    main()
