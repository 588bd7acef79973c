"""What only a transformer promises: the best linear denoiser is learned, columns and patches are its tokens, and options."""

import dataclasses

import pytest
import torch
from oracles import double
from torch.nn import functional
from training.runs import made, tiny_config, train_until

from lowerbound import NetworkDenoiser, open_run
from lowerbound.data.columns import Column
from lowerbound.data.dataset import Examples
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.nn import Transformer
from lowerbound.nn.transformer import FromColumns
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma
from lowerbound.training import recipe, train
from lowerbound.training.build import build_denoiser, build_network
from lowerbound.training.config import CoarseConfig, DataConfig, NetworkConfig
from lowerbound.training.optimizer import Optimizer
from lowerbound.training.trainer import Trainer


def awake(network):
    """No weight is zero any more."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def test_it_learns_a_gaussian_s_denoiser():
    """The error of a silent network is that of x_hat = x_t / alpha_t; of the exact one it is the least there is."""
    torch.manual_seed(0)
    schedule, covariance = LinearGamma(-4.0, 4.0), double([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.2]])
    exact = Gaussian(torch.zeros(3).double(), covariance, schedule)
    learned = NetworkDenoiser(Transformer((3,), width=16, depth=2), schedule, (3,), "v")
    silent = NetworkDenoiser(Transformer((3,), width=16, depth=2), schedule, (3,), "v").double()
    optimizer, noise = torch.optim.Adam(learned.parameters(), 5e-3), Stream(0)

    def errors(denoiser, x, noise):
        """Of the target v, whose variance is about one at every level."""
        level = schedule.level(noise.uniform(x)[:, 0])
        eps = noise.normal(x)
        x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
        return functional.mse_loss(denoiser(x_t, level).v, level.alpha[:, None] * eps - level.sigma[:, None] * x)

    with torch.no_grad():
        before = errors(silent, exact.sample(4000, Stream(2)), Stream(1))
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / 300)
        optimizer.zero_grad()
        errors(learned, exact.sample(256, noise).float(), noise).backward()
        optimizer.step()
    with torch.no_grad():  # in double precision, so that all see the same noise
        x = exact.sample(4000, Stream(2))
        found, least = (errors(denoiser, x, Stream(1)) for denoiser in (learned.double(), exact))
    assert before > 1.2 * least
    assert least < found < least + 0.05 * (before - least)


def test_a_column_is_a_token_of_all_its_entries():
    """What a column's entries say enters its own token, and no other."""
    torch.manual_seed(0)
    into = FromColumns(2, (1, 3, 1), 8)
    x = torch.randn(1, 10)  # two features of five entries
    tokens, moved = into(x), x.clone()
    assert tokens.shape == (1, 3, 8)
    moved[0, [2, 8]] += 1.0  # a feature each of the second column
    changes = (into(moved) - tokens).abs().amax(2)[0]
    assert (changes > 0.1).tolist() == [False, True, False]


@pytest.mark.parametrize(("spatial", "patch"), [((8, 6), 2), ((7, 5), 2), ((12,), 4), ((4, 4, 2), 2)])
def test_the_layers_know_no_order(spatial, patch):
    """Tokens in another order, with what tells their places, are the same tokens."""
    torch.manual_seed(0)
    network = awake(Transformer((2, *spatial), width=16, depth=2, patch=patch)).double()
    tokens = torch.randn(2, len(network.into.places), 16).double()
    embedding, order = torch.randn(2, 16).double(), torch.randperm(tokens.shape[1])
    moved = network.modulated(tokens[:, order], embedding)
    torch.testing.assert_close(moved, network.modulated(tokens, embedding)[:, order])
    x = torch.randn(2, 2, *spatial).double()
    assert network(x, torch.zeros(2).double()).shape == x.shape


def test_a_hidden_entry_s_value_says_nothing():
    network = awake(Transformer((4,), width=16, depth=2, takes_observed=True)).double()
    denoiser = NetworkDenoiser(network, LinearGamma(-4.0, 4.0), (4,))
    observed = torch.tensor([[True, False, True, True]])
    x, other = double([[0.3, 5.0, -1.0, 0.2]]), double([[0.3, -7.0, -1.0, 0.2]])
    level = denoiser.schedule.level(double([0.5]))
    given = denoiser.given(observed=observed)
    assert torch.equal(given(x, level).x[observed], given(other, level).x[observed])
    assert not torch.equal(denoiser(x, level).x[observed], denoiser(other, level).x[observed])


def small_config(source="digits", **training):
    config, dataset = tiny_config(source, **training)
    patch = 2 if len(dataset.shape) > 1 else 1
    return dataclasses.replace(config, network=NetworkConfig("transformer", width=16, depth=2, patch=patch)), dataset


