"""Runs of models that are no denoisers: an exact density is audited, and a bound is refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest

import lowerbound as lb
from lowerbound.auditing import as_subject
from lowerbound.errors import InputError


def relative(folder, kind: str, source: str = "moons"):
    """A run that has hardly been trained."""
    dataset = lb.open_dataset(source)
    config = lb.recipe(dataset, model=kind)
    config = replace(config, training=replace(config.training, minutes=None, steps=3, num_pictures=0))
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


@pytest.mark.parametrize(("kind", "reason"), [("vae", "a bound"), ("gan", "without a density")])
def test_a_run_without_a_density_is_refused_with_the_reason(tmp_path, kind, reason):
    with pytest.raises(InputError, match=reason):
        lb.audit(relative(tmp_path, kind))
