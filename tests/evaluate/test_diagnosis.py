"""The diagnosis on closed-form denoisers: silent about what is right, and right about what is wrong."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lowerbound import GaussianMixture, LinearGamma
from lowerbound.data import Dataset, Examples, mixture_parameters, open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.denoiser.exact import Empirical
from lowerbound.evaluate.diagnosis import Diagnosis, diagnose
from lowerbound.evaluate.profile import profile
from lowerbound.files.records import read, to_json
from lowerbound.models import Diffusion
from lowerbound.report.diagnosis import tell_diagnosis
from lowerbound.run import Run
from lowerbound.schedule import Cosine, Schedule
from lowerbound.training import recipe
from lowerbound.training.build import build_decoder, build_model
from lowerbound.training.config import DataConfig, DenoiserConfig
from lowerbound.training.folder import RunFolder

MIXTURE = open_dataset("mixture")


class Altered(Denoiser):
    """A denoiser whose noise estimate is multiplied, or whose data estimate is shifted."""

    def __init__(self, inner: Denoiser, scale: float = 1.0, shift: float = 0.0):
        super().__init__(inner.schedule, inner.shape)
        self.inner, self.scale, self.shift = inner, scale, shift

    def predict(self, x_t, level, cond, observed) -> Prediction:
        eps = self.scale * self.inner(x_t, level).eps
        x = (x_t - level.sigma[:, None] * eps) / level.alpha[:, None]
        return Prediction(x_t, level, x + self.shift, self.schedule)


def mixture(schedule: Schedule | None = None) -> GaussianMixture:
    weights, means, covariances = mixture_parameters()
    shift, scale = np.array(MIXTURE.spec.encoding.shift), np.array(MIXTURE.spec.encoding.scale)
    return GaussianMixture(
        torch.tensor(weights).float(),
        torch.tensor((means - shift) / scale).float(),
        torch.tensor(covariances / np.outer(scale, scale)).float(),
        schedule or LinearGamma(-12.0, 5.0),
    )


def bytes_and_denoiser(gamma_min: float) -> tuple[Dataset, Denoiser]:
    """Bytes of a few patterns, and the denoiser that knows the patterns."""
    patterns = np.random.default_rng(0).integers(0, 256, (8, 16)).astype(np.uint8)
    dataset = assemble("bytes", np.tile(patterns, (40, 1)), layout="ND")
    return dataset, Empirical(dataset.spec.encoding.encode(patterns), LinearGamma(gamma_min, 5.0))


def diagnosis_of(denoiser: Denoiser, dataset: Dataset = MIXTURE, *, num_examples: int = 256, **more) -> Diagnosis:
    run = Run(
        RunFolder("nowhere"),
        recipe(dataset, DataConfig(dataset.spec.name)),
        dataset.spec,
        Diffusion(
            denoiser,
            build_decoder(recipe(dataset, DataConfig(dataset.spec.name)).decoder, dataset.spec.num_levels),
            num_levels=dataset.spec.num_levels,
        ),
        {},
    )
    config = dataclasses.replace(run.config, denoiser=more.pop("config", run.config.denoiser))
    run = dataclasses.replace(run, config=config)
    found = profile(run, dataset, split="validation", num_examples=num_examples)
    return diagnose(run, dataset, found, **more)


def said(diagnosis: Diagnosis, start: str) -> str:
    """The one finding that starts so."""
    (finding,) = [finding.text for finding in tell_diagnosis(diagnosis).findings if finding.text.startswith(start)]
    return finding


@pytest.mark.parametrize("schedule", [LinearGamma(-12.0, 5.0), Cosine(gamma_min=-12.0, gamma_max=6.0)])
def test_the_best_denoiser_is_fine(schedule):
    found = diagnosis_of(mixture(schedule), num_examples=1000)
    for region in found.regions:
        assert abs(region.slope[0] - 1) < 4 * region.slope[1]
        assert abs(region.residual[0]) < 4 * region.residual[1]
    for start in ("Noise's end", "Data's end", "Calibration", "Range"):
        assert said(found, start).endswith(": fine.")
    assert not any("Miscalibrated" in finding.text for finding in tell_diagnosis(found).findings)


def test_regions_divide_the_diffusion_term():
    found = diagnosis_of(mixture())
    assert sum(region.share for region in found.regions) == pytest.approx(1)
    for below, above in zip(found.regions[:-1], found.regions[1:], strict=True):
        assert below.high == above.low
    assert found.regions[0].low == pytest.approx(-12)
    assert found.regions[-1].high == pytest.approx(5)
    # the data are normalised: their spread is 1, a hundredth of it at gamma = 2 ln 0.01
    assert found.regions[0].high == pytest.approx(-9.2, abs=0.1)
    assert found.regions[2].high == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(("scale", "word"), [(1.25, "large"), (0.8, "small")])
def test_a_scaled_denoiser_is_told_so_with_what_it_costs(scale, word):
    exact, altered = diagnosis_of(mixture()), diagnosis_of(Altered(mixture(), scale))
    for before, after in zip(exact.regions, altered.regions, strict=True):
        assert after.slope[0] == pytest.approx(before.slope[0] / scale, rel=0.01)
        # what the slope would save is what the scale has cost, but for the slope that chance gave before
        cost = after.bits[0] - before.bits[0]
        assert after.gain - before.gain == pytest.approx(cost, abs=1e-4 + 1e-3 * after.bits[0])
    told = [finding.text for finding in tell_diagnosis(altered).findings if finding.text.startswith("Miscalibrated")]
    assert len(told) >= 2
    assert all(f"eps_hat is too {word}" in finding for finding in told)


def test_too_little_noise_at_the_end_says_raise_gamma_max():
    found = diagnosis_of(mixture(LinearGamma(-12.0, 1.0)))
    finding = said(found, "Too little noise at the noise's end")
    assert "Raise gamma_max from 1.0 to about" in finding
    # and the advice is right
    advised = float(finding.split("about ")[1].rstrip("."))
    assert said(diagnosis_of(mixture(LinearGamma(-12.0, advised))), "Noise's end").endswith("fine.")


def test_too_much_noise_for_the_levels_says_lower_gamma_min():
    dataset, denoiser = bytes_and_denoiser(-4.0)
    finding = said(diagnosis_of(denoiser, dataset), "Too much noise at the data's end")
    assert "Lower gamma_min from -4.0 to about -13.3" in finding
    assert "noise of 17 of a level's width" in finding


def test_needlessly_little_noise_for_the_levels_says_raise_gamma_min():
    dataset, denoiser = bytes_and_denoiser(-20.0)
    finding = said(diagnosis_of(denoiser, dataset), "Needlessly little noise")
    assert "raise gamma_min from -20.0 to about -13.3" in finding
    assert "27% of the range of gamma" in finding


def test_the_recipe_s_end_is_fine_for_the_levels():
    dataset, denoiser = bytes_and_denoiser(-13.3)
    found = diagnosis_of(denoiser, dataset)
    assert said(found, "Data's end").endswith("fine.")
    assert found.regions[0].high == pytest.approx(2 * np.log(2 / 256))


def test_two_levels_have_two_regions():
    dataset = assemble("bits", np.random.default_rng(0).integers(0, 2, (60, 3)).astype(bool), layout="ND")
    denoiser = Empirical(dataset.spec.encoding.encode(dataset.examples), LinearGamma(-4.0, 5.0))
    assert [region.name for region in diagnosis_of(denoiser, dataset).regions] == [
        "noise below a level's width",
        "noise above a level's width",
    ]


@pytest.mark.filterwarnings("ignore:values are repeated")
def test_rounded_floats_have_no_density():
    points = np.random.default_rng(0).integers(-2, 3, (300, 2)).astype(np.float32)
    dataset = Examples("rounded", points, "ND").dataset(densities=True)
    lattice = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), -1).reshape(-1, 2).astype(np.float32)
    denoiser = Empirical(dataset.spec.encoding.encode(lattice), LinearGamma(-12.0, 5.0))
    finding = said(diagnosis_of(denoiser, dataset), "Structure finer than the least noise")
    assert "100.0%" in finding
    assert "0.72 bits off the bound for each real number" in finding
    assert "store them as integers" in finding


@pytest.mark.parametrize("has_real", [True, False])
def test_levels_and_categories_of_a_table_are_no_finer_structure(has_real, tmp_path):
    rng = np.random.default_rng(0)
    numbers = [(*rng.integers(9, size=2), rng.normal()) for _ in range(300)]
    rows = [f"{age},{rooms}" + f",{size:.6f}" * has_real for age, rooms, size in numbers]
    (tmp_path / "mixed.csv").write_text("\n".join(["age,rooms" + ",size" * has_real, *rows]))
    data = DataConfig(str(tmp_path / "mixed.csv"))
    dataset = open_dataset(data)
    config = recipe(dataset, data)
    run = Run(RunFolder("nowhere"), config, dataset.spec, build_model(config, dataset.spec), {})
    found = diagnose(run, dataset, profile(run, dataset, split="validation", num_examples=30))
    assert said(found, "Data's end").endswith("fine.")
    assert (found.predictable is not None) == has_real


def test_predictions_outside_the_data_are_counted():
    found = diagnosis_of(Altered(mixture(), shift=20.0))
    assert all(region.outside > 0.99 for region in found.regions)
    assert "target v" in said(found, "Predictions outside the data: 100.0%")


@pytest.mark.parametrize(("assumed", "told"), [(0.5, True), (1.0, False)])
def test_a_wrong_spread_is_told_where_the_target_uses_it(assumed, told):
    found = diagnosis_of(mixture(), config=DenoiserConfig("edm", sigma_data=assumed))
    assert found.spread == pytest.approx(1, abs=0.03)
    advice = f"Set denoiser.sigma_data to {found.spread:.2g}."
    assert any(advice in finding.text for finding in tell_diagnosis(found).findings) is told
    found = diagnosis_of(mixture(), config=DenoiserConfig("eps", sigma_data=assumed))
    assert not any("sigma_data" in finding.text for finding in tell_diagnosis(found).findings)


def test_few_examples_tell_little_and_say_so():
    found = diagnosis_of(mixture(), num_examples=1)
    assert np.isnan(found.regions[0].slope[1])
    assert said(found, "Calibration") == "Calibration: too few validation examples (1) to tell."


def test_figures_survive_json():
    found = diagnosis_of(mixture())
    again = read(Diagnosis, json.loads(to_json(found)), "diagnosis")
    assert again == found
    assert tell_diagnosis(again).findings == tell_diagnosis(found).findings
