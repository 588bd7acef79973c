"""What a network is shown of values against sums over all pairs."""

import math

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.levels import MOST_COUNTED, level_centres
from lowerbound.nn.agreement import LineFeatures, SpikeFeatures, ValueFeatures


@pytest.mark.parametrize("sigma_data", [1.0, 0.3])
def test_spike_features_are_how_likely_the_noise_is_that_a_spike_would_have_taken(sigma_data):
    r"""Of c + r eps, scaled as a denoiser scales it, the feature of c is e^(-eps^2 / 2) whatever the noise."""
    eps = torch.linspace(-3, 3, 7, dtype=torch.float64)[None]
    for gamma in (-12.0, -3.0, 0.0, 8.0):
        ratio = math.exp(gamma / 2)
        x = (0.25 + ratio * eps) / math.sqrt(sigma_data**2 + ratio**2)
        features = SpikeFeatures((0.25, -0.75), sigma_data)
        here, elsewhere = features(x, torch.tensor([gamma], dtype=torch.float64)).split(7, 1)
        torch.testing.assert_close(here, torch.exp(-(eps**2) / 2), atol=1e-9, rtol=0)
        off = eps + math.exp(-gamma / 2)  # the other spike is so many deviations of the noise away
        torch.testing.assert_close(elsewhere, torch.exp(-(off**2) / 2), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("sigma_data", [1.0, 0.3])
def test_line_features_are_those_of_all_pairs_on_a_line(shape, sigma_data):
    """Pair by pair, as their definition says, whatever the noise."""
    gammas = torch.tensor([-12.0, -3.0, 0.0, 8.0], dtype=torch.float64)
    y = torch.randn(4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y[1] *= 0.3  # so that some agree and others do not
    scale = torch.sqrt(sigma_data**2 + gammas.exp()).view(-1, *(1,) * len(shape))
    num_dims = len(shape) - 1
    features = LineFeatures(num_dims, sigma_data)(y / scale, gammas).split(shape[0], 1)
    assert len(features) == 2 * num_dims
    for axis in range(num_dims):
        lines = y.movedim(2 + axis, -1)
        apart = (lines[..., None, :] - lines[..., :, None]) / torch.exp(gammas / 2).view(-1, *(1,) * (len(shape) + 1))
        weight = torch.exp(-apart.square() / 4)
        count = weight.sum(-1) - 1  # but for each with itself
        count_seen, apart_seen = (feature.movedim(2 + axis, -1) for feature in features[2 * axis : 2 * axis + 2])
        torch.testing.assert_close(count_seen, torch.log1p(count), atol=1e-9, rtol=0)
        torch.testing.assert_close(apart_seen, (weight * apart).sum(-1) / (1 + count), atol=1e-9, rtol=0)


def test_line_features_find_the_value_that_a_line_shares():
    """Of ten entries of one value, y_i + r times the second feature is nearer to it than y_i is, by half and more."""
    noise = torch.randn(200, 1, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ratio = 0.01
    y = 0.25 + ratio * noise
    x = y / math.sqrt(1 + ratio**2)
    gamma = torch.full((200,), 2 * math.log(ratio), dtype=torch.float64)
    _, apart = LineFeatures(1)(x, gamma).split(1, 1)
    assert (noise + apart).square().mean() < noise.square().mean() / 2


def test_lines_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="num_dims"):
        LineFeatures(0)
    with pytest.raises(InputError, match=r"x has shape \(2, 1, 5\): lines along 2 axes"):
        LineFeatures(2)(torch.zeros(2, 1, 5), torch.zeros(2))


def noisy_levels(num_levels, gammas, *shape, sigma_data=1.0):
    """A few levels of each example under noise of each gamma, as a denoiser shows them, and in units of the data."""
    generator = torch.Generator().manual_seed(0)
    palette = torch.randint(num_levels, (len(gammas), 6), generator=generator)
    index = torch.randint(6, (len(gammas), math.prod(shape)), generator=generator)
    clean = level_centres(palette.gather(1, index), num_levels).double().view(-1, *shape)
    ratio = torch.exp(gammas / 2).view(-1, *(1,) * len(shape))
    y = clean + ratio * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return y / torch.sqrt(sigma_data**2 + ratio**2), y


@pytest.mark.parametrize("is_observed", [True, False])
@pytest.mark.parametrize("sigma_data", [1.0, 0.3])
@pytest.mark.parametrize("shape", [(1, 300), (2, 12, 11)])
def test_value_features_are_those_of_all_pairs_to_the_width_of_a_bin(shape, sigma_data, is_observed):
    gammas = torch.linspace(-13, 3, 9, dtype=torch.float64)
    x, y = noisy_levels(256, gammas, *shape, sigma_data=sigma_data)
    observed = None if is_observed else torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    counted = torch.ones_like(y) if observed is None else observed.double()
    count_seen, apart_seen = ValueFeatures(256, sigma_data)(x, gammas, observed).split(shape[0], 1)
    entries = (y / torch.exp(gammas / 2).view(-1, *(1,) * len(shape))).flatten(2)
    apart = entries[..., None, :] - entries[..., :, None]
    weight = torch.exp(-apart.square() / 4) * counted.flatten(2)[..., None, :]
    weight = weight * (1 - torch.eye(weight.shape[-1], dtype=torch.float64))
    count = weight.sum(-1)
    torch.testing.assert_close(count_seen.flatten(2), torch.log1p(count) / 2, atol=0.04, rtol=0)
    torch.testing.assert_close(apart_seen.flatten(2), (weight * apart).sum(-1) / (1 + count), atol=0.1, rtol=0)


def test_an_entry_does_not_agree_with_itself():
    x = level_centres(torch.tensor([0, 100, 180, 255]), 256).double().view(1, 1, 4)
    features = ValueFeatures(256)(x, torch.tensor([-11.0], dtype=torch.float64))
    torch.testing.assert_close(features, torch.zeros_like(features), atol=1e-9, rtol=0)


def test_value_features_do_not_jump_and_their_slope_is_told():
    """For the divergence of the probability flow, across the edges of bins."""
    gammas = torch.tensor([-9.0], dtype=torch.float64)
    x, _ = noisy_levels(256, gammas, 1, 40)
    features = ValueFeatures(256)
    steps = torch.linspace(0, 0.05, 2001, dtype=torch.float64)
    moved = x.repeat(len(steps), 1, 1)
    moved[:, 0, 0] += steps
    moved.requires_grad_(True)
    seen = features(moved, gammas.expand(len(steps)))
    assert (seen[1:] - seen[:-1]).abs().max() < 20 * 0.05 / 2000 / math.exp(-4.5)
    (slope,) = torch.autograd.grad(seen[:, 0].sum(), moved)
    told = slope[:, 0, 0].detach()
    risen = (told[1:] + told[:-1]).sum() / 2 * float(steps[1])
    torch.testing.assert_close(risen, (seen[-1, 0] - seen[0, 0]).sum().detach(), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("num_levels", [1, MOST_COUNTED + 1])
def test_levels_that_are_too_many_or_too_few_are_refused(num_levels):
    with pytest.raises(InputError, match=f"{num_levels} levels"):
        ValueFeatures(num_levels)
