r"""Denoisers: $E[x | x_t]$, and every other view of the same thing.

A denoiser turns a noisy $x_t$ into a `Prediction` of the data x. What a network is trained to output (its target) is a
matter of units: with $y = x_t / \alpha_t$ and $r = e^{\gamma_t / 2} = \sigma_t / \alpha_t$, so that $y = x + r \epsilon$,
each target is an affine function of (x, y) (`TARGETS`). The network sees $y / \sqrt{\sigma_{data}^2 + r^2}$, of unit
variance, and $\gamma$, in its own precision, whatever that of $x_t$: around it nothing is lost of an $x_t$ in double, whose
noise may be fine. The coefficients of x, eps, v and edm depend on $\gamma$ alone, so that the same network makes the
same prediction in every scaling; score, velocity and mu are in the units of $x_t$, and mu and velocity know of t as well.
"""

import inspect
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lowerbound.arguments import described
from lowerbound.denoiser.base import Denoiser, Prediction, preserving, slopes
from lowerbound.elementary import Scalar, exp, expand, sqrt
from lowerbound.errors import InputError
from lowerbound.fitted import FittedMixture, FittedWindows
from lowerbound.reverse import posterior
from lowerbound.schedule import CLEAN, Level, Schedule
from lowerbound.settings import check_choice

TARGETS = ("x", "eps", "v", "score", "velocity", "mu", "edm")


