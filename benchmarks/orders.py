"""Measured orders of all samplers, in double precision on closed forms: python benchmarks/orders.py

The error at the end of the flow of N(m, diag(u)), known in closed form, and of a mixture in the plane, followed by the
adaptive solver at a tolerance of 1e-12, over grids whose steps grow from the start in proportion (t = 1 - u^2: a multistep
sampler has no past at first), and over equal steps of gamma from gamma = 1 on, where what the first step leaves shows. Of
stochastic samplers the weak order: the error of the exact mean and covariance at the end on correlated Gaussian data, where
a sampler is an affine map of its start and its noise. The slope is that of the two longest grids; churn falls with the
number of steps. Langevin steps have no order, and their table is of the error alone.
"""

import math

import torch
from torch import Tensor

import lowerbound as lb
from lowerbound import Denoiser, Noise, Sampler

STEPS = (64, 128, 256, 512)
WEAK_STEPS = (24, 48, 96, 192)
SCHEDULE, EARLY_SCHEDULE = lb.LinearGamma(-6.0, 5.0), lb.LinearGamma(-6.0, 1.0)
DETERMINISTIC = {
    "DDIM": lb.DDIM(),
    "Euler": lb.samplers.Euler(),
    "Heun": lb.Heun(),
    **{f"DPM-Solver++({k}M)": lb.DPMSolver(k) for k in (1, 2, 3)},
    **{f"UniPC-{k}": lb.samplers.UniPC(k) for k in (1, 2, 3)},
    **{f"exponential Adams-Bashforth {k}": lb.samplers.ExponentialAdamsBashforth(k) for k in (1, 2, 3, 4)},
}
STOCHASTIC = {
    **{
        f"ancestral, {variance}": lambda num, variance=variance: lb.Ancestral(variance)
        for variance in ("lower", "upper", "analytic")
    },
    "DDIM, eta 0.4": lambda num: lb.DDIM(0.4),
    "DDIM, eta 1": lambda num: lb.DDIM(1.0),
    "SDE-DPM-Solver++(1)": lambda num: lb.DPMSolverSDE(1),
    "SDE-DPM-Solver++(2M)": lambda num: lb.DPMSolverSDE(2),
    "Euler, churn 4 / n": lambda num: lb.samplers.Euler(churn=4 / num),
    "Heun, churn 4 / n": lambda num: lb.Heun(churn=4 / num),
}
LANGEVIN = {
    "ancestral, lower, for comparison": lb.Ancestral(),
    "predictor-corrector, 1 correction": lb.langevin.PredictorCorrector(),
    "predictor-corrector, 5 corrections": lb.langevin.PredictorCorrector(num_corrections=5),
    "annealed Langevin, 10 a level": lb.langevin.AnnealedLangevin(num_corrections=10),
}
MEAN, COVARIANCE = torch.tensor([0.5, -1.0]).double(), torch.tensor([[0.5, 0.3], [0.3, 0.4]]).double()


class Basis(Noise):
    """For each row its own known draws, (B, num_draws, D), in their order."""

    def __init__(self, draws: Tensor):
        self.draws = iter(draws.unbind(1))

    def normal(self, like: Tensor) -> Tensor:
        return next(self.draws).clone()

    def uniform(self, like: Tensor) -> Tensor:
        raise TypeError("samplers draw normal numbers only")


def main() -> None:
    cases = [
        (flow, times) for times, schedule in ((growing, SCHEDULE), (equal, EARLY_SCHEDULE)) for flow in flows(schedule)
    ]
    print(f"{'':<32} {'':>8} {'growing steps':>18}  {'equal steps':>18}")
    heading = f"{'Gaussian':>9} {'mixture':>8}"
    print(f"{'deterministic':<32} {'declared':>8} {heading}  {heading} {'error, growing':>15}   ({STEPS[-1]} steps)")
    for name, sampler in DETERMINISTIC.items():
        errors = [[flow_error(sampler, times(num), *flow) for num in STEPS[-2:]] for flow, times in cases]
        measured = [math.log2(before / after) for before, after in errors]
        orders = f"{measured[0]:>9.2f} {measured[1]:>8.2f}  {measured[2]:>9.2f} {measured[3]:>8.2f}"
        print(f"{name:<32} {sampler.order:>8} {orders} {errors[1][-1]:>15.1e}")
    print(f"\n{'stochastic':<32} {'declared':>8} {'weak':>9} {'error':>24}   ({WEAK_STEPS[-1]} steps)")
    for name, make in STOCHASTIC.items():
        before, after = (weak_error(make(num), num) for num in WEAK_STEPS[-2:])
        order = make(WEAK_STEPS[-1]).order
        print(f"{name:<32} {order:>8} {math.log2(before / after):>9.2f} {after:>24.1e}")
    print(f"\n{'error in as many steps:':<41} {''.join(f'{num:>9}' for num in WEAK_STEPS)}")
    for name, sampler in LANGEVIN.items():
        print(f"{name:<41} {''.join(f'{weak_error(sampler, num):>9.1e}' for num in WEAK_STEPS)}")


