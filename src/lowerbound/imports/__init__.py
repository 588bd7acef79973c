"""Models that were made elsewhere, as denoisers; one file for each family of them.

A family says how its folders are read (`Family`); a module without a family is a `ForeignDenoiser` in two lines.
"""

from pathlib import Path

from lowerbound.errors import InputError
from lowerbound.imports.adm import Adm
from lowerbound.imports.diffusers import Diffusers
from lowerbound.imports.edm import Edm
from lowerbound.imports.family import Family, Stated, Subject
from lowerbound.imports.files import load_tensors
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.imports.score_sde import ScoreSde
from lowerbound.imports.source import Source
from lowerbound.nn.size import check_size

FAMILIES: dict[str, Family] = {family.name: family for family in (Diffusers(), Adm(), Edm(), ScoreSde())}
"""Every family by its name."""
MOST_PARAMETERS = 1 << 32


def open_denoiser(
    folder: Path | str,
    *,
    image_size: tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
    num_levels: int = 256,
) -> ForeignDenoiser:
    """The model in a folder as a denoiser of images, which knows its source.

    Arguments:
        folder: that another library wrote.
        image_size: (H, W), in the place of the model's own.
        value_range: what black and white are in the model's data, in the place of its family's own.
        num_levels: K of the images.

    Raises:
        InputError: if it is of no family that is known, or damaged.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is {'a file, and ' * folder.exists()}no folder: give one that holds {_supported()}")
    family = next((family for family in FAMILIES.values() if family.is_in(folder)), None)
    if family is None:
        names = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder} holds {', '.join(names[:10]) or 'nothing'}{', ...' * (len(names) > 10)}: no model that is known; "
            f"supported is {_supported()}"
        )
    source, tensors = family.read(folder)
    source = source.spanning(value_range)
    model = stated(source)
    check_size(model.build, MOST_PARAMETERS, str(folder))
    network = model.build()
    load_tensors(network, model.arranged(tensors, folder), folder)
    denoiser = model.denoiser(network, model.subject(image_size).shape, source.value_range, num_levels)
    denoiser.source = source
    return denoiser.requires_grad_(False)


def stated(source: Source) -> Stated:
    """What the settings of a model state.

    Raises:
        InputError: if its family is none of `FAMILIES`, or they are no settings of one of its models.
    """
    if source.family not in FAMILIES:
        raise InputError(f"a model of the family {source.family!r}: known are {', '.join(FAMILIES)}")
    return FAMILIES[source.family].stated(source.settings)


def build_denoiser(source: Source, shape: tuple[int, ...], num_levels: int | None) -> ForeignDenoiser:
    """The denoiser of a model that a run keeps, its network untrained.

    Raises:
        InputError: if the data have no levels, or other images than the model.
    """
    if num_levels is None:
        raise InputError("a model that was made elsewhere is of images, whose values are levels")
    model = stated(source)
    return model.denoiser(model.build(), shape, source.value_range, num_levels)


def _supported() -> str:
    return ", or ".join(f"{family.files} ({family.name})" for family in FAMILIES.values())


__all__ = ["FAMILIES", "Family", "Source", "Stated", "Subject", "build_denoiser", "open_denoiser", "stated"]
