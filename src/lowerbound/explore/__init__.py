"""A page that needs no server: draw a density in the plane, and watch the bound close on log p."""

import json
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from lowerbound.errors import InputError

MOST_POINTS = 400
HALF = 3.0
"""The plane of the page goes from -3 to 3; points are moved and scaled into two thirds of it."""


def page(points: Float[np.ndarray, "num_points 2"] | None = None) -> str:
    """The page, in one file: a mixture of Gaussians around points, its exact denoiser, samples, and the chain's bound.

    Arguments:
        points: those that it starts with, at most `MOST_POINTS` of which are taken, evenly; two moons if None.

    Raises:
        InputError: if they are not finite points of the plane.
    """
    source = {name: files(__name__).joinpath(name).read_text() for name in ("page.html", "diffusion.js", "page.js")}
    script = source["page.js"].replace("/*POINTS*/ []", json.dumps(_placed(points)) if points is not None else "[]")
    return source["page.html"].replace("/*DIFFUSION*/", source["diffusion.js"]).replace("/*PAGE*/", script)


def _placed(points: Float[np.ndarray, "num_points 2"]) -> list[list[float]]:
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise InputError(f"points of the shape {points.shape}: (N, 2) finite numbers are wanted")
    chosen = points[np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(int)]
    low, high = chosen.min(0), chosen.max(0)
    scale = (4 / 3) * HALF / max((high - low).max(), 1e-300)
    return np.round((chosen - (low + high) / 2) * scale, 4).tolist()
