"""Missing values of stored examples, by a run whose posterior is known."""

import numpy as np
import pytest
from known import mixture_run
from PIL import Image

from lowerbound.data import Examples
from lowerbound.errors import InputError
from lowerbound.inverse import MMPS, PiGDM
from lowerbound.run.impute import METHODS, Drawing, Imputations, check_missing, draws, impute, named_method, read_mask


@pytest.fixture
def given(tmp_path):
    run, dataset = mixture_run(tmp_path)
    raw = dataset.examples[:5].copy()
    observed = np.ones(raw.shape, bool)
    observed[[0, 2, 3], [0, 1, 1]] = False
    raw[~observed] = np.nan
    return run, raw, observed


@pytest.mark.parametrize("name", METHODS)
def test_known_entries_are_untouched_and_complete_examples_too(given, name):
    run, raw, observed = given
    found = impute(run, raw, observed, method=METHODS[name], num_samples=3, num_steps=4)
    assert found.samples.shape == (5, 3, 2)
    assert found.samples.dtype == raw.dtype
    assert np.isfinite(found.samples).all()
    for k in range(3):
        assert np.array_equal(found.samples[:, k][observed], raw[observed])
    assert np.array_equal(found.mean[observed], raw[observed])
    assert (found.std[observed] == 0).all()
    assert (found.std[~observed] > 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_draw_depends_on_the_seed_the_example_and_its_number_alone(given, name):
    run, raw, observed = given
    settings = {"method": METHODS[name], "num_steps": 4}
    all_of_them = impute(run, raw, observed, num_samples=3, **settings).samples
    batches = impute(run, raw, observed, num_samples=3, batch_size=2, **settings).samples
    np.testing.assert_allclose(batches, all_of_them, rtol=1e-5)
    part = impute(run, raw[2:4], observed[2:4], num_samples=2, numbers=np.array([2, 3]), **settings).samples
    np.testing.assert_allclose(part, all_of_them[2:4, :2], rtol=1e-5)
    other = impute(run, raw, observed, num_samples=3, seed=1, **settings).samples
    assert (np.moveaxis(other != all_of_them, 1, -1)[~observed]).all()


def test_a_mixture_is_asked_for_where_there_is_none(given):
    run, _, _ = given
    assert isinstance(named_method(run, None), PiGDM)
    for name in ("mixture", "network"):
        with pytest.raises(InputError, match="choose another --method"):
            named_method(run, name)


def test_what_stands_in_missing_entries_is_never_looked_at(given):
    run, raw, observed = given
    other = np.where(observed, raw, 7.0).astype(raw.dtype)
    found = [impute(run, values, observed, num_samples=2, num_steps=3).samples for values in (raw, other)]
    np.testing.assert_array_equal(*found)


def test_every_step_is_counted(given):
    run, raw, observed = given
    for method in METHODS.values():
        steps = []
        drawing = Drawing(3, method, num_steps=4, batch_size=4, progress=steps.append)
        draws(run, raw, observed, drawing)
        assert sum(steps) == drawing.num_calls(run, 3 * 3)


def test_mean_and_spread():
    observed = np.array([[True, False]])
    found = Imputations(np.array([[[1, 2], [1, 4]]], np.uint8), observed)
    np.testing.assert_allclose(found.mean, [[1, 3]])
    np.testing.assert_allclose(found.std, [[0, 2**0.5]])
    assert np.isnan(Imputations(found.samples[:, :1], observed).std[0, 1])


def test_nothing_or_everything_missing_is_refused(given):
    run, raw, observed = given
    with pytest.raises(InputError, match="nothing is missing"):
        impute(run, raw, np.ones_like(observed))
    with pytest.raises(InputError, match="lowerbound sample"):
        impute(run, raw, np.zeros_like(observed))
    with pytest.raises(InputError, match="one flag for each entry"):
        check_missing(observed[:, :1], raw.shape)
    with pytest.raises(InputError, match="NaN or infinity"):
        impute(run, raw, observed | np.isnan(raw) & (np.arange(2) == 0), method=MMPS())


def examples(layout, *shape) -> Examples:
    return Examples("some data", np.zeros(shape, np.uint8), layout)


@pytest.mark.parametrize(
    ("layout", "stored", "mask"),
    [
        ("ND", (4, 3), (3,)),
        ("ND", (4, 3), (4, 3)),
        ("NHW", (4, 1, 2, 3), (2, 3)),
        ("NHW", (4, 1, 2, 3), (4, 2, 3)),
        ("NHWC", (4, 3, 2, 5), (2, 5)),
        ("NHWC", (4, 3, 2, 5), (2, 5, 3)),
        ("NHWC", (4, 3, 2, 5), (4, 2, 5)),
        ("NHWC", (4, 3, 2, 5), (4, 2, 5, 3)),
        ("NCHW", (4, 3, 2, 5), (2, 5)),
        ("NCHW", (4, 3, 2, 5), (3, 2, 5)),
        ("NCL", (4, 3, 5), (5,)),
    ],
)
def test_a_mask_is_laid_out_as_the_data(tmp_path, layout, stored, mask):
    values = np.random.default_rng(0).random(mask) < 0.5
    np.save(tmp_path / "mask.npy", values.astype(np.int64))
    found = read_mask(tmp_path / "mask.npy", examples(layout, *stored))
    assert found.shape == stored
    assert found.dtype == bool
    if "C" in layout and len(mask) < len(layout) - (mask[0] != stored[0]):  # the channels are what is not there
        found, channel = found[:, 0], found
        assert (channel == found[:, None]).all()
    elif layout == "NHWC":
        found = np.moveaxis(found, 1, -1)
    found = found.reshape(-1, *mask) if mask[0] != stored[0] else found.reshape(mask)
    assert (found == values).all()


def test_a_picture_is_a_mask(tmp_path):
    values = np.random.default_rng(0).random((2, 3)) < 0.5
    for name, image in (("grey", values), ("colour", np.repeat(values[..., None], 3, 2))):
        path = tmp_path / f"{name}.png"
        Image.fromarray((image * 255).astype(np.uint8)).save(path)
        for data in (examples("NHW", 4, 1, 2, 3), examples("NHWC", 4, 3, 2, 3)):
            assert (read_mask(path, data) == values).all()


def test_other_masks_are_refused(tmp_path):
    data = examples("NHWC", 4, 3, 2, 5)
    faults = {
        "wrong.npy": (np.ones((5, 2), bool), r"one example, \(2, 5, 3\), or of all, \(4, 2, 5, 3\), or these without"),
        "values.npy": (np.full((2, 5), 0.5), "holds other values"),
        "nan.npy": (np.full((2, 5), np.nan), "holds other values"),
        "text.npy": (np.full((2, 5), "a"), "holds other values"),
    }
    for name, (values, message) in faults.items():
        np.save(tmp_path / name, values)
        with pytest.raises(InputError, match=message):
            read_mask(tmp_path / name, data)
    Image.fromarray(np.arange(10, dtype=np.uint8).reshape(2, 5)).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "mask.csv").write_text("1,0")
    for name, message in (("grey.png", "black and white"), ("broken.png", "not an image"), ("mask.csv", "a mask is")):
        with pytest.raises(InputError, match=message):
            read_mask(tmp_path / name, data)
