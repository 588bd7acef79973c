"""Runs of models that are no denoisers: an exact density is audited, and a bound is refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest

import lowerbound as lb
from lowerbound.auditing import as_subject
from lowerbound.auditing.function import batches, repeats
from lowerbound.errors import InputError


def relative(folder, kind: str, source: str = "moons", **network):
    """A run that has hardly been trained; of a denoiser, upon one Gaussian, whose flow takes few calls."""
    dataset = lb.open_dataset(source)
    config = lb.recipe(dataset, model=kind)
    config = replace(config, training=replace(config.training, minutes=None, steps=3, num_pictures=0))
    config = replace(config, denoiser=replace(config.denoiser, components=min(1, config.denoiser.components)))
    config = replace(config, network=replace(config.network, **network)) if network else config
    return lb.open_run(lb.train(config, dataset, folder, say=lambda line: None, show_progress=False).path)


@pytest.mark.parametrize("kind", ["flow", "autoregressive"])
def test_a_run_with_an_exact_density_passes_whatever_it_has_learned(tmp_path, kind):
    run = relative(tmp_path, kind)
    found = lb.audit(run, num_draws=600, num_samples=400)
    assert found.verdict == "pass", str(found)
    assert found["normalisation by quadrature"].verdict == "pass"
    assert found["samples against density"].verdict == "pass"
    subject = as_subject(run)
    x = subject.sample(50, 3)
    raw = x.reshape(-1, *run.spec.raw_shape).astype(run.spec.encoding.dtype)
    assert np.array_equal(subject.log_prob(x)[0], lb.score(run, raw).nats)


@pytest.mark.parametrize("num_dims", [20, 66])
def test_random_probes_of_a_flow_are_no_fault(tmp_path, num_dims):
    """Up to 64 dimensions an audit takes the exact trace; above, probes whose error it states, and others each time."""
    points = np.random.default_rng(0).standard_normal((60, num_dims))
    np.save(tmp_path / "data.npy", points.astype(np.float32))
    subject = as_subject(relative(tmp_path / "run", "score", str(tmp_path / "data.npy"), width=8, depth=1))
    again = repeats(subject, points[:3])
    assert again.verdict == batches(subject, points[:3]).verdict == "pass", again
    assert (again.statistic > 0.01) == (num_dims > 64)  # changes, as wide as their errors say


@pytest.mark.parametrize(("kind", "reason"), [("vae", "a bound"), ("gan", "without a density")])
def test_a_run_without_a_density_is_refused_with_the_reason(tmp_path, kind, reason):
    with pytest.raises(InputError, match=reason):
        lb.audit(relative(tmp_path, kind))