def growing(num_steps: int) -> Tensor:
    return 1 - torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 2


def equal(num_steps: int) -> Tensor:
    return lb.grid.uniform(num_steps + 1)


def flows(schedule: lb.LinearGamma) -> list[tuple[Denoiser, Tensor, Tensor]]:
    return [gaussian_flow(schedule), mixture_flow(schedule)]


def gaussian_flow(schedule: lb.LinearGamma) -> tuple[Denoiser, Tensor, Tensor]:
    """N(m, diag(u)), a start and its end: the flow keeps (x_t - alpha_t m) / sqrt(alpha_t^2 u + sigma_t^2)."""
    mean, variance = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.3, 2.0]).double()
    denoiser = lb.Gaussian(mean, torch.diag(variance), schedule)
    x_1 = lb.start(denoiser, 4, lb.Stream(0), dtype=torch.float64)
    (mean_1, scale_1), (mean_0, scale_0) = (
        (level.alpha * mean, torch.sqrt(level.alpha**2 * variance + level.sigma**2))
        for level in (schedule.level(1.0), schedule.level(0.0))
    )
    return denoiser, x_1, mean_0 + scale_0 * (x_1 - mean_1) / scale_1


def mixture_flow(schedule: lb.LinearGamma) -> tuple[Denoiser, Tensor, Tensor]:
    """A mixture, a start and its end."""
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]]).double()
    covariances = torch.tensor(
        [[[0.09, 0.03], [0.03, 0.04]], [[0.02, -0.01], [-0.01, 0.06]], [[0.25, 0.0], [0.0, 0.01]]]
    )
    denoiser = lb.GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, covariances.double(), schedule)
    x_1 = lb.start(denoiser, 4, lb.Stream(0), dtype=torch.float64)
    ends = torch.tensor([1.0, 0.0]).double()
    return (
        denoiser,
        x_1,
        lb.sample(denoiser, lb.samplers.ProbabilityFlow(1e-12), x_1, ends, lb.Stream(0), denoise=False),
    )


def flow_error(sampler: Sampler, times: Tensor, denoiser: Denoiser, x_1: Tensor, exact: Tensor) -> float:
    return (lb.sample(denoiser, sampler, x_1, times, lb.Stream(0), denoise=False) - exact).abs().max().item()


def weak_error(sampler: Sampler, num_steps: int) -> float:
    """The largest error of mean and covariance at the end, from the data's own at the start."""
    denoiser, num_draws = lb.Gaussian(MEAN, COVARIANCE, SCHEDULE), sampler.calls_per_step * num_steps
    inputs = torch.eye(2 * (num_draws + 1), dtype=torch.float64).reshape(-1, num_draws + 1, 2)
    inputs = torch.cat([torch.zeros_like(inputs[:1]), inputs])
    times = lb.grid.uniform(num_steps + 1)
    end = lb.sample(denoiser, sampler, inputs[:, 0], times, Basis(inputs[:, 1:]), denoise=False)
    columns = (end[1:] - end[0]).reshape(num_draws + 1, 2, 2).mT
    (alpha_1, sigma_1), (alpha_0, sigma_0) = (
        (level.alpha, level.sigma) for level in (SCHEDULE.level(1.0), SCHEDULE.level(0.0))
    )
    identity = torch.eye(2, dtype=torch.float64)
    mean = end[0] + columns[0] @ (alpha_1 * MEAN)
    covariance = columns[0] @ (alpha_1**2 * COVARIANCE + sigma_1**2 * identity) @ columns[0].mT
    covariance = covariance + (columns[1:] @ columns[1:].mT).sum(0)
    expected = alpha_0**2 * COVARIANCE + sigma_0**2 * identity
    return max((mean - alpha_0 * MEAN).abs().max().item(), (covariance - expected).abs().max().item())


if __name__ == "__main__":
    main()
