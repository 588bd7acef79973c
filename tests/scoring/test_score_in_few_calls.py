"""Scores by the flow in few calls, calibrated on the validation examples of a run's data."""

import dataclasses

import numpy as np
import pytest
from known import mixture_log_prob, mixture_run

from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.scoring import Flow, score_columns, score_density

DATASET = open_dataset("mixture")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    run, dataset = mixture_run(tmp_path_factory.mktemp("known"))
    return dataclasses.replace(run, spec=dataclasses.replace(run.spec, fingerprint=dataset.fingerprint()))


def test_scores_are_the_density_within_their_errors_in_any_company(known):
    raw, numbers = DATASET.examples[DATASET.test[:300]], DATASET.test[:300]
    found = score_density(known, raw, Flow(num_calls=6, tolerance=1e-2), numbers=numbers)
    assert found.correction is not None
    assert found.correction_error is not None
    off = found.bits_per_dim - found.base_mismatch + mixture_log_prob(raw).numpy() / (2 * np.log(2))
    shared = np.sqrt(np.mean(found.correction_error**2) + np.mean(found.solver_error**2) / 300)
    assert abs(off.mean()) < 3 * shared
    assert abs((off - found.correction).mean()) > 5 * shared
    assert np.mean(np.abs(off) < 2 * found.solver_error) > 0.9
    assert (found.num_calls == 6).all()
    assert found.kind == "density (ODE in 6 calls)"
    assert "calibrated on 512 examples, exact trace" in found.settings
    assert {"correction", "correction_error"} <= score_columns(known, found).keys()
    alone = score_density(known, raw[4:6], Flow(num_calls=6, tolerance=1e-2), numbers=numbers[4:6])
    np.testing.assert_allclose(alone.nats, found.nats[4:6], atol=1e-5)


def test_what_cannot_be_calibrated_is_refused(known, tmp_path):
    data = dataclasses.replace(known.config.data, source=str(tmp_path / "gone.npy"))
    moved = dataclasses.replace(known, config=dataclasses.replace(known.config, data=data))
    with pytest.raises(
        InputError, match=r"calibrated on the run's own data .*leave out the number of calls \(--calls\)"
    ):
        score_density(moved, DATASET.examples[:2], Flow(num_calls=8))
    with pytest.raises(InputError, match="num_calls is 0"):
        Flow(num_calls=0)
    with pytest.raises(InputError, match="no tolerance to refine"):
        score_density(known, DATASET.examples[:2], Flow(num_calls=8), num_refined=1)
