"""What newcomers give the library by mistake, and words of the error that tells them.

Run as a program it makes every mistake without this suite's checks of types, as a user's program does, and prints what came
of each as JSON.
"""

import json
import traceback

import numpy as np
import torch
from torch import Tensor, nn

import lowerbound as lb
from lowerbound.machine.device import prepared
from lowerbound.run.examples import check_examples


class Linear(nn.Module):
    """A network as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor, gamma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.layer(x)


class TwoArguments(Linear):
    def forward(self, x: Tensor, gamma: Tensor) -> Tensor:
        return self.layer(x)


class OneChannel(Linear):
    def forward(self, x: Tensor, gamma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.layer(x)[:, :1]


class Pair(Linear):
    def forward(self, x: Tensor, gamma: Tensor, cond: Tensor | None = None):
        return self.layer(x), gamma


def network(kind: type[nn.Module] | object = Linear, **settings) -> lb.NetworkDenoiser:
    return lb.NetworkDenoiser(kind() if isinstance(kind, type) else kind, lb.LinearGamma(-10.0, 6.0), (2,), **settings)


def labelled() -> lb.NetworkDenoiser:
    from lowerbound.nn import MLP

    return network(MLP(2, 2, width=8, num_classes=3))


X = torch.linspace(-1, 1, 8).reshape(4, 2)
NAN = X * torch.tensor([1.0, float("nan")])
INTEGERS = torch.ones(4, 2, dtype=torch.int64)
LEVELS = torch.tensor([[0.0, 255.0]])


def elbo(x=X, chain=None, decoder=None, **given):
    return lb.elbo(network(), decoder or lb.GaussianDecoder(), x, chain, **({"noise": lb.Stream(seed=0)} | given))


def sample(x_1=X, times=None, sampler=None, noise=None, denoiser=None, **given):
    times = lb.grid.uniform(3) if times is None else times
    sampler = sampler or lb.Ancestral()
    return lb.sample(denoiser or network(), sampler, x_1, times, noise or lb.Stream(seed=0), **given)


def loss(x=X, **given):
    return lb.loss(network(), x, **({"t": torch.full((4,), 0.5), "eps": torch.zeros(4, 2)} | given))


def mixture(weight: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor([weight, 1.0]), torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2)


def gaussian() -> lb.Gaussian:
    return lb.Gaussian(torch.zeros(2), torch.eye(2), lb.LinearGamma())


class Foreign(nn.Module):
    """A module of another library's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.layer(x)


def foreign(**given) -> lb.imports.ForeignDenoiser:
    settings = {"module": Foreign(), "schedule": lb.LinearGamma(), "shape": (2,), "target": "x"}
    return lb.imports.ForeignDenoiser(**{**settings, "time": lambda level: level.t, **given})


