r"""The schedulers of diffusers, and what their settings say of a model.

| scheduler | $x'_t$ | network's time | target |
|---|---|---|---|
| of a table of T betas (DDPM, DDIM, ...) | variance preserving, of `alphas_cumprod` | $k = (T - 1) t$ | `prediction_type` |
| EDM | $x' + \sigma' \epsilon$ | $\frac14 \log \sigma'$, around it $c_{in}, c_{skip}, c_{out}$ | x |
| flow matching | $(1 - u) x' + u \epsilon$ | $T u$ | velocity, $\epsilon - x'$ |
| score SDE, variance exploding | $x' + \sigma' \epsilon$ | $\sigma'$ | score |

Between the steps k of a table $\gamma'$ is linear in k, and the network is asked at fractional k; one whose time is an
embedding of whole steps, at the nearest. A table that ends without any signal ends here with half the signal of
the step before. What a scheduler says of sampling alone (spacing of steps, clipping, thresholding, order) has no part in
the model.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lowerbound.data.extras import extra
from lowerbound.errors import InputError
from lowerbound.imports.conventions import Conventions, Preconditioned
from lowerbound.imports.settings import check_steps, chosen, number
from lowerbound.schedule import EDM, RectifiedFlow, Tabulated, geometric
from lowerbound.words.printable import printable

OF_TABLES = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
)
OF_EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
OF_FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
OF_SCORES = ("ScoreSdeVeScheduler",)
SCHEDULERS = (*OF_TABLES, *OF_EDM, *OF_FLOWS, *OF_SCORES)
TARGETS = {"epsilon": "eps", "sample": "x", "v_prediction": "v"}
"""Of tables, by `prediction_type`."""
WITHOUT_EFFECT = {"use_flow_sigmas": False, "invert_sigmas": False, "timestep_type": "discrete"}
"""Settings by which a scheduler would mean something else, and the value at which it does not."""


def conventions(name: str, stated: dict[str, Any]) -> Conventions:
    """What a scheduler's settings mean.

    Raises:
        InputError: if they mean something that is not known here.
    """
    kind = getattr(library(), name)
    accepted = {key: value for key, value in stated.items() if key in inspect.signature(kind).parameters}
    check_steps(stated.get("num_train_timesteps", 1000), "num_train_timesteps")
    scheduler: Any = built(kind, accepted, name)
    config = scheduler.config
    for key, neutral in WITHOUT_EFFECT.items():
        if stated.get(key, neutral) not in (neutral, None):
            raise InputError(
                f"{key} is {stated[key]!r} in the settings of the {name}: that is not supported, {neutral!r} is"
            )
    if name in OF_TABLES:
        target = chosen(TARGETS, stated.get("prediction_type", config.prediction_type), "prediction_type", name)
        if stated.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in accepted:
            raise InputError(
                f"rescale_betas_zero_snr is set, and the {name} knows nothing of it: name another scheduler"
            )
        schedule = _table(scheduler.alphas_cumprod, name)
        last = len(schedule.knots) - 1
        return Conventions(schedule, target, lambda level: last * level.t)
    if name in OF_FLOWS:
        return Conventions(RectifiedFlow(), "velocity", lambda level: config.num_train_timesteps * level.sigma)
    low, high = (number(config[key], key) for key in ("sigma_min", "sigma_max"))
    if name in OF_SCORES:
        return Conventions(geometric(low, high), "score", lambda level: level.sigma)
    sign = chosen({"epsilon": 1.0, "v_prediction": -1.0}, config.prediction_type, "prediction_type", name)
    sigma_data, rho = number(config.sigma_data, "sigma_data"), number(config.rho, "rho")
    schedule = geometric(low, high) if config.sigma_schedule == "exponential" else EDM(low, high, rho)
    return Conventions(
        schedule, "x", lambda level: level.sigma, lambda network: Preconditioned(network, sigma_data, sign)
    )


def _table(alphas_cumprod: Tensor, name: str) -> Tabulated:
    r"""The schedule of $\bar\alpha_1 ... \bar\alpha_T$, as the model was trained with them: in single precision."""
    alpha_bar = alphas_cumprod.double()
    if len(alpha_bar) > 1 and alpha_bar[-1] == 0:
        alpha_bar[-1] = alpha_bar[-2] / 4
    try:
        return Tabulated(torch.log1p(-alpha_bar) - torch.log(alpha_bar))
    except InputError as error:
        raise InputError(f"the betas of the {name} are no way from data to noise: {error}") from error


def library() -> Any:
    """The library, which an extra brings."""
    return extra("diffusers", "diffusers", "a model of diffusers")


def built(kind: Callable[..., Any], settings: dict[str, Any], name: str) -> Any:
    """An object of the library's, from settings that may be anything.

    Raises:
        InputError: if the library makes none of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of other libraries
            return kind(**settings)
    except InputError:  # of the size of a network
        raise
    except Exception as error:  # the library checks little of what it is given
        reason = printable(" ".join(str(error).split())[:200])
        raise InputError(f"the settings of the {name} make none: {type(error).__name__}: {reason}") from error
