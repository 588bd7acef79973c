r"""A module made elsewhere, in the conventions that it was made in, as a denoiser.

Every convention is three statements. The module's data are $x' = s x + m$; its schedule says how noisy $x'_t = \alpha' x' +
\sigma' \epsilon$ is; and what it returns is, on average, $F = p x' + q \epsilon$ with coefficients that the noise level
determines. From the two equations

$$x' = \frac{q\, x'_t - \sigma' F}{\alpha' q - \sigma' p}, \qquad x = \frac{x' - m}{s}, \qquad
\gamma = \gamma' - 2 \log s,$$

and the same noise level is one of a schedule for x, which all of the library then works with.
"""

import inspect
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lowerbound.arguments import described
from lowerbound.denoiser.base import Denoiser, Prediction, preserving
from lowerbound.denoiser.network import one_device, takes
from lowerbound.elementary import Scalar, expand
from lowerbound.errors import InputError
from lowerbound.imports.source import Source
from lowerbound.schedule import RECTIFIED_FLOW, Level, Schedule

Target = Callable[[Level], tuple[Scalar, Scalar]]
"""Of a noise level p and q, by which the output is p x + q eps."""


def _v(level: Level) -> tuple[Scalar, Scalar]:
    signal, noise = preserving(level.gamma)
    return -noise, signal


OUTPUTS: Mapping[str, Target] = {
    "x": lambda level: (1.0, 0.0),
    "eps": lambda level: (0.0, 1.0),
    "v": _v,
    "score": lambda level: (0.0, -1 / level.sigma),
    "velocity": lambda level: (-1.0, 1.0),
}
"""What modules return, by its name."""


class ForeignDenoiser(Denoiser):
    r"""A module $(x'_t, \text{time}) \mapsto F$ of another library, unchanged.

    | target | F |
    |---|---|
    | x | $x'$ |
    | eps | $\epsilon$ |
    | v | $a \epsilon - s x'$ with $a^2 = \mathrm{sigmoid}(-\gamma')$, $s^2 = \mathrm{sigmoid}(\gamma')$ |
    | score | $-\epsilon / \sigma'$ |
    | velocity | $\epsilon - x'$, which is $d x'_t / d \sigma'$ along a rectified flow |
    | a function | $p x' + q \epsilon$, where it gives $(p, q)$ of a `Level`: $x' - \epsilon$ is `lambda level: (1, -1)` |

    The module is put into evaluation, in which dropout is off.

    Arguments:
        module: called as module(x'_t, time), x'_t of (B, *shape) and time of (B,), both in the module's own precision, and
            with a condition as a third argument where one is given.
        schedule: the noise schedule of the module's data: its gamma, and the scaling of what the module is given.
        shape: the shape of one example.
        target: what the module returns.
        time: what it is given as its time, of a `Level`: `lambda level: 999 * level.t` for the steps 0 to 999 of a table,
            `lambda level: level.sigma`, and so on.
        scale, shift: s and m of the module's data; `scale=K / (K - 1)` where K levels go from -1 to 1, ends included.
        learned_variance: whether the module returns twice as many channels, the second half of which says from -1 to 1
            where its reverse variance lies between the lower and the upper one (Nichol & Dhariwal 2021, equation 15).

    Raises:
        InputError: for an unknown target, a velocity under another scaling than that of a rectified flow, a scale that is
            not positive, or a module that can't be called so or returns anything else.
    """

    rows_are_apart = True
    source: Source
    """What it was read from, if it was."""

    def __init__(
        self,
        module: nn.Module,
        schedule: Schedule,
        shape: tuple[int, ...],
        target: str | Target,
        time: Callable[[Level], Scalar],
        *,
        scale: float = 1.0,
        shift: float = 0.0,
        learned_variance: bool = False,
    ):
        if not isinstance(module, nn.Module):
            raise InputError(
                f"the module is {described(module)}: give an nn.Module, whose forward takes (x_t, time) or (x_t, time, cond)"
            )
        if not takes(module, 2):
            raise InputError(
                f"the module's forward takes {inspect.signature(module.forward)}, and is called as module(x_t, time): write "
                "a module around it that takes these two, and a condition as a third where it has conditions"
            )
        if not (0 < scale < math.inf and math.isfinite(shift)):
            raise InputError(
                f"scale is {scale} and shift {shift}: the module's data are scale * x + shift, of a positive scale"
            )
        super().__init__(schedule, shape)
        if scale != 1:
            self.schedule = schedule.shifted(-2 * math.log(scale))
        if isinstance(target, str) and target not in OUTPUTS:
            raise InputError(
                f"unknown target {target!r}: choose one of {', '.join(OUTPUTS)}, or give a function of a Level that returns "
                "p and q of the output p x + q eps"
            )
        if target == "velocity" and schedule.scaling is not RECTIFIED_FLOW:
            raise InputError(
                f"the target 'velocity' is eps - x, of a rectified flow, and the schedule's scaling is "
                f"{schedule.scaling.name}: give RectifiedFlow(), or a function of a Level that returns p and q of the "
                "output p x + q eps"
            )
        target = OUTPUTS[target] if isinstance(target, str) else target
        for name, value in (("time", time), ("target", target)):
            if not callable(value):
                raise InputError(f"{name} is {described(value)}: give a function of a Level")
        self.module, self.takes_cond = module, takes(module, 3)
        self.target = target
        self.time = time
        self.scale = scale
        self.shift = shift
        self.learned_variance = learned_variance
        self.module.eval()

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale:g}, shift={self.shift:g}"

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        theirs = self.their_level(level)
        noisy = expand(theirs.alpha * self.scale / level.alpha, x_t) * x_t + expand(theirs.alpha * self.shift, x_t)
        output = self._output(noisy, theirs, cond)
        output, mix = output.chunk(2, 1) if self.learned_variance else (output, None)
        from_x, from_eps = self.target(theirs)
        whole = theirs.alpha * from_eps - theirs.sigma * from_x
        x = expand(from_eps / whole, x_t) * noisy - expand(theirs.sigma / whole, x_t) * output
        x = (x - self.shift) / self.scale
        return Prediction(x_t, level, x, self.schedule, variance_mix=None if mix is None else (mix + 1) / 2)

    def their_level(self, level: Level) -> Level:
        """The noise level of the module's data that is the same as one of x: of the same time."""
        gamma, scaling = level.gamma + 2 * math.log(self.scale), self.schedule.scaling
        return Level(level.t, gamma, scaling.alpha(gamma), scaling.sigma(gamma))

    def _output(self, noisy: Tensor, level: Level, cond: Tensor | None) -> Tensor:
        """What the module says, in the precision of x."""
        if cond is not None and not self.takes_cond:
            raise InputError("a condition was given, and the module takes none: its forward has no third argument")
        weight = next((each for each in self.module.parameters() if each.is_floating_point()), noisy)
        time = torch.as_tensor(self.time(level), dtype=weight.dtype, device=noisy.device)
        with one_device(noisy, weight, cond):
            output = self.module(noisy.to(weight.dtype), time.expand(len(noisy)), *(() if cond is None else (cond,)))
        channels = noisy.shape[1] * (1 + self.learned_variance)
        expected = (len(noisy), channels, *noisy.shape[2:])
        if not isinstance(output, Tensor) or output.shape != expected or not output.is_floating_point():
            raise InputError(
                f"the module returned {described(output)}: it should be a tensor of floats of shape {expected}; write a "
                "module around it that returns that"
            )
        return output.to(noisy.dtype)