MISTAKES = {
    "a network of two arguments": (lambda: network(TwoArguments), "called as network(x, gamma, cond)"),
    "a network's class": (lambda: lb.NetworkDenoiser(Linear, lb.Cosine(), (2,)), "give an nn.Module"),
    "a function as network": (lambda: network(lambda x, gamma, cond: x), "give an nn.Module"),
    "a network of one channel": (lambda: network(OneChannel)(X, 0.5), "should be a tensor of shape (4, 2)"),
    "a network of two outputs": (lambda: network(Pair)(X, 0.5), "of type tuple: it should be a tensor"),
    "a variance that is not there": (lambda: network(learned_variance=True)(X, 0.5), "(4, 4), 2 outputs for each"),
    "a shape that is a number": (lambda: lb.NetworkDenoiser(Linear(), lb.Cosine(), 2), "such as (2,)"),
    "a schedule's name": (lambda: lb.NetworkDenoiser(Linear(), "cosine", (2,)), "give a schedule"),
    "a foreign function": (lambda: foreign(module=lambda x, time: x), "give an nn.Module"),
    "foreign steps in the place of a schedule": (lambda: foreign(schedule=1000), "schedule is 1000 of type int"),
    "no foreign target": (lambda: foreign(target=None), "target is None of type NoneType: give a function"),
    "foreign times that are a number": (lambda: foreign(time=999), "time is 999 of type int: give a function"),
    "a foreign shape that is a number": (lambda: foreign(shape=2), "such as (2,)"),
    "x on another device than a foreign module": (lambda: foreign()(X.to("meta"), 0.5), "move all to one device"),
    "times for another batch": (lambda: network()(X, torch.rand(3)), "floats of shape (4,)"),
    "times in a column": (lambda: network()(X, torch.rand(4, 1)), "floats of shape (4,)"),
    "times of integers": (lambda: network()(X, torch.tensor([0, 1, 1, 0])), "between 0 and 1"),
    "a time beyond noise": (lambda: network()(X, 1.5), "times lie between 0"),
    "a step's number": (lambda: network()(X, 500), "schedule.times[k]"),
    "times beyond noise": (lambda: network()(X, torch.full((4,), 1.5)), "t is 1.5 to 1.5"),
    "no time": (lambda: network()(X, float("nan")), "t is nan"),
    "a time in words": (lambda: network()(X, "0.5"), "give a number"),
    "x of integers": (lambda: network()(INTEGERS, 0.5), "x_t.float()"),
    "x in numpy": (lambda: network()(X.numpy(), 0.5), "of type ndarray"),
    "one example": (lambda: network()(X[0], 0.5), "x_t[None]"),
    "x of another shape": (lambda: network()(torch.zeros(4, 3), 0.5), "examples of shape (2,)"),
    "x on another device": (lambda: network()(X.to("meta"), 0.5), "move all to one device"),
    "a label that is a number": (lambda: labelled()(X, 0.5, 1), "labels (4,) of int64"),
    "labels in a list": (lambda: labelled()(X, 0.5, [0, 1, 2, 0]), "labels (4,) of int64"),
    "labels of floats": (lambda: labelled()(X, 0.5, torch.zeros(4)), "dtype int64"),
    "too few labels": (lambda: labelled()(X, 0.5, torch.tensor([0, 1])), "each of 4 examples"),
    "a label that is not there": (lambda: labelled()(X, 0.5, torch.tensor([0, 1, 2, 3])), "knows 0 to 2"),
    "guidance to nothing": (lambda: sample(denoiser=lb.ClassifierFree(labelled(), 2.0)), "needs a condition"),
    "observed of floats": (lambda: network()(X, 0.5, None, torch.ones(4, 2)), "give booleans"),
    "observed of one example": (lambda: network()(X, 0.5, None, torch.ones(2, dtype=torch.bool)), "shape of x, (4, 2)"),
    "a bound of integers": (lambda: elbo(INTEGERS), "x.float()"),
    "a bound of NaN": (lambda: elbo(NAN), "NaN or infinite values in sample 0 and 3 more of 4"),
    "a bound of infinities": (lambda: elbo(X / 0), "NaN or infinite"),
    "a bound of one example": (lambda: elbo(X[0]), "x[None]"),
    "a bound of none": (lambda: elbo(X[:0]), "at least one"),
    "a bound without calls": (lambda: elbo(num_times=0), "num_times is 0"),
    "half a call": (lambda: elbo(num_times=1.5), "a whole number"),
    "a chain the wrong way": (lambda: elbo(chain=lb.grid.uniform(5)), "increasing"),
    "a chain's length": (lambda: elbo(chain=10), "torch.linspace"),
    "a chain in a list": (lambda: elbo(chain=[0.0, 1.0]), "torch.linspace"),
    "a bare seed": (lambda: elbo(noise=3), "Stream(seed=0)"),
    "no decoder": (lambda: lb.elbo(network(), None, X, noise=lb.Stream(seed=0)), "LevelPosterior(num_levels)"),
    "places of others": (lambda: elbo(place=torch.rand(3)), "one number for each example"),
    "levels by their numbers": (lambda: elbo(LEVELS, decoder=lb.LevelPosterior(256)), "not the centre"),
    "levels that are none": (lambda: elbo(decoder=lb.likelihood.DiscretizedGaussian(256, 0.01)), "not the centre"),
    "seeds of another batch": (lambda: elbo(noise=lb.PerSample(range(3))), "give one each"),
    "a density of integers": (lambda: lb.log_prob(network(), INTEGERS), "x.float()"),
    "a density of NaN": (lambda: lb.log_prob(network(), NAN), "NaN or infinite"),
    "a density of one example": (lambda: lb.log_prob(network(), X[0]), "x[None]"),
    "a density of another shape": (lambda: lb.log_prob(network(), torch.zeros(4, 3)), "examples of shape (2,)"),
    "labels for another density": (
        lambda: lb.log_prob(labelled().given(torch.tensor([0])), X),
        "each example of the batch",
    ),
    "a grid the wrong way": (lambda: sample(times=torch.linspace(0, 1, 5)), "must be decreasing"),
    "a grid's length": (lambda: sample(times=50), "grid.uniform(50)"),
    "a grid in a list": (lambda: sample(times=[1.0, 0.5]), "grid.uniform(50)"),
    "a grid with NaN": (lambda: sample(times=torch.tensor([1.0, float("nan")])), "must be decreasing"),
    "start and grid exchanged": (lambda: sample(lb.grid.uniform(3), X), "examples of shape (2,)"),
    "a sampler's class": (lambda: sample(sampler=lb.DDIM), "such as DDIM()"),
    "a sampler's name": (lambda: sample(sampler="ddim"), "such as DDIM()"),
    "sampling with a bare seed": (lambda: sample(noise=7), "Stream(seed=0)"),
    "a start of integers": (lambda: sample(INTEGERS), "x_1.float()"),
    "a start of NaN": (lambda: sample(NAN), "x_1 holds NaN"),
    "no samples": (lambda: lb.start(network(), 0, lb.Stream(seed=0)), "num_samples is 0"),
    "less than no samples": (lambda: lb.start(network(), -1, lb.Stream(seed=0)), "num_samples is -1"),
    "a start beyond noise": (lambda: lb.start(network(), 4, lb.Stream(seed=0), t=2.0), "times lie between"),
    "a grid of no times": (lambda: lb.grid.uniform(0), "starts at 1"),
    "a grid of half a time": (lambda: lb.grid.uniform(5.5), "a whole number"),
    "a seed of floats": (lambda: lb.Stream(0.5), "a whole number"),
    "one seed for all": (lambda: lb.PerSample(4), "range(64)"),
    "seeds of floats": (lambda: lb.PerSample([0.5, 1.5]), "range(64)"),
    "a tensor of float seeds": (lambda: lb.PerSample(torch.rand(4)), "integers"),
    "a loss at one time": (lambda: loss(t=0.5), "a time for each example"),
    "a loss beyond noise": (lambda: loss(t=torch.full((4,), 1.5)), "times lie between"),
    "a loss with other noise": (lambda: loss(eps=torch.zeros(4, 1)), "noise of the shape of x"),
    "a loss of integers": (lambda: loss(INTEGERS), "x.float()"),
    "variations beyond noise": (
        lambda: lb.edit.vary(network(), X, 1.5, lb.DDIM(), lb.grid.uniform(3), lb.Stream(0)),
        "t is 1.5",
    ),
    "encoding another shape": (lambda: lb.edit.encode(network(), torch.zeros(4, 3)), "examples of shape (2,)"),
    "decoding NaN": (lambda: lb.edit.decode(network(), NAN), "x_1 holds NaN"),
    "a method's name": (
        lambda: lb.inverse.posterior_sample("pigdm", network(), None, X, 0.1, lb.grid.uniform(3), lb.Stream(0)),
        "such as PiGDM()",
    ),
    "the mean of nothing": (lambda: lb.mean_and_error(torch.zeros(0)), "at least one"),
    "the mean of two figures each": (
        lambda: lb.mean_and_error(torch.zeros(2, 2)),
        "shape (2, 2): give one of each example",
    ),
    "an unknown target": (lambda: network(target="noise"), "target"),
    "eta beyond one": (lambda: lb.DDIM(eta=3.0), "eta"),
    "churn from more noise to less": (
        lambda: lb.Heun(churn=0.1, churn_from=3.0, churn_to=1.0),
        "the first the smaller",
    ),
    "half a sample": (lambda: lb.start(network(), 2.5, lb.Stream(seed=0)), "a whole number"),
    "steps of a table as times": (lambda: network()(X, torch.tensor([0, 10, 500, 999])), "between 0 and 1"),
    "an array to encode": (lambda: lb.edit.encode(network(), X.numpy()), "of type ndarray"),
    "two batches to interpolate": (lambda: lb.edit.interpolate(network(), X, X[:3], torch.tensor([0.5])), "shape"),
    "a seed of too many bits": (lambda: lb.Stream(2**70), "at most 64 bits"),
    "seeds of too many bits": (lambda: lb.PerSample([2**64]), "at most 64 bits"),
    "a level beyond noise": (lambda: lb.LinearGamma().level(2.0), "between 0, the data, and 1, noise"),
    "a level at no time": (lambda: lb.LinearGamma().level(float("nan")), "between 0, the data, and 1, noise"),
    "a gamma beyond the schedule's": (lambda: lb.LinearGamma().level_at(100.0), "from -13.3 to 5"),
    "a shift by NaN": (lambda: lb.LinearGamma().shifted(float("nan")), "give a finite number"),
    "an offset without end": (lambda: lb.Cosine(offset=1e9), "a number from 0 to 1"),
    "a step up": (
        lambda: gaussian()(X, 0.5).reverse_variance("lower", lb.LinearGamma().level(0.9)),
        "leads to less noise",
    ),
    "a mean of NaN": (lambda: lb.Gaussian(NAN[0], torch.eye(2), lb.LinearGamma()), "give finite numbers"),
    "a weight without end": (
        lambda: lb.GaussianMixture(*mixture(weight=float("inf")), lb.LinearGamma()),
        "positive and finite",
    ),
    "a density of one column of two": (lambda: gaussian().log_prob(torch.zeros(3, 1)), "examples of shape (2,)"),
    "a density of no batch": (lambda: gaussian().log_prob(torch.zeros(2)), "x_t[None]"),
    "a density beyond noise": (lambda: gaussian().log_marginal(X, 2.0), "times lie between 0"),
    "measurements with less than no noise": (
        lambda: gaussian().posterior(torch.ones(1, 2), torch.zeros(1), -0.1),
        "noise_std is -0.1",
    ),
    "half a draw": (lambda: lb.Effort(num_draws=2.5), "num_draws is 2.5: it is a whole number"),
    "a variance by no name": (lambda: lb.Effort(reverse="x"), "choose one of lower, upper"),
    "times of a chain out of order": (lambda: lb.Effort(num_steps=2, times=(0.0, 2.0, 1.0)), "they increase from 0"),
    "half a level": (lambda: lb.LevelPosterior(2.5), "a whole number"),
    "places beyond a part": (lambda: elbo(place=torch.full((4,), 2.1)), "from 0 to below 1"),
    "a name as data": (lambda: lb.recipe("digits"), "open_dataset(NAME)"),
    "an unknown model": (lambda: lb.recipe(lb.open_dataset("moons"), model="gna"), "choose one of diffusion"),
    "an unknown purpose": (lambda: lb.recipe(lb.open_dataset("moons"), purpose="x"), "choose one of"),
    "a setting of data that is written otherwise": (
        lambda: lb.open_dataset("moons", layuot="NC"),
        "did you mean layout?",
    ),
    "half a sample of a run": (lambda: lb.generate(None, 2.5), "num_samples is 2.5: it is a whole number"),
    "a seed between two": (
        lambda: lb.generate(None, 2, seed=1.5),
        "seed is 1.5: it is at least 0 and below 2^32, a whole number",
    ),
    "tensors to score": (lambda: check_examples(None, X), "of type Tensor: give an array of numpy"),
    "a device by no name": (lambda: prepared("gpu"), "give cpu, cuda"),
}
"""Each by its name: how it is made, and words of the error."""
RIGHT = {
    "numbers of numpy": lambda: lb.start(network(), np.int64(3), lb.Stream(np.int64(0))),
    "a label for each": lambda: labelled()(X, 0.5, torch.tensor([0, 1, 2, -1])),
}
"""What is no mistake, though it is written like some."""


def outcome(mistake) -> tuple[str, str]:
    """The error's type, and its words or where it came from."""
    try:
        return "nothing", repr(mistake())
    except Exception as error:
        kind = type(error).__name__
        return kind, str(error) if kind == "InputError" else traceback.format_exc()


if __name__ == "__main__":
    mistakes = {name: mistake for name, (mistake, _) in MISTAKES.items()}
    print(json.dumps({name: outcome(made) for name, made in {**mistakes, **RIGHT}.items()}))
