"""The flow's density against the exact one: accuracy, calls and time, beside torchdiffeq: python benchmarks/density.py

The denoisers are closed forms, so what is left of |log p - exact| is the solver's tolerance and the schedule's finite ends.
torchdiffeq's dopri5 is the same pair of orders 5 and 4, with one step for the whole batch; both are given the same field.
The last two tables are about the divergence: the error of an estimated one, and what an exact one costs a network.
"""

import argparse
import math
import time

import torch
from oracle import mixture

from lowerbound import MLP, Gaussian, GaussianMixture, LinearGamma, NetworkDenoiser, Stream, log_prob
from lowerbound.likelihood.density import flow

TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
PROBES = (1, 4, 16, 64)
DIMS = (2, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamma-min", type=float, default=-18.0)
    parser.add_argument("--gamma-max", type=float, default=16.0)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    schedule = LinearGamma(arguments.gamma_min, arguments.gamma_max)
    solvers = {"lowerbound": ours}
    try:
        import torchdiffeq  # noqa: F401

        solvers["torchdiffeq"] = theirs
    except ImportError:
        print("torchdiffeq is not installed, so its rows are missing: pip install torchdiffeq")
    print(f"linear gamma from {schedule.gamma_min} to {schedule.gamma_max}, {arguments.examples} examples, float64")

    print("\n|log p - exact| in nats/dim, exact trace; calls per example")
    print(
        f"{'data':>14} {'tolerance':>9} {'solver':>12} {'mean':>9} {'largest':>9} {'calls':>7} {'most':>6} {'seconds':>8}"
    )
    for name, data in (("2-D mixture", mixture(schedule)), ("10-D Gaussian", gaussian(10, schedule))):
        x = data.sample(arguments.examples, Stream(arguments.seed))
        exact = data.log_prob(x)
        for tolerance in TOLERANCES:
            for solver, solve in solvers.items():
                begin = time.perf_counter()
                nats, calls = solve(data, x, tolerance)
                seconds = time.perf_counter() - begin
                error = (nats - exact).abs() / x.shape[1]
                print(
                    f"{name:>14} {tolerance:>9.0e} {solver:>12} {error.mean():>9.1e} {error.max():>9.1e} "
                    f"{calls.double().mean():>7.1f} {calls.max():>6} {seconds:>8.2f}",
                    flush=True,
                )

    print("\nHutchinson's estimate, nats/dim: its error, and the standard error that it states (root mean squares)")
    print(f"{'data':>14} {'probes':>7} {'mean':>9} {'error':>9} {'stated':>9} {'seconds':>8}")
    for num_dims in (10, 32):
        data, name = gaussian(num_dims, schedule), f"{num_dims}-D Gaussian"
        x = data.sample(arguments.examples, Stream(arguments.seed))
        exact = data.log_prob(x)
        for num_probes in PROBES:
            begin = time.perf_counter()
            found = log_prob(data, x, trace="hutchinson", num_probes=num_probes, noise=Stream(arguments.seed + 1))
            error, stated = (found.nats - exact) / num_dims, found.standard_error / num_dims
            print(
                f"{name:>14} {num_probes:>7} {error.mean():>9.4f} {rms(error):>9.4f} {rms(stated):>9.4f} "
                f"{time.perf_counter() - begin:>8.2f}",
                flush=True,
            )

    print("\nseconds of one probe and of an exact trace, 64 examples through an MLP in single precision")
    print(f"{'dims':>14} {'one probe':>9} {'exact':>9} {'ratio':>9}")
    for num_dims in DIMS:
        torch.manual_seed(arguments.seed)
        network = MLP(num_dims)
        denoiser = NetworkDenoiser(network, LinearGamma(), (num_dims,), target="v")
        x = Stream(arguments.seed).normal(torch.empty(64, num_dims))
        seconds = []
        for trace in ("hutchinson", "exact"):
            log_prob(denoiser, x[:2], trace=trace, noise=Stream(0))
            begin = time.perf_counter()
            log_prob(denoiser, x, trace=trace, noise=Stream(0))
            seconds.append(time.perf_counter() - begin)
        print(f"{num_dims:>14} {seconds[0]:>9.2f} {seconds[1]:>9.2f} {seconds[1] / seconds[0]:>9.1f}", flush=True)


def ours(data: GaussianMixture, x: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Nats and calls of each example by this library."""
    found = log_prob(data, x, trace="exact", tolerance=tolerance)
    return found.nats, found.num_calls


def theirs(data: GaussianMixture, x: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with torchdiffeq's dopri5 on the same field: the noise and its log-determinant per dimension."""
    from torchdiffeq import odeint

    num_examples, num_dims = x.shape
    num_calls = 0

    def field(gamma: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal num_calls
        num_calls += 1
        with torch.enable_grad():
            eps = state[0].detach().requires_grad_()
            slope = flow(data, x, eps, gamma.expand(num_examples))
            columns = [torch.autograd.grad(slope[:, i].sum(), eps, retain_graph=True)[0][:, i] for i in range(num_dims)]
        return slope.detach(), torch.stack(columns).mean(0)

    first, last = data.schedule.gamma_min, data.schedule.gamma_max
    start = (torch.zeros_like(x), x.new_zeros(num_examples))
    times = torch.tensor([first, last], dtype=torch.float64)
    with torch.no_grad():
        solution = odeint(field, start, times, rtol=tolerance, atol=tolerance, method="dopri5")
        eps, divergence = (part[-1] for part in solution)
    a, s = (1 + math.exp(last)) ** -0.5, (1 + math.exp(-last)) ** -0.5
    normal = -0.5 * ((a * x + s * eps).square().sum(1) + num_dims * math.log(2 * math.pi))
    nats = normal + num_dims * (math.log(s) - first / 2 + divergence)
    return nats, torch.full((num_examples,), num_calls)


def gaussian(num_dims: int, schedule: LinearGamma) -> Gaussian:
    """Correlated dimensions of about unit variance, the narrowest direction 0.01 wide and more."""
    draws = Stream(7)
    roots = draws.normal(torch.empty(num_dims, num_dims, dtype=torch.float64))
    mean = 0.3 * draws.normal(torch.empty(1, num_dims, dtype=torch.float64))[0]
    return Gaussian(mean, roots @ roots.mT / num_dims + 0.01 * torch.eye(num_dims, dtype=torch.float64), schedule)


def rms(values: torch.Tensor) -> torch.Tensor:
    """The root of the mean square."""
    return values.square().mean().sqrt()


if __name__ == "__main__":
    main()
