"""Data through a code and back: exact, as long as the bound says, and nothing wrong passes silently."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from codec.runs import Independent, relative, run_of
from scipy.stats import binom

import lowerbound as lb
from lowerbound.codec import Compressed, coding, compress, decompress
from lowerbound.codec.chain import Chain
from lowerbound.codec.coding import _batch_size, _batch_sizes
from lowerbound.codec.stack import Stack
from lowerbound.data import open_dataset
from lowerbound.denoiser.exact import Empirical
from lowerbound.discrete.denoiser import LevelDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import DiscretizedGaussian
from lowerbound.models import as_hvae
from lowerbound.nn import MLP
from lowerbound.scoring import score

DIGITS = open_dataset("digits").examples
RNG = np.random.default_rng(0)


def there_and_back(run, raw, **settings):
    """The code of examples, written, read and decoded."""
    compressed = compress(run, raw, **settings)
    content = compressed.to_bytes()
    decoded = decompress(run, Compressed.from_bytes(content, "it"))
    assert decoded.dtype == raw.dtype
    assert decoded.shape == raw.shape
    assert (decoded == raw).all()
    return compressed


def untrained(shape=(1, 8, 8), num_levels=17, decoder=None):
    """A diffusion model of discrete data whose network has random weights."""
    torch.manual_seed(0)
    make = MLP(shape[0], out_features=2 * shape[0], width=16) if len(shape) == 1 else None
    network = make or lb.UNet(shape[0], len(shape) - 1, 2 * shape[0], width=8, multipliers=(1, 2), blocks_per_level=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    denoiser = LevelDenoiser(network, lb.LinearGamma(-8.0, 5.0), shape, num_levels)
    return lb.Diffusion(denoiser, decoder or lb.LevelPosterior(num_levels), num_levels=num_levels)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return run_of(untrained(), DIGITS, "NHW", 17, tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A run of 64 vectors of four levels, all as likely as each other, whose denoiser is the best that there is; and
    draws of them."""
    vectors = np.random.default_rng(1).integers(4, size=(64, 16), dtype=np.uint8)
    vectors[0], vectors[1] = 0, 3
    x = lb.data.encoding.Levels(4).encode(vectors)
    model = lb.Diffusion(Empirical(x, lb.LinearGamma(-7.0, 6.0)), lb.LevelPosterior(4), num_levels=4)
    raw = vectors[np.random.default_rng(2).integers(64, size=2000)]
    return run_of(model, raw, "ND", 4, tmp_path_factory.mktemp("runs") / "memory"), raw


def test_several_hundred_digits_come_back(digits):
    compressed = there_and_back(digits, DIGITS[:300], num_steps=3, batch_size=20)
    assert 0 < compressed.num_plain < 150


def integers(num_levels, *shape, dtype=np.uint8):
    """Few values of each entry, the first example of zeros, the second of the last level."""
    raw = RNG.binomial(num_levels - 1, 0.3, size=shape).astype(dtype)
    raw[0], raw[1] = 0, num_levels - 1
    return raw


