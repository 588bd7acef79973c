"""Every test runs with shapes and types checked, jaxtyping's annotations enforced by beartype, and on one thread.

Tests work on small tensors, where a second thread costs more than it brings and processes side by side would wait for one
another at every operation. The data directory is a temporary one that links to what the real one holds: evaluations keep
their classifiers there.
"""

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"

import typechecking

typechecking.install()


def pytest_configure(config):
    # a shell that starts the tests in the background has Ctrl-C ignored, which tests of interruptions send
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from lowerbound.data.directory import data_directory

    folder = TemporaryDirectory(prefix="lowerbound-data-")
    config.add_cleanup(folder.cleanup)
    real = data_directory()
    for path in real.iterdir() if real.is_dir() else ():
        (Path(folder.name) / path.name).symlink_to(path)
    os.environ["LOWERBOUND_DATA"] = folder.name
    # torch's own rules for forward-mode differentiation are compiled with it at their first use
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")
