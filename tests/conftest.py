"""Every test runs with shapes and types checked, jaxtyping's annotations enforced by beartype, and on one thread.

Tests work on small tensors, where a second thread costs more than it brings and processes side by side would wait for one
another at every operation. The data directory is a temporary one that links to what the real one holds: evaluations keep
their classifiers there.
"""

import gc
import hashlib
import os
import random
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
import typechecking

typechecking.install()


def pytest_configure(config):
    # a shell that starts the tests in the background has Ctrl-C ignored, which tests of interruptions send
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from lowerbound.data.directory import data_directory
    from lowerbound.machine.heap import keep_freed_memory

    keep_freed_memory()  # as the program does
    os.fsync = lambda descriptor: None  # nothing looks at what a loss of power leaves, and a disk takes its time
    folder = TemporaryDirectory(prefix="lowerbound-data-")
    config.add_cleanup(folder.cleanup)
    real = data_directory()
    for path in real.iterdir() if real.is_dir() else ():
        (Path(folder.name) / path.name).symlink_to(path)
    os.environ["LOWERBOUND_DATA"] = folder.name
    # torch's own rules for forward-mode differentiation are compiled with it at their first use
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays: nobody need look for what of it can go, now or at each later search. These are
    made seldom, as there is much to look through and little to find: as often as usual they took 6 % of all time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(1_000_000, 50, 1000)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Draws from the libraries' own generators are the same, whichever tests came before in a process."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.default_generator.manual_seed(0)  # torch.manual_seed asks every kind of device and takes three times as long


def once(function):
    """The function, which returns what it has returned before when it is given the same arrays and the like again."""
    kept = {}

    def again(*args, **settings):
        key = tuple(
            (each.shape, hashlib.sha256(np.ascontiguousarray(each)).digest()) if hasattr(each, "shape") else each
            for each in (*args, *settings.items())
        )
        if key not in kept:
            kept[key] = function(*args, **settings)
        return kept[key]

    return again


@pytest.fixture(scope="session", autouse=True)
def each_fit_once():
    """What is fitted to data is kept: columns' encodings, and mixtures, of few components and one floor at that. The same
    ones begin every run on the same data, are a yardstick of every evaluation of it, and cost more than the few steps of
    most of them. Tests of mixtures take `all_sizes`."""
    from lowerbound.baselines import mixture
    from lowerbound.data.codes import fit
    from lowerbound.training import mixtures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "real_code", once(fit.real_code))
        patch.setattr(mixtures, "_best", once(mixtures._best))
        patch.setattr(mixture, "best_mixture", once(mixture.best_mixture))
        every = {name: getattr(mixture, name) for name in ("MIXTURE_SIZES", "MIXTURE_FLOORS")}
        patch.setattr(mixture, "MIXTURE_SIZES", (2, 4))
        patch.setattr(mixture, "MIXTURE_FLOORS", mixture.MIXTURE_FLOORS[:1])
        yield every


@pytest.fixture
def all_sizes(each_fit_once, monkeypatch):
    """Mixtures have as many components, and as many floors, as for users."""
    for name, values in each_fit_once.items():
        monkeypatch.setattr(f"lowerbound.baselines.mixture.{name}", values)


@pytest.fixture(scope="session", autouse=True)
def little_along_the_way():
    """Trainings draw little along the way: samples, a picture of which costs more than the few steps of most of them, and
    held-out bits, which cost two thirds of a training of ten steps."""
    from training.runs import draw_little

    from lowerbound.training import session

    with pytest.MonkeyPatch.context() as patch:
        draw_little(patch)
        patch.setattr(session, "PICTURE_SAMPLES", 4)
        patch.setattr(session, "PICTURE_POINTS", 16)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_evaluations():
    """How exact the figures of an evaluation are, and where the axes of pictures stand, is the subject of tests of the parts
    alone and of pictures, which take what they need."""
    from training.runs import evaluate_quickly

    with pytest.MonkeyPatch.context() as patch:
        evaluate_quickly(patch)
        yield


TINY = ["--steps", "8", "--batch-size", "8", "--network.width", "8", "--num-evaluations", "4"]
"""So many evaluations that early weights are kept."""


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory):
    """A folder with two small runs, trained once: of digits given their labels, and of moons, upon one Gaussian, whose flow
    takes few calls. Whoever writes into one copies it first."""
    from lowerbound.cli.main import run

    folder = tmp_path_factory.mktemp("two")
    digits = ["--network.blocks-per-level", "1", "--conditional"]
    for name, settings in (("digits", digits), ("moons", ["--denoiser.components", "1"])):
        assert run(["train", name, "--out", str(folder / name), *TINY, *settings]) == 0
    return folder
