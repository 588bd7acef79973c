"""Pictures of quality are written, and nothing to draw is refused."""

import numpy as np
import pytest
from PIL import Image

from lowerbound.errors import InputError
from lowerbound.pictures.quality import fidelity_and_variety, quality_by_calls


def contrast(path) -> float:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return float(np.asarray(image.convert("L")).std())


def test_pictures_are_drawn(tmp_path):
    curves = {name: [(calls, 5 / calls, 0.2 / calls) for calls in (8, 4, 250)] for name in ("ddim", "heun")}
    assert contrast(quality_by_calls(tmp_path / "calls.png", curves, (0.05, 0.01))) > 5
    assert contrast(quality_by_calls(tmp_path / "one.png", {"ddim": [(1, 2.0, 0.0)]})) > 5
    points = [((0.9 - 0.1 * k, 0.02), (0.5 + 0.1 * k, 0.02)) for k in range(3)]
    panels = [("recall", "precision", points, points[0]), ("coverage", "density", points, points[1])]
    assert contrast(fidelity_and_variety(tmp_path / "scales.png", ["1", "2", "4"], panels)) > 5


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="no figures of quality"):
        quality_by_calls(tmp_path / "a.png", {"ddim": []})
    with pytest.raises(InputError, match="no figures of quality"):
        fidelity_and_variety(tmp_path / "a.png", [], [])
    assert not list(tmp_path.iterdir())
