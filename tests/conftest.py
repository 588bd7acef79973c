"""Every test runs with shapes and types checked: jaxtyping annotations enforced by beartype."""

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("lowerbound", "typechecking.check")


def pytest_configure(config):
    # torch's own rules for forward-mode differentiation are compiled with it at their first use
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def one_thread():
    """For modules of many small tensors, where a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
