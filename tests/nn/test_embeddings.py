"""Features resolve what they are given."""

import math

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn.embeddings import Condition, FourierFeatures, GammaFeatures, LineFeatures, SpikeFeatures, octaves

NO_NOISE = torch.tensor([-40.0, -40.0])


def test_gamma_features_resolve_and_stay_bounded():
    """Equal steps of gamma move the features by about equal amounts, all over the range; no two levels coincide."""
    gamma = torch.linspace(-20, 20, 4001)
    features = GammaFeatures()(gamma)
    assert features.shape == (4001, GammaFeatures.num_features)
    assert features.abs().max() <= 1
    steps = (features[1:] - features[:-1]).norm(dim=1)
    assert steps.max() < 1.5 * steps.min()
    distances = torch.cdist(features[::100], features[::100]) + torch.eye(41)
    assert distances.min() > 0.5


def test_gamma_features_in_float32_are_those_of_float64():
    gamma = torch.linspace(-20, 20, 1001)
    module = GammaFeatures()
    single = module(gamma)
    torch.testing.assert_close(single.double(), module.double()(gamma.double()), atol=2e-5, rtol=0)


def test_fourier_features_start_as_sines_and_cosines_of_cycles():
    x = torch.tensor([[0.0, 0.25], [0.5, -0.25]], dtype=torch.float64)
    features = FourierFeatures(2, (1, 2), embedding_width=3).double()(x, NO_NOISE.double(), torch.randn(2, 3).double())
    expected = torch.tensor(
        [[0, 0.25, 0, 1, 0, 0, 1, 0, 1, -1], [0.5, -0.25, 0, -1, 0, 0, -1, 0, 1, -1]], dtype=torch.float64
    )
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)


def test_fourier_features_repeat_with_the_period_of_a_level():
    """At K/2 cycles per unit, the centres of K levels on [-1, 1] all look alike, and half a level away opposite."""
    centres = (2 * (torch.arange(256) + 0.5) / 256 - 1)[None, None]
    features = FourierFeatures(1, (128,), embedding_width=1)
    at_centres, between = (features(x, NO_NOISE[:1], torch.zeros(1, 1))[0, 1:] for x in (centres, centres + 1 / 256))
    torch.testing.assert_close(at_centres, at_centres[:, :1].expand(-1, 256), atol=1e-3, rtol=0)
    torch.testing.assert_close(between, -at_centres, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("num_levels", "frequencies"), [(2, (1.0,)), (16, (8, 4, 2, 1)), (17, (8.5, 4.25, 2.125, 1.0625))], ids=str
)
def test_octaves_halve_from_one_level_to_one_unit(num_levels, frequencies):
    assert octaves(num_levels) == frequencies


def test_octaves_need_two_levels():
    with pytest.raises(InputError, match="2 or more"):
        octaves(1)


def test_gains_scale_each_feature_of_each_example():
    features = FourierFeatures(1, (1,), embedding_width=2)
    with torch.no_grad():
        features.gains.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    x = torch.full((2, 1, 4), 0.25)
    scaled = features(x, NO_NOISE, torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    torch.testing.assert_close(scaled[:, :, 0], torch.tensor([[0.25, 2.0, 0.0], [0.75, 1.0, 0.0]]), atol=1e-6, rtol=0)


def test_no_frequencies_leave_the_input():
    x = torch.randn(2, 3, 4)
    assert FourierFeatures(3, (), embedding_width=2)(x, torch.zeros(2), torch.zeros(2, 2)) is x


def test_noise_wider_than_a_period_takes_its_sines_away():
    """Sines keep their strength under noise of a tenth of their period; under any noise their slope in it stays bounded."""
    frequencies = octaves(65_536)
    features = FourierFeatures(1, frequencies, embedding_width=1).double()
    for gamma in torch.linspace(-25, 5, 31, dtype=torch.float64)[:, None]:
        noise = torch.sigmoid(gamma).sqrt()
        eps = torch.zeros(1, 1, dtype=torch.float64)
        slopes = torch.autograd.functional.jacobian(
            lambda eps, noise=noise, gamma=gamma: features(noise * eps, gamma, torch.zeros(1, 1).double()), eps
        ).flatten()[1:17]
        assert slopes.abs().max() < 1.5, gamma
        widths = noise * torch.tensor(frequencies).double()
        fine = widths < 0.1
        torch.testing.assert_close(slopes[fine], (2 * math.pi * widths)[fine], atol=0, rtol=0.04)
        assert (slopes[widths > 2].abs() < 1e-5).all(), gamma


def test_vector_condition_is_a_function_of_its_row():
    torch.manual_seed(0)
    embed = Condition(8, num_features=2)
    cond = torch.tensor([[0.0, 1.0], [torch.nan, torch.nan], [0.0, 1.0]])
    rows = embed(cond, torch.zeros(3))
    torch.testing.assert_close(rows[0], rows[2])
    torch.testing.assert_close(rows[1], embed(None, torch.zeros(1))[0])


def test_empty_batch_of_labels():
    assert Condition(8, num_classes=2)(torch.zeros(0, dtype=torch.int64), torch.zeros(0)).shape == (0, 8)


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
