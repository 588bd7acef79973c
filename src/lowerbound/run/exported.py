r"""A run's denoiser as ONNX, which other programs read.

It holds $(x_t, \gamma, c) \mapsto \hat x$ in one fixed convention, whatever the run was trained in: $x_t$ is variance
preserving, $x_t = \alpha x + \sigma \epsilon$ with $\alpha^2 = \mathrm{sigmoid}(-\gamma)$ and $\sigma^2 =
\mathrm{sigmoid}(\gamma)$; a condition c, and which entries are there, are inputs where the run was trained with them. Beside
it `model.json` says what the inputs and the entries of x are, and with which $\gamma$ the model was trained.
"""

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowerbound.data.extras import extra
from lowerbound.data.spec import DataSpec
from lowerbound.denoiser import ByLevel, Denoiser, NetworkDenoiser, SubspaceDenoiser
from lowerbound.discrete import LevelDenoiser
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.files.whole import check_folder, check_new, new_folder
from lowerbound.forest import Forest
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.langevin.energy import EnergyDenoiser
from lowerbound.mixed import BlockDenoiser
from lowerbound.run.opened import Run
from lowerbound.schedule import Level

Exportable = NetworkDenoiser | SubspaceDenoiser | LevelDenoiser | BlockDenoiser | ByLevel
OPSET = 18
OF_GAMMA = ("x", "eps", "v", "edm")
"""Targets that mean the same whatever the schedule."""


class OfGamma(nn.Module):
    r"""A denoiser as $(x_t, \gamma, c) \mapsto \hat x$, $x_t$ variance preserving.

    Arguments:
        denoiser: whose prediction depends on gamma alone.
    """

    def __init__(self, denoiser: Exportable):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x_t: Tensor, gamma: Tensor, cond: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        alpha, sigma = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
        level = Level(gamma, gamma, alpha, sigma)
        if observed is not None:
            x_t = torch.where(observed, x_t, 0)
        if not isinstance(self.denoiser, ByLevel):
            return self.denoiser.predict(x_t, level, cond, observed).x
        # which rows a piece has is no part of a graph: both are asked for all
        pieces = (self.denoiser.fine, self.denoiser.coarse)
        fine, coarse = (piece.predict(x_t, level, cond, observed).x for piece in pieces)
        is_coarse = torch.as_tensor(expand(gamma, x_t)) >= self.denoiser.split
        return torch.where(is_coarse, coarse, fine)


def export_onnx(run: Run, out: Path | str) -> Path:
    """Write a run's denoiser as `model.onnx` and what its numbers mean as `model.json`, for batches of any size.

    The folder appears whole or not at all.

    Arguments:
        run: of networks of gamma.
        out: the folder, which is not there yet or empty.

    Raises:
        InputError: if the extra `onnx` is not installed, or the model is another, or distilled, or stands upon a Gaussian or
            a mixture of incomplete data.
    """
    out = Path(out)
    denoiser = _exportable(run)
    operators = extra("onnxscript", "onnx", "export to ONNX").opset18
    check_out(out)
    spec = run.spec.conditioned(run.config.data.conditional)
    inputs = _inputs(spec)
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(
        logging.ERROR
    )  # of libraries not needed here
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter's own use of other libraries
        program = torch.onnx.export(
            OfGamma(denoiser).eval(),
            kwargs=inputs,
            dynamo=True,
            input_names=list(inputs),
            output_names=["x"],
            dynamic_shapes={name: {0: batch} for name in inputs},
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.sigmoid.default: partial(_sigmoid, operators)},
            verbose=False,
        )
    assert program is not None
    schedule = denoiser.schedule
    facts = {
        "inputs": {name: ["batch", *example.shape[1:]] for name, example in inputs.items()},
        "output": "x, the mean of the data given x_t",
        "x_t": "sqrt(sigmoid(-gamma)) x + sqrt(sigmoid(gamma)) eps",
        "gamma": [schedule.gamma_min, schedule.gamma_max],
        **{name: text for name, text in _facts(spec).items() if name in inputs},
        "data": spec.name,
        "encoding": spec.encoding.description,
        "stored": spec.encoding.to_dict(),
        "num_levels": spec.num_levels,
        "level": None if spec.num_levels is None else "level k of K is (2 k + 1) / K - 1",
    }
    with new_folder(out) as unfinished:
        program.save(unfinished / "model.onnx", external_data=False)
        (unfinished / "model.json").write_text(json.dumps(facts, indent=2) + "\n")
    return out