class OfNetwork(Denoiser):
    r"""A denoiser made of one network.

    Arguments:
        network: (x, gamma, cond) -> tensor. One whose `takes_observed` is True is called with a fourth argument, which
            entries are there, or None: all.
        schedule: the noise schedule.
        shape: the shape of one example.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.

    Raises:
        InputError: if `sigma_data` is not positive, or the network does not take three arguments.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, shape: tuple[int, ...], sigma_data: float = 1.0):
        super().__init__(schedule, shape)
        if not sigma_data > 0:
            raise InputError(f"sigma_data is {sigma_data}: it is a standard deviation and must be positive")
        self.network = check_network(network)
        self.sigma_data = sigma_data

    def output(
        self,
        x_t: Tensor,
        level: Level,
        cond: Tensor | None,
        observed: Tensor | None = None,
        *,
        outputs_per_entry: int = 1,
        beside: Tensor | None = None,
        kinds: Tensor | None = None,
    ) -> Tensor:
        r"""What the network says of $x_t$, which it sees with unit variance, beside $\gamma$, in its own precision, of
        further channels, if there are any, and, if its `takes_kinds` is True, of the chances of kinds of examples, (B, K).

        Raises:
            InputError: if that does not have the shape of $x_t$, with so many channels for each, or the devices differ.
        """
        scale = 1 / (level.alpha * sqrt(self.sigma_data**2 + exp(level.gamma)))
        # len() in the place of shape[0] would fix the size of the batch where a model is exported
        gamma = torch.as_tensor(level.gamma, dtype=x_t.dtype, device=x_t.device).expand(x_t.shape[0])
        # in a variance-preserving schedule of data of unit variance the scale is 1 but for rounding
        scaled = x_t if isinstance(scale, float) and abs(scale - 1) < 1e-14 else expand(scale, x_t) * x_t
        scaled = scaled if beside is None else torch.cat([scaled, beside], 1)
        weight = next(self.network.parameters(), x_t)
        presence = (observed,) if getattr(self.network, "takes_observed", False) else ()
        of_kinds = kinds is not None and getattr(self.network, "takes_kinds", False)
        told = {"kinds": kinds.to(weight.dtype)} if of_kinds else {}
        with one_device(x_t, weight, cond):
            output = self.network(scaled.to(weight.dtype), gamma.to(weight.dtype), cond, *presence, **told)
        expected = (x_t.shape[0], outputs_per_entry * x_t.shape[1], *x_t.shape[2:])
        if not isinstance(output, Tensor) or output.shape != expected:
            why = "" if outputs_per_entry == 1 else f", {outputs_per_entry} outputs for each entry"
            raise InputError(
                f"the network's output is {described(output)}: it should be a tensor of shape {expected}{why}"
            )
        return output.to(x_t.dtype)


class NetworkDenoiser(OfNetwork):
    r"""A network and the meaning of its output.

    | target | the network's output F | $\hat x$ |
    |---|---|---|
    | x | x | F |
    | eps | $\epsilon$ | $y - r F$ |
    | v | $a \epsilon - s x$ | $a^2 y - s F$, with $a^2 = \mathrm{sigmoid}(-\gamma)$, $s^2 = \mathrm{sigmoid}(\gamma)$ |
    | score | $\nabla \log q(x_t)$ | $y + \sigma_t r F$ |
    | velocity | $d x_t / dt$ | $2 (\frac{\sigma'}{\sigma} x_t - F) / (\alpha \gamma')$ |
    | mu | mean of $q(x_s \| x_t, x)$, s one of `num_steps` steps below t | its inverse in x |
    | edm | EDM's preconditioned output | $c_{skip} y + c_{out} F$ |

    EDM: $c_{skip} = \sigma_d^2 / (r^2 + \sigma_d^2)$, $c_{out} = r \sigma_d / \sqrt{r^2 + \sigma_d^2}$ (Karras et al. 2022,
    table 1); $c_{noise}$ is left to the network, which is given $\gamma$ itself.

    Arguments:
        network: (x, gamma, cond) -> tensor of x's shape; of twice as many channels if `learned_variance`. One whose
            `takes_observed` is True is called with a fourth argument, which entries are there, or None: all.
        schedule: the noise schedule.
        shape: the shape of one example.
        target: what the network outputs, one of `TARGETS`.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.
        num_steps: for the target mu, the number of steps of the chain it belongs to; below the first level that chain
            ends at the data.
        learned_variance: whether the second half of the network's output is the mix of the reverse variances.
        mixture: of Gaussians that the network stands upon, or the one Gaussian of windows of series, of the target eps: F is
            what is added to its $\hat\epsilon$.

    Raises:
        InputError: for an unknown target, a mixture under another target than eps, a network that does not take three
            arguments, or a `num_steps` that is missing or has no effect.
    """

    rows_are_apart = True

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        shape: tuple[int, ...],
        target: str = "eps",
        sigma_data: float = 1.0,
        num_steps: int | None = None,
        learned_variance: bool = False,
        mixture: FittedMixture | FittedWindows | None = None,
    ):
        super().__init__(network, schedule, shape, sigma_data)
        check_choice("target", target, TARGETS)
        if (target == "mu") != (num_steps is not None) or (num_steps is not None and num_steps < 1):
            raise InputError(
                f"target {target!r} with num_steps={num_steps}: the target 'mu' needs the number of steps (at least 1) of "
                "the chain whose posterior mean it is, and no other target has one"
            )
        if mixture is not None and target != "eps":
            raise InputError(f"a network of the target {target!r} cannot stand upon a mixture, whose target is 'eps'")
        self.target = target
        self.num_steps = num_steps
        self.learned_variance = learned_variance
        self.mixture = mixture

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        output = self.output(x_t, level, cond, observed, outputs_per_entry=1 + self.learned_variance)
        output, mix = output.chunk(2, 1) if self.learned_variance else (output, None)
        if self.mixture is not None:
            output = output + self.mixture.eps(x_t, level, cond, observed)
        from_x_t, from_output = (expand(c, x_t) for c in self._x_coefficients(level, exp(level.gamma / 2)))
        if isinstance(from_output, Tensor):
            x = from_x_t * x_t + from_output * output
        else:
            x = torch.add(from_x_t * x_t, output, alpha=from_output)  # one operation less
        return Prediction(x_t, level, x, self.schedule, variance_mix=mix)

    def _x_coefficients(self, level: Level, ratio: Scalar) -> tuple[Scalar, Scalar]:
        r"""The two coefficients of $\hat x$ on $x_t$ and on the network's output."""
        match self.target:
            case "x":
                return 0 * ratio, 1 + 0 * ratio
            case "eps":
                return 1 / level.alpha, -ratio
            case "v":
                a, s = preserving(level.gamma)
                return a**2 / level.alpha, -s
            case "score":
                return 1 / level.alpha, level.sigma * ratio
            case "velocity":
                alpha_slope, sigma_slope = slopes(self.schedule, level)
                relative = sigma_slope / level.sigma
                difference = alpha_slope - level.alpha * relative  # = -alpha gamma' / 2
                return -relative / difference, 1 / difference
            case "mu":
                step = posterior(level, self._below(level))
                return -step.from_x_t / step.from_x, 1 / step.from_x
            case _:
                variance = self.sigma_data**2 + ratio**2
                return self.sigma_data**2 / variance / level.alpha, ratio * self.sigma_data / sqrt(variance)

    def _below(self, level: Level) -> Level:
        """The level one step of the chain below, the data itself below the first step."""
        assert self.num_steps is not None
        # the tolerance keeps a grid's own first time, such as 1 - (T-1)/T, from rounding to just above or below 1/T
        s = level.t - 1 / self.num_steps
        if not isinstance(s, Tensor):
            return self.schedule.level(max(s, 0.0)) if s > -1e-9 else CLEAN
        inside = self.schedule.level(s.clamp(min=0))
        last = s < -1e-6
        parts = zip(inside.parts, CLEAN.parts, strict=True)
        return Level(*(torch.where(last, clean, torch.as_tensor(value)) for value, clean in parts))


def check_network(network: nn.Module) -> nn.Module:
    """The network, refused with an InputError if it is no module that can be called as network(x, gamma, cond)."""
    if not isinstance(network, nn.Module):
        raise InputError(
            f"the network is {described(network)}: give an nn.Module, an object of a class whose forward takes "
            "(x, gamma, cond)"
        )
    if not takes(network, 3):
        raise InputError(
            f"the network's forward takes {inspect.signature(network.forward)}, and is called as network(x, gamma, cond): x "
            "of unit variance (B, *shape), gamma (B,) the negative log signal-to-noise ratio, cond a condition or None; "
            "give it these three"
        )
    return network


def takes(module: nn.Module, num_arguments: int) -> bool:
    """Whether a module's forward can be called with so many arguments."""
    try:
        parameters = inspect.signature(module.forward)
    except (TypeError, ValueError):  # compiled or scripted: only a call can tell
        return True
    try:
        parameters.bind(*[None] * num_arguments)
    except TypeError:
        return False
    return True


@contextmanager
def one_device(x_t: Tensor, weight: Tensor, cond: Tensor | None) -> Generator[None]:
    """Call a network, whose refusal of tensors that are on several devices becomes an InputError."""
    try:
        yield
    except RuntimeError as error:
        devices = {str(tensor.device) for tensor in (x_t, weight, cond) if tensor is not None}
        if len(devices) == 1:
            raise
        raise InputError(
            f"x and cond are on {x_t.device} and {x_t.device if cond is None else cond.device}, the network on "
            f"{weight.device}: move all to one device, x.to(denoiser.device)"
        ) from error
