"""A network of a table of real numbers stands upon a mixture that is fitted first."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from training.runs import whole_and_stopped

import lowerbound as lb
from lowerbound.baselines.mixture import MIXTURE_FULL_DIMS
from lowerbound.cli.main import run as command
from lowerbound.data import DataConfig, open_dataset
from lowerbound.errors import InputError
from lowerbound.inverse import Fitted
from lowerbound.likelihood import GaussianDecoder
from lowerbound.models import Diffusion
from lowerbound.run import open_run
from lowerbound.run.impute import default_method, impute
from lowerbound.schedule import CLEAN, Schedule
from lowerbound.training import mixtures, recipe, train
from lowerbound.training.config import DenoiserConfig, NetworkConfig
from lowerbound.training.factors import MOST_FACTORS
from lowerbound.training.held_out import held_out_bits
from lowerbound.training.mixtures import TAILS, Components, fit_mixture
from lowerbound.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("all_sizes")


def configured(folder, rows: np.ndarray, **training):
    source = str(folder / "rows.npy")
    np.save(source, rows)
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source))
    settings = {"minutes": None, "steps": 6, "num_evaluations": 2, "num_pictures": 0, **training}
    return (
        dataclasses.replace(
            config,
            network=NetworkConfig(kind="mlp", width=8, depth=1),
            denoiser=dataclasses.replace(config.denoiser, components=4),
            training=dataclasses.replace(config.training, **settings),
        ),
        dataset,
    )


def two_heaps(num: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    heaps = rng.normal(size=(num, 3)) * [0.2, 1.0, 0.1] + np.where(rng.random(num) < 0.4, -2.0, 1.5)[:, None]
    return heaps.astype(np.float32)


def as_denoiser(found: Components, schedule: Schedule | None = None) -> lb.GaussianMixture:
    return lb.GaussianMixture(found.weights, found.means, found.covariances, schedule or lb.LinearGamma())


def test_the_first_figure_is_the_mixtures_and_stays_if_training_makes_it_worse(tmp_path):
    config, dataset = configured(tmp_path, two_heaps(), learning_rate=0.5, warmup_steps=1)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    measured = [record for record in run.folder.read_log() if "held_out_bits_per_dim" in record]
    assert [record["step"] for record in measured] == [0, 3, 6]
    assert run.folder.read_metadata()["step"] == "0"
    fitted = fit_mixture(dataset, config.denoiser.components, 0)
    mixture = as_denoiser(fitted, run.model.denoiser.schedule).float()
    bits, _ = held_out_bits(Diffusion(mixture, GaussianDecoder()), dataset)
    assert abs(measured[0]["held_out_bits_per_dim"] - bits) < 1e-2
    assert measured[1]["held_out_bits_per_dim"] > measured[0]["held_out_bits_per_dim"]


def test_a_row_far_out_costs_no_more_than_the_tails_say(tmp_path):
    _, dataset = configured(tmp_path, two_heaps())
    mixture = as_denoiser(fit_mixture(dataset, 4, 0))
    mean, covariance = mixture.means[-1], mixture.covariances[-1] / TAILS[-1] ** 2
    far = mean + 20 * covariance.diagonal().sqrt()
    alone = lb.Gaussian(mean, covariance, lb.LinearGamma())
    assert mixture.log_prob(far[None]).item() > alone.log_prob(far[None]).item() + 100
    x = dataset.encoded(dataset.validation).double()
    assert mixture.log_prob(x).mean() > alone.log_prob(x).mean() + 1


def test_tails_that_a_code_draws_in_are_not_drawn_out_again(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=1000), np.exp(2 * rng.normal(size=1000))], 1)
    _, dataset = configured(tmp_path, rows)
    assert list(dataset.spec.encoding.draws_tails_in) == [False, True]
    mixture = as_denoiser(fit_mixture(dataset, 4, 0))
    spread = mixture.covariances[-len(TAILS) :].diagonal(dim1=1, dim2=2).sqrt()
    torch.testing.assert_close(
        spread / spread[0] * TAILS[0], torch.tensor([[2.0, 2.0], [4.0, 2.0], [8.0, 2.0]]).double()
    )
    drawn = dataset.spec.encoding.decode(mixture.sample(50_000, lb.Stream(0)).float())
    assert (np.abs(drawn) < 100 * np.abs(rows).max(0)).all()


def test_rows_with_gaps_have_a_mixture_too(tmp_path):
    rows = two_heaps()
    rows[:, 1:][np.random.default_rng(1).random((len(rows), 2)) < 0.2] = np.nan
    config, dataset = configured(tmp_path, rows)
    fitted, gaussian = (fit_mixture(dataset, most, 0) for most in (8, 1))
    assert len(gaussian.weights) == 1 + len(TAILS)
    x = dataset.encoded(dataset.test).double()
    log_probs = [as_denoiser(each).log_marginal(x, CLEAN, ~x.isnan()).mean() for each in (fitted, gaussian)]
    assert log_probs[0] > log_probs[1] + 0.5
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert np.isfinite(lb.score(open_run(tmp_path / "run"), rows[:5], lb.Effort(4)).bits_per_dim).all()


def test_an_interrupted_run_goes_on_upon_its_mixture(tmp_path, monkeypatch):
    config, dataset = configured(tmp_path, two_heaps())
    runs = whole_and_stopped(config, dataset, tmp_path, monkeypatch)
    whole, stopped = (dict(run.model.trained.named_parameters()) for run in runs)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_a_run_whose_mixture_takes_all_its_minutes_makes_a_step_and_has_weights(tmp_path):
    config, dataset = configured(tmp_path, two_heaps(), minutes=1e-6, steps=None, warmup_steps=1)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    assert run.folder.read_log()[-1]["step"] == 1
    assert torch.isfinite(
        run.model.elbo(dataset.encoded(dataset.test), lb.PerSample(range(len(dataset.test)))).nats
    ).all()


def wide_rows(num: int, num_columns: int, rank: int = 4) -> np.ndarray:
    """Few directions in which all columns move, and a noise of each of half of their variance."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(num, rank)) @ rng.normal(size=(rank, num_columns)) / np.sqrt(rank)
    return (shared + rng.normal(size=(num, num_columns))).astype(np.float32)


