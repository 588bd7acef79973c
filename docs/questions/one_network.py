r"""Why is one network with t as input enough, instead of T networks?

A network for each of T noise levels is what a hierarchical VAE would have, but neighbouring levels ask for nearly the same
function, which one network learns from the draws of all of them. Here digits, as vectors, are learned by one network, and
by 4 and 16 networks of the same size, each for its own interval of gamma, with equally many steps in all; and by 4 networks
with as many steps each as the one has, four times the budget.

At an equal budget one network is best: 2.091 +- 0.023 bits/dim (bound) against 2.310 with 4 networks (paired difference
0.219 +- 0.011) and 2.727 with 16 (0.637 +- 0.016). With four times the budget 4 networks come to 2.032, 0.059 +- 0.007
less: what they gain is the capacity and the training, not the separation.

    python docs/questions/one_network.py [--quick]
"""

import argparse
import math

import torch
from torch import Tensor, nn

import lowerbound as lb
from lowerbound import MLP, open_dataset
from lowerbound.data import batch_indices
from lowerbound.nn import octaves

BATCH = 64
NUM_LEVELS = 17
SCHEDULE = lb.LinearGamma(-7.9, 5.0)


class Committee(nn.Module):
    """Networks of the same size, each for its own one of equal intervals of gamma.

    Arguments:
        num_members: how many.
        num_features: D, of one example.
    """

    def __init__(self, num_members: int, num_features: int):
        super().__init__()
        self.members = nn.ModuleList(
            MLP(num_features, 2 * num_features, width=128, depth=3, fourier_frequencies=octaves(NUM_LEVELS))
            for _ in range(num_members)
        )

    def forward(self, x: Tensor, gamma: Tensor, cond: Tensor | None = None) -> Tensor:
        """Each example's output by the member whose interval its gamma lies in."""
        t = SCHEDULE.inverse(gamma)
        member = (t * len(self.members)).long().clamp(0, len(self.members) - 1)
        output = x.new_empty(len(x), 2 * x.shape[1])
        for index in member.unique().tolist():
            mine = member == index
            output[mine] = self.members[index](x[mine], gamma[mine], cond)
        return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="hardly any training: only to see that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)  # the networks are small
    num_steps, num_times = (16, 4) if quick else (2400, 32)
    digits = open_dataset("digits")
    train, test = (digits.encoded(indices).flatten(1) for indices in (digits.train, digits.test))
    found = {}
    print(f"digits as vectors, {len(test)} test examples; bound, ± over examples")
    print(f"{'networks':>9}{'steps each':>12}{'steps in all':>14}{'bits/dim':>18}{'against one network':>24}")
    for num_members, steps_each in ((1, num_steps), (4, num_steps // 4), (16, num_steps // 16), (4, num_steps)):
        denoiser = trained(num_members, steps_each, train)
        found[num_members, steps_each] = bits, draws = bits_per_dim(denoiser, test, num_times)
        base, base_draws = found[1, num_steps]
        line = f"{num_members:>9}{steps_each:>12}{num_members * steps_each:>14}{with_error(bits):>18}"
        print(line + (f"{with_error(bits - base, '+'):>24}" if bits is not base else ""), flush=True)
        if bits is not base:
            parts = (draws - base_draws).unflatten(1, (4, -1)).sum(2) / draws.shape[1]
            print(f"{'':>9}  by quarter of gamma, from the data's end: " + ", ".join(map(with_error, parts.T, "++++")))


def trained(num_members: int, num_steps: int, data: Tensor) -> lb.Denoiser:
    """A committee, each of its members trained for so many steps on draws within its own interval."""
    torch.manual_seed(0)
    network = Committee(num_members, data.shape[1])
    denoiser = lb.discrete.LevelDenoiser(network, SCHEDULE, (data.shape[1],), NUM_LEVELS)
    noise = lb.Stream(seed=0)
    for index, member in enumerate(network.members):
        optimizer = torch.optim.Adam(member.parameters(), lr=2e-3)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for step in range(num_steps):
            x = data[batch_indices(index, step, BATCH, len(data))]
            place = lb.times.antithetic_times(noise.uniform(x[:1, :1])[0, 0], BATCH)
            loss = lb.loss(denoiser, x, t=(index + place) / num_members, noise=noise).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(member.parameters(), 10 * math.sqrt(data.shape[1]))
            optimizer.step()
            rate.step()
    return denoiser.requires_grad_(False).eval()


@torch.no_grad()
def bits_per_dim(denoiser: lb.Denoiser, x: Tensor, num_times: int) -> tuple[Tensor, Tensor]:
    """The bound of each example, and its diffusion term's draws in the order of time, with the same noise for all."""
    bound = lb.elbo(denoiser, lb.LevelPosterior(NUM_LEVELS), x, noise=lb.PerSample(range(len(x))), num_times=num_times)
    assert bound.draws is not None
    return bound.bits_per_dim.double(), bound.draws.double() / (x.shape[1] * math.log(2))


def with_error(values: Tensor, sign: str = "") -> str:
    """The mean over examples and its standard error."""
    mean, error = lb.mean_and_error(values)
    return f"{mean:{sign}.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
