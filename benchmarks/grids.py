"""Grids for few steps on closed forms: how far their samples end from the flow's: python benchmarks/grids.py

Root mean square distance, per value, of the end of a deterministic sampler from the end of the flow (1,000 steps of Heun's
method on equal steps of gamma) from the same start. Data are a mixture of three in the plane, and a mixture of sixteen
Gaussians fitted to the bundled 8 x 8 digits. The mean error is what `minimal_error` makes small; what eyes or a classifier
see is another thing (`python benchmarks/quality.py`): a step that ends early blurs.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as Fit

import lowerbound as lb
from lowerbound import Denoiser, grid
from lowerbound.analytic_variance import measure_variance

SCHEDULE = lb.LinearGamma(-10.0, 8.0)
SAMPLERS = {"DDIM": lb.DDIM(), "DPM-Solver++(2M)": lb.DPMSolver(2), "UniPC-2": lb.samplers.UniPC(2)}
GRIDS = {
    "time": lambda denoiser, num: grid.uniform(num),
    "trailing": lambda denoiser, num: grid.trailing(num),
    "gamma, to -5": lambda denoiser, num: grid.uniform_in_gamma(SCHEDULE, num, gamma_min=-5.0),
    "karras": lambda denoiser, num: grid.karras(SCHEDULE, num),
    "karras, to -5": lambda denoiser, num: grid.karras(SCHEDULE, num, gamma_min=-5.0),
    "minimal bound": grid.minimal_bound,
    "minimal error": grid.minimal_error,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--samples", type=int, default=60)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    for name, (denoiser, x) in {"mixture in the plane": plane(), "mixture of digits, 64 dimensions": digits()}.items():
        measured = measure_variance(denoiser, x, lb.Stream(1), num_levels=64)
        x_1 = lb.start(denoiser, arguments.samples, lb.Stream(2), dtype=torch.float64)
        exact = lb.sample(denoiser, lb.Heun(), x_1, grid.uniform_in_gamma(SCHEDULE, 1000), lb.Stream(0))
        print(f"\n{name}\n{'sampler':<18} {'calls':>5} " + " ".join(f"{kind:>14}" for kind in GRIDS))
        for sampler_name, sampler in SAMPLERS.items():
            for num_calls in arguments.calls:
                errors = []
                for make in GRIDS.values():
                    end = lb.sample(denoiser, sampler, x_1, make(measured, num_calls), lb.Stream(0))
                    errors.append((end - exact).square().mean().sqrt().item())
                print(f"{sampler_name:<18} {num_calls:>5} " + " ".join(f"{error:>14.4f}" for error in errors))


def plane() -> tuple[Denoiser, torch.Tensor]:
    """Three components of very different widths, and examples of them."""
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]]).double()
    covariances = torch.tensor(
        [[[0.09, 0.03], [0.03, 0.04]], [[0.02, -0.01], [-0.01, 0.06]], [[0.25, 0.0], [0.0, 0.01]]]
    )
    made = lb.GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, covariances.double(), SCHEDULE)
    return made, made.sample(4000, lb.Stream(0))


def digits() -> tuple[Denoiser, torch.Tensor]:
    """Sixteen Gaussians fitted to digits in [-1, 1], and examples of them."""
    x = 2 * load_digits().data / 16 - 1
    fit = Fit(16, reg_covar=1e-3, random_state=0).fit(x)
    weights, means, covariances = map(torch.from_numpy, (fit.weights_, fit.means_, fit.covariances_))
    made = lb.GaussianMixture(weights, means, (covariances + covariances.mT) / 2, SCHEDULE)
    return made, made.sample(500, lb.Stream(0))


if __name__ == "__main__":
    main()
