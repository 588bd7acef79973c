"""Inception-v3's features, by a small network in the place of torch-fidelity's, and by its own where it is installed."""

import json
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from training.runs import tiny_run

from lowerbound.cli.main import run as command
from lowerbound.data import open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.data.encoding import Levels
from lowerbound.errors import InputError
from lowerbound.evaluate import inception as module
from lowerbound.evaluate.inception import ADDRESS, FILE, inception_space
from lowerbound.evaluate.quality import Split, frechet_distance, kernel_distance
from lowerbound.files.whole import file_hash


class Small(nn.Module):
    """With the face of torch-fidelity's; it notes what pictures it is shown."""

    seen: list = []  # noqa: RUF012

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048"]
        self.linear = nn.Linear(48, 2048)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))
        self.requires_grad_(False)

    def forward(self, x):
        assert x.dtype is torch.uint8
        assert x.shape[1] == 3
        self.seen.append(x)
        return (self.linear(functional.adaptive_avg_pool2d(x.float(), 4).flatten(1) / 100),)


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path):
    fake = ModuleType("torch_fidelity")
    monkeypatch.setattr(fake, "FeatureExtractorInceptionV3", Small, raising=False)
    monkeypatch.setattr(Small, "seen", [])
    monkeypatch.setitem(sys.modules, "torch_fidelity", fake)
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of grey digits without labels."""
    folder = tmp_path_factory.mktemp("inception")
    examples = open_dataset("digits").examples[:, 0]
    np.savez(folder / "few.npz", train=examples[:100], test=examples[100:140])
    tiny_run(folder / "run", str(folder / "few.npz"), steps=3)
    return folder / "run"


def write_weights(path, seed=0):
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(nn.Linear(48, 2048).state_dict(prefix="linear."), path)
    return path


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "weights.pth")


def pictures(*shape, num_levels=256, offset=0, num=30):
    values = np.random.default_rng(0).integers(0, num_levels, (num, *shape)) + offset
    values[0], values[1] = offset, offset + num_levels - 1
    encoding = Levels(num_levels, offset, "int16")
    return assemble("pictures", values.astype(np.int16), layout="NCHW", encoding=encoding)


@pytest.mark.parametrize(("num_levels", "offset"), [(256, 0), (17, -3), (2, 5), (1000, 0)])
def test_levels_become_bytes_and_grey_pictures_three_channels(num_levels, offset, weights):
    for shape in ((3, 8, 6), (1, 8, 6)):
        dataset = pictures(*shape, num_levels=num_levels, offset=offset)
        space = inception_space(dataset.spec, weights)
        found = space(dataset.encoded(np.arange(30)))
        shown = torch.cat(Small.seen).numpy()
        Small.seen.clear()
        expected = np.round((dataset.examples[:30] - float(offset)) * 255 / (num_levels - 1))
        assert (shown == np.broadcast_to(expected, (30, 3, 8, 6))).all(), (num_levels, shape)
        assert found.shape == (30, space.num_features)


def test_features_are_as_the_network_gives_them_and_counted(weights):
    dataset = pictures(3, 5, 5)
    space, counts = inception_space(dataset.spec, weights), []
    found = space(dataset.encoded(np.arange(30)), counts.append)
    network = Small("", ["2048"], weights)
    assert np.abs(found - network(torch.from_numpy(dataset.examples[:30].astype(np.uint8)))[0].numpy()).max() < 1e-5
    assert counts == [16, 14]


def test_the_space_names_its_weights_and_only_the_published_ones_give_fid(weights, monkeypatch):
    spec = pictures(1, 8, 8).spec
    other = inception_space(spec, weights)
    assert file_hash(weights)[:12] in str(other)
    assert "not the published ones" in str(other)
    assert not other.is_inception
    monkeypatch.setattr(module, "PUBLISHED", file_hash(weights)[:8])
    published = inception_space(spec, weights)
    assert published.is_inception
    assert "not the published ones" not in str(published)


def test_the_file_is_looked_for_in_the_data_directory_and_where_torch_fidelity_puts_it(tmp_path):
    spec, places = pictures(1, 8, 8).spec, (tmp_path / "torch" / "hub" / "checkpoints" / FILE, tmp_path / "data" / FILE)
    with pytest.raises(InputError, match="--inception-weights") as failure:
        inception_space(spec)
    for said in (FILE, ADDRESS, str(tmp_path / "data")):
        assert said in str(failure.value)
    for seed, place in enumerate(places):
        write_weights(place, seed)
        assert inception_space(spec).hash == file_hash(place)[:12]


class Trap:
    def __reduce__(self):
        return print, ("a pickle was run",)


REFUSED = {
    "two channels": ((2, 8, 8), "integers", r"shape \(2, 8, 8\).*1 channel, repeated, or 3"),
    "a vector": ((8,), "integers", r"shape \(8,\)"),
    "a volume": ((1, 4, 4, 4), "integers", r"\(1, 4, 4, 4\)"),
    "real numbers": ((3, 8, 8), "floats", "real numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_data_are_refused(name, weights):
    shape, kind, message = REFUSED[name]
    values = np.random.default_rng(0).integers(0, 256, (30, *shape))
    values = values.astype(np.uint8) if kind == "integers" else values.astype(np.float32)
    with pytest.raises(InputError, match=message):
        inception_space(assemble("others", values, layout="N" + "CDHW"[: len(shape)]).spec, weights)


def test_what_is_no_such_file_is_refused_and_no_pickle_is_run(tmp_path, capsys):
    spec = pictures(1, 8, 8).spec
    with pytest.raises(InputError, match=f"gone.pth is not there.*{FILE}"):
        inception_space(spec, tmp_path / "gone.pth")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="cannot be read as tensors alone"):
        inception_space(spec, tmp_path / "trap.pth")
    assert "a pickle was run" not in capsys.readouterr().out
    torch.save({"linear.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"does not hold the weights of Inception-v3.*linear\.bias"):
        inception_space(spec, tmp_path / "other.pth")


def test_a_library_that_is_not_there_or_does_not_fit_is_said(weights, monkeypatch):
    spec = pictures(1, 8, 8).spec
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(InputError, match=r"pip install 'lowerbound\[fid\]'"):
        inception_space(spec, weights)

    def broken(*arguments):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(module, "extra", broken)
    with pytest.raises(InputError, match=r"torchvision does not fit torch .*nms"):
        inception_space(spec, weights)


def test_an_evaluation_tells_fid_and_kid_with_numbers_and_hash(trained, weights, monkeypatch, capsys):
    monkeypatch.setattr(module, "PUBLISHED", file_hash(weights)[:8])
    monkeypatch.setattr("lowerbound.evaluate.judge.NUM_REFERENCES", 60)
    few = ["--num-samples", "30", "--num-examples", "6", "--num-times", "2", "--ode-examples", "0", "--no-baselines"]
    arguments = ["evaluate", str(trained), *few, "--calls", "1", "--features", "inception"]
    arguments += ["--inception-weights", str(weights)]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    hash = file_hash(weights)[:12]
    assert f"2048 features: Inception-v3's last pooling ({hash})" in said
    assert "Inception-v3 looks at 60 training and 30 held-out images" in said
    assert "the FID of 30 samples to 60 training examples is" in said
    assert "  KID " in said
    assert "Frechet distance" not in said
    kept = json.loads((trained / "evaluation" / "evaluation.json").read_text())["parts"]
    assert hash in kept["quality"]["figures"]["space"]
    assert kept["quality"]["figures"]["samples"]["is_inception"] is True
    Small.seen.clear()
    assert command(arguments) == 0
    assert capsys.readouterr().out.count("kept from before") >= 6
    assert not Small.seen, "nothing is computed again"
    assert command([*arguments[:-4], "--calls", "2", *arguments[-4:]]) == 0
    assert sum(map(len, Small.seen)) == 30, "samples alone are looked at, real images are kept"
    capsys.readouterr()
    write_weights(weights, seed=1)
    assert command(arguments) == 0
    said = capsys.readouterr().out
    assert file_hash(weights)[:12] in said
    assert "Frechet distance" in said, "other weights, another space without a name"
    assert "FID" not in said


MISTAKES = {
    "weights without the features": (["--inception-weights", "w.pth"], "without --features inception"),
    "a quick look": (["--features", "inception", "--quick"], "no effect with --quick"),
    "no such features": (["--features", "vgg"], "--features"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_has_no_effect_is_refused(mistake, trained, capsys):
    arguments, message = MISTAKES[mistake]
    assert command(["evaluate", str(trained), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_features_of_torch_fidelity_itself_give_its_fid_and_kid(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "torch_fidelity")
    try:
        from torch_fidelity import FeatureExtractorInceptionV3, feature_extractor_inceptionv3, metric_fid, metric_kid
    except (ImportError, RuntimeError) as error:  # the latter of a torchvision for another torch
        pytest.skip(f"torch-fidelity can't be imported: {error}")
    with monkeypatch.context() as patch:  # it has no way to build one without a file
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for name, values in network.state_dict().items():
        if name.endswith("conv.weight"):
            nn.init.kaiming_normal_(values)
    torch.save(network.state_dict(), tmp_path / "seeded.pth")
    dataset = pictures(3, 8, 8, num=24)
    space = inception_space(dataset.spec, tmp_path / "seeded.pth")
    found = space(dataset.encoded(np.arange(24)))
    expected = network(torch.from_numpy(dataset.examples[:24].astype(np.uint8)))[0].numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    made = np.random.default_rng(1).random((300, 64)) @ np.random.default_rng(2).random((64, 64)) / 10
    made[150:] *= 1.1
    few, many = (found[:12], found[12:]), (made[:150], made[150:])
    for name, (x, y), bar in (("few", few, 1e-4), ("many", many, 1e-10)):
        ours = [distance(Split(x, 0), Split(y, 1)).value for distance in (frechet_distance, kernel_distance)]
        statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(each)) for each in (x, y)]
        fid = metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
        sizes = {"kid_subsets": 1, "kid_subset_size": len(x), "verbose": False}
        kid = metric_kid.kid_features_to_metric(*map(torch.from_numpy, (x, y)), **sizes)
        assert ours[0] == pytest.approx(fid, rel=bar), name  # roots of zeros that were rounded, where there are few
        assert ours[1] == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-10, abs=1e-12), name