def test_wide_rows_stand_upon_one_gaussian_that_is_shrunk_as_far_as_it_takes(tmp_path):
    """More columns than rows: what is common to them is found, and of columns that have nothing in common all is apart."""
    num_columns = MIXTURE_FULL_DIMS + 32
    for rows, is_correlated in ((wide_rows(150, num_columns), True), (wide_rows(150, num_columns, 1000), False)):
        source = str(tmp_path / f"{is_correlated}.npy")
        np.save(source, rows)
        dataset = open_dataset(source)
        config = recipe(dataset, DataConfig(source))
        assert config.denoiser.components == 1
        found = fit_mixture(dataset, 1, 0)
        assert found.covariances.shape == (1, num_columns, num_columns)
        x = dataset.encoded(dataset.test).double()
        gaussian = as_denoiser(found)
        apart = lb.Gaussian(found.means[0], torch.diag(found.covariances[0].diagonal()), lb.LinearGamma())
        gain = (gaussian.log_prob(x) - apart.log_prob(x)).mean() / num_columns
        assert gain > 0.2 if is_correlated else gain > -0.02


@pytest.mark.parametrize("num_factors", [None, 0])
@pytest.mark.parametrize("has_gaps", [False, True])
def test_a_network_of_wide_rows_begins_where_few_factors_or_independent_columns_end(
    tmp_path, monkeypatch, has_gaps, num_factors
):
    """Noise of a hundred columns would not pass through eight units."""
    monkeypatch.setattr(mixtures, "WIDEST_JOINT", MIXTURE_FULL_DIMS)
    num_columns, num_rows, num_given = MIXTURE_FULL_DIMS + 8, 500, 40
    rows = wide_rows(num_rows, num_columns)
    whole = rows.copy()
    if has_gaps:
        rows[np.random.default_rng(1).random(rows.shape) < 0.1] = np.nan
    config, dataset = configured(tmp_path, rows)
    factors = MOST_FACTORS if num_factors is None else num_factors
    assert config.denoiser.factors == MOST_FACTORS, "the recipe's"
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, components=1, factors=factors))
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    mixture = run.denoiser.mixture
    assert mixture.axes is None
    assert (mixture.loadings is None) == (factors == 0)
    scores = lb.score(run, rows[dataset.test], lb.Effort(64))
    independent = 0.5 * math.log2(2 * math.pi * math.e) + np.log2(np.nanstd(rows, axis=0)).mean()
    if not factors:
        assert scores.bits_per_dim.mean() == pytest.approx(independent, abs=0.1)
    else:  # of rows without gaps it is the entropy; those with gaps say less of the four
        shared = 0.5 * np.log2(1 + ((whole.std(0) ** 2).sum() - num_columns) / 4)
        entropy = 0.5 * math.log2(2 * math.pi * math.e) + 4 * shared / num_columns
        assert entropy - 0.1 < scores.bits_per_dim.mean() < entropy + 0.25 < independent
    assert isinstance(default_method(run), Fitted)
    given = whole[dataset.test][:num_given]
    observed = np.random.default_rng(2).random(given.shape) < 0.5
    filled = impute(run, given, observed, num_samples=8).samples
    wrong = (filled.mean(1) - given)[~observed].std() / given[~observed].std()
    assert wrong < 0.85 if factors else wrong > 0.95, "what is known of a row says what is not"


