r"""A run's model in files that other programs read: ONNX of its denoiser, or the pipeline of diffusers that it came from.

ONNX holds $(x_t, \gamma) \mapsto \hat x$ in one fixed convention, whatever the run was trained in: $x_t$ is variance
preserving, $x_t = \alpha x + \sigma \epsilon$ with $\alpha^2 = \mathrm{sigmoid}(-\gamma)$ and $\sigma^2 =
\mathrm{sigmoid}(\gamma)$. Beside it `model.json` says what the entries of x are, and with which $\gamma$ the model was
trained.
"""

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from lowerbound.data.extras import extra
from lowerbound.denoiser import BlockDenoiser, ByLevel, Denoiser, ForeignDenoiser, LevelDenoiser, NetworkDenoiser
from lowerbound.denoiser.forest import Forest
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.files import check_folder, replacing
from lowerbound.imports import FAMILIES
from lowerbound.imports.diffusers import Diffusers
from lowerbound.langevin.energy import EnergyDenoiser
from lowerbound.run.opened import Run
from lowerbound.schedule import Level
from lowerbound.training.distill import check_empty
from lowerbound.training.folder import RunFolder

Exportable = NetworkDenoiser | LevelDenoiser | ByLevel
OPSET = 18
OF_GAMMA = ("x", "eps", "v", "edm")
"""Targets that mean the same whatever the schedule."""


class OfGamma(nn.Module):
    r"""A denoiser as $(x_t, \gamma) \mapsto \hat x$, $x_t$ variance preserving.

    Arguments:
        denoiser: whose prediction depends on gamma alone.
    """

    def __init__(self, denoiser: Exportable):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x_t: Tensor, gamma: Tensor) -> Tensor:
        alpha, sigma = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
        level = Level(gamma, gamma, alpha, sigma)
        if not isinstance(self.denoiser, ByLevel):
            return self.denoiser.predict(x_t, level, None, None).x
        # which rows a piece has is no part of a graph: both are asked for all
        fine, coarse = (piece.predict(x_t, level, None, None).x for piece in (self.denoiser.fine, self.denoiser.coarse))
        is_coarse = torch.as_tensor(expand(gamma, x_t)) >= self.denoiser.split
        return torch.where(is_coarse, coarse, fine)


def export_onnx(run: Run, out: Path | str) -> Path:
    """Write a run's denoiser as `model.onnx` and what its numbers mean as `model.json`, for batches of any size.

    The folder appears whole or not at all.

    Arguments:
        run: of data without conditions and missing entries.
        out: the folder, which is not there yet or empty.

    Raises:
        InputError: if the extra `onnx` is not installed, or the model is another than a single network of gamma.
    """
    out = Path(out)
    denoiser = _exportable(run)
    extra("onnxscript", "onnx", "export to ONNX")
    check_out(out)
    example = torch.zeros(2, *denoiser.shape), torch.zeros(2)
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(
        logging.ERROR
    )  # of libraries not needed here
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter's own use of other libraries
        program = torch.onnx.export(
            OfGamma(denoiser).eval(),
            example,
            dynamo=True,
            input_names=["x_t", "gamma"],
            output_names=["x"],
            dynamic_shapes=({0: batch}, {0: batch}),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    schedule, spec = denoiser.schedule, run.spec
    facts = {
        "inputs": {"x_t": ["batch", *denoiser.shape], "gamma": ["batch"]},
        "output": "x, the mean of the data given x_t",
        "x_t": "sqrt(sigmoid(-gamma)) x + sqrt(sigmoid(gamma)) eps",
        "gamma": [schedule.gamma_min, schedule.gamma_max],
        "data": spec.name,
        "encoding": spec.encoding.description,
        "num_levels": spec.num_levels,
        "level": None if spec.num_levels is None else "level k of K is (2 k + 1) / K - 1",
    }
    with replacing(out) as unfinished:
        unfinished.mkdir(parents=True, exist_ok=True)
        program.save(unfinished / "model.onnx", external_data=False)
        (unfinished / "model.json").write_text(json.dumps(facts, indent=2) + "\n")
    return out


def export_diffusers(run: Run, out: Path | str) -> Path:
    """Write the pipeline of diffusers that a run was imported from: the same network, weights and scheduler.

    The folder appears whole or not at all.

    Arguments:
        run: that was imported from such a pipeline.
        out: the folder, which is not there yet or empty.

    Raises:
        InputError: if it was made in another way, whose network is none of diffusers.
    """
    out, source = Path(out), run.config.imported
    family = FAMILIES["diffusers"]
    if source is None or source.family != family.name:
        raise InputError(
            f"the run in {run.folder.path} was not imported from diffusers, and its network is none of that library's: "
            "--as onnx takes networks that were trained here"
        )
    assert isinstance(family, Diffusers)
    assert isinstance(run.denoiser, ForeignDenoiser)
    check_out(out)
    with replacing(out) as unfinished:
        family.write(source, run.denoiser.module, unfinished)
    return out


def check_out(out: Path) -> None:
    """Refuse a place that is taken, or that nothing can be made in.

    Raises:
        InputError: if it is.
    """
    check_folder(out)
    check_empty(RunFolder(out))


def _exportable(run: Run) -> Exportable:
    """The run's denoiser, if it is a function of a noisy example and gamma alone."""
    denoiser: Denoiser = run.denoiser
    where = f"the run in {run.folder.path}"
    pieces = (denoiser.fine, denoiser.coarse) if isinstance(denoiser, ByLevel) else (denoiser,)
    if not isinstance(denoiser, Exportable) or not all(map(_is_of_gamma, pieces)):
        raise InputError(
            f"{where} {_obstacle(denoiser, pieces)}; networks of the targets {', '.join(OF_GAMMA)} or levels alone are "
            "written as ONNX"
        )
    if run.config.data.conditional or run.spec.has_missing or run.spec.series is not None:
        raise InputError(f"{where} is given conditions, or entries that are missing: ONNX is written of others only")
    if run.diffusion.times is not None:
        raise InputError(f"{where} is distilled and knows few noise levels: export the run that it was distilled from")
    return denoiser


def _obstacle(denoiser: Denoiser, pieces: tuple[Denoiser, ...]) -> str:
    """Why a denoiser is not written, and what to train in its place, if there is something."""
    if isinstance(denoiser, ForeignDenoiser):
        return "was imported, and --as diffusers takes what came from there"
    if isinstance(denoiser, BlockDenoiser):
        return "is of a table with columns of several kinds, which no target of these knows"
    if isinstance(denoiser, Forest | EnergyDenoiser):
        kind = "a forest" if isinstance(denoiser, Forest) else "an energy"
        return f"is {kind}: train a network, by --model diffusion --denoiser.components 0"
    if any(isinstance(piece, NetworkDenoiser) and piece.mixture is not None for piece in pieces):
        return "has a network that adds to what was fitted before it: train one with --denoiser.components 0"
    return "has a network of another target: train one with --denoiser.target v"


def _is_of_gamma(piece: Denoiser) -> bool:
    if isinstance(piece, NetworkDenoiser):
        return piece.target in OF_GAMMA and piece.mixture is None
    return isinstance(piece, LevelDenoiser)
