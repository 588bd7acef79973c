"""Features resolve what they are given."""

import math

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn.embeddings import Condition, FourierFeatures, GammaFeatures, octaves, with_changes

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


def test_how_an_example_was_changed_is_added_to_its_condition():
    torch.manual_seed(0)
    embed = Condition(8, num_features=2, num_changes=3)
    cond, changes = (
        torch.tensor([[0.0, 1.0], [torch.nan, torch.nan]]),
        torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 0.0]]),
    )
    added = embed(with_changes(cond, changes), torch.zeros(2)) - embed(cond, torch.zeros(2))
    weight = embed.changed.weight
    torch.testing.assert_close(added, torch.stack([weight[:, 0] - weight[:, 2], 0.5 * weight[:, 1]]))
    with pytest.raises(InputError, match=r"float vectors of shape \(2, 2\)"):
        embed(torch.zeros(2, 4), torch.zeros(2))


def test_empty_batch_of_labels():
    assert Condition(8, num_classes=2)(torch.zeros(0, dtype=torch.int64), torch.zeros(0)).shape == (0, 8)