def test_a_run_of_it_is_resumed_exactly(tmp_path):
    config, dataset = small_config(steps=8)
    train(config, dataset, tmp_path / "whole", say=lambda line: None, show_progress=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        train_until(4, config, dataset, tmp_path / "resumed", patch, say=lambda line: None)
    train(config, dataset, tmp_path / "resumed", say=lambda line: None, show_progress=False)
    whole, resumed = (open_run(tmp_path / name) for name in ("whole", "resumed"))
    assert "transformer" in (tmp_path / "whole" / "config.json").read_text()
    for (name, ours), theirs in zip(whole.model.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_muon_moves_the_layers_matrices_and_adamw_all_else():
    config, dataset = small_config(optimizer="muon")
    network = build_network(config.network, dataset.spec)
    optimizer = Optimizer(network, config.training)
    names = {parameter: name for name, parameter in network.named_parameters()}
    by_muon = {names[parameter] for parameter in optimizer._groups[-1][1]}
    layer = ("query_key_value", "mix", "perceptron.0", "perceptron.2")
    assert by_muon == {f"trunk.{number}.{name}.weight" for number in range(2) for name in layer}


def test_the_tokens_of_a_table_are_its_columns():
    columns = (Column("city", "categorical", "string", ("a", "b", "c")), Column("x", "real", "double"))
    values = torch.stack([torch.arange(60) % 3, torch.randn(60)], 1).double().numpy()
    dataset = Examples("table", values, "ND", columns=columns).dataset()
    config = recipe(dataset, DataConfig("table"))
    network = build_network(dataclasses.replace(config.network, kind="transformer"), dataset.spec, 2)
    assert network.into.columns.sum(1).tolist() == [3, 1]
    assert network(torch.zeros(2, 4), torch.zeros(2)).shape == (2, 8)


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        ("digits", {"kind": "unet", "patch": 0}, "give 1 position"),
        ("moons", {"kind": "transformer", "patch": 2}, "leave it at 1"),
        ("digits", {"kind": "transformer", "patch": 0}, "patch is 0: give 1 or more"),
        ("moons", {"kind": "unet"}, "vectors take mlp or transformer"),
    ],
)
def test_options_that_do_not_go_together(source, settings, said):
    config, dataset = tiny_config(source)
    with pytest.raises(InputError, match=said):
        build_network(dataclasses.replace(config.network, **settings), dataset.spec)


@pytest.mark.parametrize(
    ("source", "kind", "setting", "value", "said"),
    [
        ("digits", "unet", "depth", 6, "--network.depth has no effect on a U-Net, whose settings are --network.width,"),
        ("digits", "transformer", "periodic", (1,), "--network.periodic has no effect on a transformer"),
        ("digits", "transformer", "multipliers", (1, 2), "--network.multipliers has no effect on a transformer"),
        ("digits", "transformer", "values", True, "--network.values has no effect on a transformer"),
        ("moons", "mlp", "pooled", True, "--network.pooled has no effect on an MLP"),
        ("moons", "mlp", "patch", 2, "settings are --network.width, --network.depth, --network.fourier-frequencies"),
        ("moons", "transformer", "blocks_per_level", 1, "--network.blocks-per-level has no effect on a transformer"),
    ],
)
def test_a_setting_without_effect_on_the_kind_of_network_is_refused_before_training(source, kind, setting, value, said):
    config, dataset = tiny_config(source)
    network = NetworkConfig(kind, **{"width": 8, setting: value})
    with pytest.raises(InputError, match=said):
        Trainer(dataclasses.replace(config, network=network), dataset)


@pytest.mark.parametrize(
    ("shape", "num_levels", "patch"),
    [
        *(((5,), None, 1), ((1, 8, 8), 17, 1), ((1, 28, 28), 256, 4), ((3, 64, 50), 256, 8), ((3, 256, 256), 256, 8)),
        *(((2, 1000), None, 16), ((2, 8000), None, 64), ((1, 20, 20, 20), None, 4)),
    ],
)
def test_the_recipe_of_it_has_patches_as_large_as_leave_few_tokens(shape, num_levels, patch):
    """And nothing of a U-Net's, nor a second network."""
    dataset = made(shape, num_levels)
    config = recipe(dataset, network="transformer")
    config.network.check()
    assert (config.network.patch, config.coarse) == (patch, CoarseConfig())
    denoiser = build_denoiser(config, dataset.spec)
    assert any(isinstance(part, Transformer) for part in denoiser.modules())


def test_the_recipe_of_a_network_that_cannot_be():
    with pytest.raises(InputError, match="vectors take mlp or transformer"):
        recipe(made((5,), None), network="unet")
    with pytest.raises(InputError, match="vectors take mlp or transformer, others"):
        recipe(made((1, 8, 8), 17), network="mlp")
    with pytest.raises(InputError, match=r"--network\.kind transformer has no effect on the model vae"):
        recipe(made((1, 8, 8), 17), model="vae", network="transformer")


def test_impossible_sizes():
    with pytest.raises(InputError, match="make up all entries"):
        Transformer((3,), columns=(1, 1))
    with pytest.raises(InputError, match="as many outputs as any"):
        Transformer((3,), 4)
