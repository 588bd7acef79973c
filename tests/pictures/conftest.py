"""Pictures are drawn here as they are for users."""

import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine


@pytest.fixture(scope="package", autouse=True)
def axes_find_their_places():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.pictures.canvas.ConstrainedLayoutEngine", ConstrainedLayoutEngine)
        yield