def _sigmoid(operators: Any, x: Any) -> Any:
    """The sigmoid by its exponential: onnxruntime's own is off by a thousandth of its value far below zero.

    There it is the variance of little noise.
    """
    return operators.Reciprocal(operators.Add(operators.Exp(operators.Neg(x)), 1.0))


def check_out(out: Path) -> None:
    """Refuse a place that is taken, or that nothing can be made in.

    Raises:
        InputError: if it is.
    """
    check_folder(out)
    check_new(out)


def _inputs(spec: DataSpec) -> dict[str, Tensor]:
    """An example of each input, two rows of them, for a run of data with these conditions."""
    inputs = {"x_t": torch.zeros(2, *spec.shape), "gamma": torch.zeros(2)}
    if spec.series is not None:
        inputs["cond"] = torch.full((2, spec.series.num_given, *spec.shape[1:]), torch.nan)
    elif spec.num_classes:
        inputs["cond"] = torch.zeros(2, dtype=torch.int64)
    elif spec.num_condition_features:
        inputs["cond"] = torch.zeros(2, spec.num_condition_features)
    if spec.has_missing or spec.series is not None:
        inputs["observed"] = torch.ones(2, *spec.shape, dtype=torch.bool)
    return inputs


def _facts(spec: DataSpec) -> dict[str, Any]:
    """What the inputs beside x_t and gamma are."""
    if spec.series is not None:
        cond: Any = "the entries of x that are known, then the covariates; NaN where nothing is known"
    elif spec.vectors is not None:
        cond = {
            "rows": "(vector - shift) / scale; NaN for no condition",
            "shift": spec.vectors.shift,
            "scale": spec.vectors.scale,
        }
    else:
        cond = {"labels": "the place of its class among these, from 0; -1 for no label", "classes": spec.class_names}
    return {"cond": cond, "observed": "whether an entry of x_t is there; where it is not, x_t is not looked at"}


def _exportable(run: Run) -> Exportable:
    """The run's denoiser, if it is a function of a noisy example, gamma and conditions that ONNX can state."""
    denoiser: Denoiser = run.denoiser
    where = f"the run in {run.folder.path}"
    pieces = (denoiser.fine, denoiser.coarse) if isinstance(denoiser, ByLevel) else (denoiser,)
    if not isinstance(denoiser, Exportable) or not all(map(_is_of_gamma, pieces)):
        raise InputError(
            f"{where} {_obstacle(denoiser)}; networks of the targets {', '.join(OF_GAMMA)}, levels or blocks alone are "
            "written as ONNX"
        )
    is_whole = not run.spec.has_missing and run.spec.series is None
    if not is_whole and any(getattr(piece, "mixture", None) is not None for piece in pieces):
        raise InputError(
            f"the network of {where} stands upon a Gaussian or a mixture, which for every pattern of missing or known "
            "entries solves equations of its own, and ONNX has no operator for these: train one with "
            "--denoiser.components 0"
        )
    if any(getattr(getattr(piece, "mixture", None), "loadings", None) is not None for piece in pieces):
        raise InputError(
            f"the network of {where} stands upon factors, which for every noise level take equations of their own, and ONNX "
            "has no operator for these: train one with --denoiser.factors 0"
        )
    if run.diffusion.times is not None:
        raise InputError(f"{where} is distilled and knows few noise levels: export the run that it was distilled from")
    return denoiser


def _obstacle(denoiser: Denoiser) -> str:
    """Why a denoiser is not written, and what to train in its place, if there is something."""
    if isinstance(denoiser, ForeignDenoiser):
        return "was imported, and --as diffusers takes what came from there"
    if isinstance(denoiser, Forest | EnergyDenoiser):
        kind = "a forest" if isinstance(denoiser, Forest) else "an energy"
        return f"is {kind}: train a network, by --model diffusion"
    return "has a network of another target: train one with --denoiser.target v"


def _is_of_gamma(piece: Denoiser) -> bool:
    if isinstance(piece, NetworkDenoiser):
        return piece.target in OF_GAMMA
    return isinstance(piece, SubspaceDenoiser | LevelDenoiser | BlockDenoiser)
