"""Pictures are drawn here as they are for users."""

import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lowerbound.pictures.canvas import DPI


@pytest.fixture(scope="package", autouse=True)
def axes_find_their_places():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.pictures.canvas.ConstrainedLayoutEngine", ConstrainedLayoutEngine)
        patch.setattr("lowerbound.pictures.canvas.DPI", DPI)
        yield