CASES = {
    "bits": (untrained((5,), 2), integers(2, 60, 5), "ND"),
    "vectors of bytes": (untrained((4,), 256), integers(256, 60, 4), "ND"),
    "16 bits": (untrained((1, 5), 65_536), integers(65_536, 9, 1, 5, dtype=np.uint16), "NL"),
    "colours": (untrained((3, 4, 5), 8), integers(8, 12, 3, 4, 5, dtype=np.int64) - 3, "NHWC"),
    "a decoder with a network": (untrained((1, 4), 9, DiscretizedGaussian(9, 0.2)), integers(9, 60, 1, 4), "NL"),
    "autoregressive vectors": (relative("autoregressive", (5,), 3, width=16, depth=1), integers(3, 20, 5), "ND"),
    "autoregressive bits": (
        relative("autoregressive", (1, 4, 4), 2, width=8, depth=1),
        integers(2, 20, 1, 4, 4),
        "NHW",
    ),
    "autoregressive colours": (
        relative("autoregressive", (3, 3, 2), 300, width=8, depth=1, decoder="discretized-logistic"),
        integers(300, 9, 3, 3, 2, dtype=np.uint16),
        "NCHW",
    ),
    "hierarchy": (relative("hierarchical-vae", (6,), 17, width=16, latent_dims=4), integers(17, 100, 6), "ND"),
    "one level": (relative("vae", (1, 8, 8), 17, width=8, latent_dims=4), DIGITS[:50], "NHW"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_comes_back(name, tmp_path):
    model, raw, layout = CASES[name]
    run = run_of(model, raw, layout, model.num_levels, tmp_path / "run")
    settings = {"num_steps": 3} if run.is_denoiser else {}
    for examples in (raw, raw[:1]):
        compressed = there_and_back(run, examples, batch_size=4, layout=layout, **settings)
        assert compressed.layout == layout


def test_a_chain_adds_the_bits_of_its_bound_and_no_fewer_than_the_entropy(memory):
    """6 bits for each of 16 entries is what anyone needs; the chain's bound is more, and the code takes the bound."""
    run, raw = memory
    levels = raw.astype(np.int64)
    for num_steps in (30, 60):
        times = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
        model = copy.deepcopy(run.model).double()
        chain = Chain(as_hvae(model.denoiser, model.decoder, times), run.spec.shape, 4, run.device)
        stack = Stack(RNG.integers(1 << 32, size=60_000, dtype=np.uint32), as_seed=True)
        before = 32 * len(stack.words)
        with torch.no_grad():
            for first in range(0, len(raw), 500):
                chain.push(stack, levels[first : first + 500])
        bits = (32 * len(stack.words) - before) / raw.size
        scores = score(run, raw, lb.Effort(num_steps=num_steps, num_draws=num_steps))
        assert bits == pytest.approx(scores.bits_per_dim.mean(), rel=0.02)
        assert bits > 6 / 16
    assert bits < 0.45


def test_a_file_of_few_hundred_images_is_as_long_as_the_bound(tmp_path):
    """Of pixels that are independent, whose entropy is known: with all that is in the file."""
    masses = binom(16, 0.4).pmf(np.arange(17))
    raw = RNG.choice(17, p=masses, size=(400, 1, 8, 8)).astype(np.uint8)
    denoiser = Independent(torch.from_numpy(masses), lb.LinearGamma(-8.0, 4.0), (1, 8, 8))
    run = run_of(lb.Diffusion(denoiser, lb.LevelPosterior(17), num_levels=17), raw, "NHW", 17, tmp_path / "run")
    compressed = there_and_back(run, raw, num_steps=16)
    assert compressed.growth > 1
    effort = lb.Effort(num_steps=16, num_draws=16, times=compressed.times)
    bound = score(run, raw, effort).bits_per_dim.mean()
    entropy = -(masses * np.log2(masses)).sum()
    assert entropy < bound < 8 * compressed.num_bytes / raw.size < 1.02 * bound


def test_an_exact_likelihood_is_the_length_of_its_code(tmp_path):
    model = relative("autoregressive", (1, 8, 8), 17, width=8, depth=1)
    run = run_of(model, DIGITS, "NHW", 17, tmp_path / "run")
    compressed, bits = there_and_back(run, DIGITS[:200]), score(run, DIGITS[:200]).bits_per_dim.sum() * 64
    # what the model takes for all but impossible costs 24 bits and no more
    assert 8 * (compressed.num_bytes - compressed.num_header_bytes) == pytest.approx(bits, rel=0.004, abs=64)


def test_no_more_is_borrowed_than_for_one_example(memory, monkeypatch):
    """Of a thousand examples as for fifty by the same chain; and few batches hold them all, as the stack can lend more."""
    run, raw = memory
    monkeypatch.setattr(coding, "shares_of_steps", lambda run, raw: bytes([1] * 8))
    few, many = (compress(run, raw[:num], num_steps=2) for num in (50, 1000))
    assert few.num_plain == many.num_plain
    sizes = _batch_sizes(1000 - many.num_plain, many.batch_size, many.growth)
    assert sizes[0] == 1
    assert sizes[-2] > 10
    assert len(sizes) < 250


@pytest.mark.parametrize(("shape", "size"), [((1, 8, 8), 64), ((1, 28, 28), 20), ((1, 200, 200), 1)])
def test_large_images_are_coded_few_at_a_time(shape, size, tmp_path):
    levels = RNG.integers(0, 4, (6, *shape), dtype=np.uint8)
    run = run_of(relative("vae", shape, 4, width=8), levels, "NCHW", 4, tmp_path / "run")
    assert _batch_size(run) == size


@pytest.mark.parametrize(("most", "growth"), [(64, 3), (5, 7), (1, 0), (4, 0), (64, 65535)])
def test_batches_grow_as_the_stack_does(most, growth):
    sizes = _batch_sizes(1000, most, growth)
    assert sum(sizes) == 1000
    assert max(sizes) <= most
    if growth:
        assert all(size <= 1 + sum(sizes[:index]) / growth for index, size in enumerate(sizes))
    else:
        assert sizes == [most] * (1000 // most)


def test_a_stack_that_runs_out_is_filled_again(digits, monkeypatch):
    """As where the examples that were tried earn more than the others."""
    trial = coding._trial

    def hopeful(*given):
        borrowed, earned = trial(*given)
        return 0.3 * borrowed, 20 * earned

    monkeypatch.setattr(coding, "_trial", hopeful)
    told = []
    compressed = compress(digits, DIGITS[:60], num_steps=3, progress=told.append)
    assert (decompress(digits, compressed) == DIGITS[:60]).all()
    assert min(told) < 0, "it was coded again"
    assert sum(told) == 60


@pytest.fixture(scope="module")
def twelve(digits):
    return compress(digits, DIGITS[:12], num_steps=2, batch_size=2)


def test_a_change_of_any_byte_is_noticed(twelve):
    content = twelve.to_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        with pytest.raises(InputError, match=r"is damaged|is no compressed|is of version"):
            Compressed.from_bytes(bytes(changed), "it")


@pytest.mark.parametrize("length", [0, 2, 3, 20, 45, 60, -8, -4, -1])
def test_a_file_that_was_cut_off_is_noticed(twelve, length):
    with pytest.raises(InputError, match=r"is damaged|is no compressed"):
        Compressed.from_bytes(twelve.to_bytes()[:length], "it")


def test_words_that_were_changed_with_their_checksum_are_noticed(digits):
    compressed = compress(digits, DIGITS[:10], num_steps=2, batch_size=2)
    for position in [*range(0, len(compressed.words), 20), len(compressed.words) - 1]:
        words = compressed.words.copy()
        words[position] ^= np.uint32(1 << position % 32)
        with pytest.raises(InputError, match="does not come out even"):
            decompress(digits, dataclasses.replace(compressed, words=words))


def test_another_run_is_noticed(twelve, memory):
    with pytest.raises(InputError, match="were compressed by another model than that of the run in"):
        decompress(memory[0], twelve)


def perturbed(run, factor):
    """The same run on a machine whose network gives other numbers."""

    def change(module, inputs, output):
        return output * factor(output)

    model = copy.deepcopy(run.model)
    model.denoiser.network.register_forward_hook(change)
    return dataclasses.replace(run, model=model)


@pytest.fixture(scope="module")
def thirty(digits):
    return compress(digits, DIGITS[:30], num_steps=5, batch_size=3)


@pytest.mark.parametrize("relative_error", [1e-3, 10.0, math.nan])
def test_a_network_that_gives_other_numbers_is_noticed(digits, thirty, relative_error):
    other = perturbed(digits, lambda output: 1 + relative_error * torch.randn_like(output))
    with pytest.raises(InputError, match="its network gives other numbers here"):
        decompress(other, thirty)


def test_rounding_of_another_machine_does_no_harm(digits):
    """Some hundred thousand numbers of a network, each off by a few units in the last place."""
    compressed = compress(digits, DIGITS[:60], num_steps=12, batch_size=6)
    other = perturbed(digits, lambda output: 1 + 5e-16 * torch.randn_like(output))
    assert (decompress(other, compressed) == DIGITS[:60]).all()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (DIGITS[:0], "0 examples of shape"),
        (DIGITS[:5, :, :7], r"examples of shape \(1, 7, 8\)"),
        (DIGITS[:5] + 1, "values from 1 to 17"),
        (DIGITS[:5].astype(np.float32), "values of type float32"),
    ],
)
def test_data_that_the_run_does_not_take_are_refused(digits, raw, message):
    with pytest.raises(InputError, match=message):
        compress(digits, raw, num_steps=2)


@pytest.mark.parametrize(
    ("settings", "message"), [({"num_steps": 1 << 16}, "num_steps=65536"), ({"batch_size": -1}, "batch_size=-1")]
)
def test_numbers_out_of_range_are_refused(digits, settings, message):
    with pytest.raises(InputError, match=message):
        compress(digits, DIGITS[:5], **settings)


def test_real_numbers_have_no_code(tmp_path):
    points = RNG.normal(size=(50, 2)).astype(np.float32)
    denoiser = Empirical(torch.from_numpy(points), lb.LinearGamma(-5.0, 5.0))
    run = run_of(lb.Diffusion(denoiser, lb.GaussianDecoder()), points, "ND", None, tmp_path / "run")
    with pytest.raises(InputError, match="a density has no code of finite length"):
        compress(run, points)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("gan", {}), ("ladder-vae", {}), ("flow", {}), ("vae", {"prior": "learned", "prior_components": 2})],
)
def test_models_without_a_code_are_refused(name, settings, tmp_path):
    run = run_of(relative(name, (1, 8, 8), 17, **settings), DIGITS, "NHW", 17, tmp_path / "run")
    with pytest.raises(InputError, match=r"makes no code.*: train diffusion, autoregressive"):
        compress(run, DIGITS[:5])
    with pytest.raises(InputError, match="has no steps to choose"):
        compress(run, DIGITS[:5], num_steps=3)
