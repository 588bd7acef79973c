"""The classifier's network, whatever the shape of its input."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from lowerbound.classifier import NoisyClassifier
from lowerbound.errors import InputError
from lowerbound.nn.classifier import Classifier
from lowerbound.schedule import CLEAN, LinearGamma
from lowerbound.schedule.scaling import SCALINGS

SHAPES = [(3,), (2, 11), (1, 9, 7), (3, 6, 4, 5), (1, 1, 1)]


@pytest.fixture(params=SHAPES, ids=str)
def built(request):
    torch.manual_seed(0)
    network = Classifier(request.param, 3, width=16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.double(), request.param


def inputs(shape, batch=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, *shape, generator=generator).double(), torch.linspace(-15, 8, batch).double()


def test_logits_are_linear_in_features(built):
    network, shape = built
    x, gamma = inputs(shape)
    features = network.features(x, gamma)
    assert features.shape == (4, network.num_features)
    logits = network(x, gamma)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(logits, features @ network.head.weight.mT + network.head.bias)


def test_an_example_does_not_depend_on_its_batch(built):
    network, shape = built
    x, gamma = inputs(shape)
    together = network(x, gamma)
    for row in range(4):
        torch.testing.assert_close(network(x[row : row + 1], gamma[row : row + 1])[0], together[row])


def test_output_depends_on_gamma_and_gradient_reaches_everything(built):
    network, shape = built
    x, gamma = inputs(shape)
    assert (network(x, gamma) - network(x, gamma + 0.5)).abs().amax(1).min() > 1e-4
    x.requires_grad_()
    cross_entropy(network(x, gamma), torch.tensor([0, 1, 2, 0])).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert x.grad.flatten(1).any(1).all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_same_data_in_every_scaling_are_the_same_to_it(scaling):
    classifier = NoisyClassifier(Classifier((2, 5), 4, width=8), -10.0, 5.0, 0.7).double()
    x, (y, _) = LinearGamma(-10.0, 5.0), inputs((2, 5))
    there, here = x.level(0.6), LinearGamma(-10.0, 5.0, SCALINGS[scaling]).level(0.6)
    torch.testing.assert_close(classifier(y * here.alpha, here), classifier(y * there.alpha, there))


def test_clean_data_are_data_at_the_lowest_level():
    classifier = NoisyClassifier(Classifier((2, 5), 4, width=8), -30.0, 5.0, 0.7).double()
    y, _ = inputs((2, 5))
    level = LinearGamma(-40.0, 5.0).level_at(-35.0)
    torch.testing.assert_close(classifier(y), classifier(y * level.alpha, level))
    assert torch.equal(classifier.features(y), classifier.features(y, CLEAN))


def test_impossible_classifiers_are_refused():
    for shape, classes, sizes in (((3,), 1, {}), ((3,), 2, {"width": 0}), ((), 2, {})):
        with pytest.raises(InputError, match=r"or more|examples of shape"):
            Classifier(shape, classes, **sizes)
    network = Classifier((1, 8, 8), 2, width=8)
    for shape in ((2, 8, 8), (1, 8)):
        with pytest.raises(InputError, match="this classifier takes"):
            network(torch.zeros(2, *shape), torch.zeros(2))
