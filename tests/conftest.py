"""Every test runs with shapes and types checked, jaxtyping's annotations enforced by beartype, and on one thread.

Tests work on small tensors, where a second thread costs more than it brings and processes side by side would wait for one
another at every operation.
"""

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
install_import_hook("lowerbound", "typechecking.check")


def pytest_configure(config):
    # torch's own rules for forward-mode differentiation are compiled with it at their first use
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")
