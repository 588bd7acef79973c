"""What is given to a model of series in training."""

import dataclasses
import math

import numpy as np
import torch

from lowerbound.blocks import ChoiceOrReal, Grid, Real
from lowerbound.data import DataConfig
from lowerbound.data.source import open_dataset
from lowerbound.rng import PerSample
from lowerbound.training import recipe
from lowerbound.training.masks import known_entries
from lowerbound.training.trainer import Trainer


def test_each_kind_of_mask_is_given_and_something_is_left():
    x = torch.zeros(2000, 3, 20)
    x[::2, 1, 5:15] = torch.nan
    known = known_entries(x, 6, PerSample(range(2000)))
    assert not (known & x.isnan()).any()
    assert (~known & ~x.isnan()).flatten(1).any(1).all()
    nothing = ~known.flatten(1).any(1)
    forecast = (known == (torch.arange(20) < 14) & ~x.isnan()).flatten(1).all(1)
    column = known[1::2].all(1) | ~known[1::2].any(1)
    assert abs(nothing.double().mean() - 0.25) < 0.05
    assert abs(forecast.double().mean() - 0.25) < 0.05
    assert 0.5 < column.all(1).double().mean() < 0.7  # nothing, forecasts, and some stretches in all channels
    assert abs(known.double().mean() - 0.45) < 0.1
    again = known_entries(x[:10], 6, PerSample(range(10)))
    assert (again == known[:10]).all()


def test_without_a_horizon_the_end_has_any_length():
    known = known_entries(torch.zeros(400, 1, 10), 0, PerSample(range(400)))
    ends = {int(each.sum()) for each in known[:, 0] if (each.int().diff() <= 0).all()}
    assert ends >= {1, 3, 5, 7, 9}


def test_what_is_given_has_no_part_in_the_loss_and_is_seen(tmp_path):
    values = np.sin(np.arange(300) / 3)
    path = tmp_path / "sine.csv"
    path.write_text("a\n" + "\n".join(map(str, values)))
    dataset = open_dataset(str(path), window=12, horizon=4)
    config = recipe(dataset, DataConfig(str(path), window=12, horizon=4), minutes=1)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, width=8))
    trainer = Trainer(config, dataset)
    x = dataset.encoded(dataset.train[:4])
    series = dataset.spec.series
    assert series is not None
    known = torch.zeros_like(x, dtype=torch.bool)
    known[..., :12] = True
    cond = series.condition_of(x, known)
    torch.nn.init.normal_(trainer.model.denoiser.network.out.weight)
    model = trainer.model.given(cond, ~known)
    effort = [model.elbo(each, PerSample(range(4))) for each in (x, torch.where(known, 9.0, x))]
    assert torch.equal(effort[0].nats, effort[1].nats)
    assert (effort[0].num_dims == 4).all()
    other = trainer.model.given(series.condition_of(x + 1, known), ~known).elbo(x, PerSample(range(4)))
    assert not torch.isclose(other.nats, effort[0].nats).any()


def test_the_entries_of_a_block_are_given_together():
    blocks = (ChoiceOrReal((0.0, 1.0), (0.2, 0.3)), Real(), Grid(0.0, 0.1))
    x = torch.randn(300, 6, 12, generator=torch.Generator().manual_seed(0))
    x[:, :4, 3] = math.nan
    known = known_entries(x, 4, PerSample(range(300)), blocks)
    assert known.shape == x.shape
    assert torch.equal(known[:, :1].expand(-1, 4, -1), known[:, :4])
    assert not known[:, :4, 3].any()
    assert (known[:, 0] != known[:, 4]).any()
    assert torch.equal(known[:, [0, 4, 5]], known_entries(x[:, [0, 4, 5]], 4, PerSample(range(300))))