def test_factors_are_for_one_gaussian_and_go_where_it_goes(tmp_path, capsys):
    rows = wide_rows(120, MIXTURE_FULL_DIMS + 8)
    rows[0, 0] = np.nan
    source = str(tmp_path / "rows.npy")
    np.save(source, rows)
    assert command(["train", source, "--dry-run"]) == 0
    assert "Gaussian  of at most 32 factors, fitted first" in capsys.readouterr().out
    assert command(["train", source, "--dry-run", "--denoiser.components", "0"]) == 0
    assert '"factors": 0' in capsys.readouterr().out
    assert command(["train", "moons", "--dry-run", "--denoiser.factors", "1"]) == 2
    assert "give --denoiser.components 1" in capsys.readouterr().err
    assert command(["train", "moons", "--dry-run", "--denoiser.factors", "1", "--denoiser.components", "1"]) == 0
    capsys.readouterr()
    assert command(["train", "moons", "--dry-run", "--denoiser.factors", "-3", "--denoiser.components", "1"]) == 2
    assert "-3 factors: give at least 0" in capsys.readouterr().err


def test_narrow_rows_may_have_factors_too(tmp_path):
    """One factor of three numbers, in the place of heaps and tails; a new process reads what was fitted."""
    config, dataset = configured(tmp_path, wide_rows(400, 6, rank=1), learning_rate=1e-9)
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, components=1, factors=3))
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    found = open_run(tmp_path / "run").denoiser.mixture
    fitted = fit_mixture(dataset, 1, config.training.seed, 3)
    assert found.loadings.shape == (1, 6, 3)
    torch.testing.assert_close(found.loadings.data, fitted.loadings)
    assert (found.loadings[0, :, 1:] == 0).all(), "one was enough"
    covariance = torch.diag(found.variances[0]) + found.loadings[0] @ found.loadings[0].T
    x = dataset.encoded(dataset.train).double()
    torch.testing.assert_close(covariance.data, torch.cov(x.T), rtol=0, atol=0.1)


def test_a_run_from_before_stands_upon_nothing():
    values = dataclasses.asdict(DenoiserConfig(target="eps"))
    del values["components"]
    assert DenoiserConfig(**values).components == 0


def test_it_is_refused_where_there_are_no_real_vectors(tmp_path):
    config, dataset = configured(tmp_path, two_heaps())
    wrong = dataclasses.replace(config, denoiser=DenoiserConfig(target="v", components=2))
    with pytest.raises(InputError, match=r"--denoiser\.components"):
        Trainer(wrong, dataset)
