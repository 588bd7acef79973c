"""A network that is divided among two processes is trained as one that is not, and its run moves between any number."""

import dataclasses
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file
from training.together import RECIPES, divided, divided_recipe, finish, start

from lowerbound.errors import InputError
from lowerbound.models import Diffusion
from lowerbound.training import train
from lowerbound.training.checkpoint import check_shards, checkpoints
from lowerbound.training.config import ModelConfig
from lowerbound.training.parallel.processes import Processes
from lowerbound.training.resume import restore
from lowerbound.training.trainer import Trainer


def figures(folder, name):
    """Of the log: losses, or held-out bits."""
    return [record[name] for record in folder.read_log() if name in record]


SETTINGS = {"say": lambda line: None, "show_progress": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run: never divided; divided; and, longer than it was to be, not divided and divided after its fourth step."""
    folder = tmp_path_factory.mktemp("divide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Diffusion, "most_held_out", 200)
        config, dataset = divided(4, shard=False)
        train(config, dataset, folder / "whole first", **SETTINGS)
        shutil.copytree(folder / "whole first", folder / "longer")
        config, dataset = divided(6, shard=False)
        whole = train(config, dataset, folder / "whole", **SETTINGS)
        train(config, dataset, folder / "longer", **SETTINGS)
        for status, said in finish(start("divide", folder), 400.0):
            assert status == 0, said
        names = ("whole", "divided", "longer", "whole first", *RECIPES)
        yield {name: type(whole)(folder / name) for name in names}


@pytest.mark.slow
def test_losses_held_out_bits_and_weights_are_those_of_one(runs):
    whole, others = runs["whole"], runs["divided"]
    assert np.allclose(figures(others, "loss"), figures(whole, "loss"), rtol=1e-5)
    assert np.allclose(figures(others, "gradient_norm"), figures(whole, "gradient_norm"), rtol=1e-4)
    assert np.allclose(figures(others, "held_out_bits_per_dim"), figures(whole, "held_out_bits_per_dim"), rtol=1e-5)
    ours, theirs = load_file(whole.model), load_file(others.model)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.shape == theirs[name].shape
        assert (value - theirs[name]).abs().max() < 1e-3, name  # of which an optimiser moves 6e-3 in a step


@pytest.mark.slow
@pytest.mark.usefixtures("all_sizes")  # of mixtures, as the processes of `runs` have them
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_trained_in_parts_as_whole(name, runs, tmp_path, monkeypatch):
    """Weights and what the optimiser remembers after some steps; of two networks some batches call one alone."""
    monkeypatch.setattr(Diffusion, "most_held_out", 200)
    config, dataset = divided_recipe(name, tmp_path, shard=False)
    # the whole is not compiled: the checks of these tests can't be traced, and it comes to the same
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, compile=False))
    whole, others = train(config, dataset, tmp_path / "run", **SETTINGS), runs[name]
    assert np.allclose(figures(others, "loss"), figures(whole, "loss"), rtol=1e-4)
    assert np.allclose(figures(others, "held_out_bits_per_dim"), figures(whole, "held_out_bits_per_dim"), rtol=1e-4)
    ours, theirs = (Trainer(config, dataset) for _ in range(2))
    restore(ours, checkpoints(whole.checkpoints)[-1])
    restore(theirs, checkpoints(others.checkpoints)[-1])
    expected, found = ours.state()[0], theirs.state()[0]
    for group in ("weights", "average", "optimizer"):
        assert found[group].keys() == expected[group].keys()
        for key, value in expected[group].items():
            difference = (found[group][key] - value).abs().max()
            assert difference <= 1e-3 * max(1.0, value.abs().max()), (group, key, difference)


@pytest.mark.slow
def test_what_was_whole_is_gone_on_with_in_parts(runs):
    assert len(figures(runs["whole first"], "loss")) == 6
    assert np.allclose(figures(runs["whole first"], "loss"), figures(runs["longer"], "loss"), rtol=1e-5)
    assert check_shards(checkpoints(runs["whole first"].checkpoints)[-1]) is not None


@pytest.mark.slow
def test_one_process_goes_on_with_what_was_divided(runs):
    newest = checkpoints(runs["divided"].checkpoints)[-1]
    assert len(list(newest.glob("shard-*.safetensors"))) == 2
    config, dataset = divided(8, shard=False)
    trainer = Trainer(config, dataset)
    restore(trainer, newest)
    assert trainer.step == 6
    whole = Trainer(config, dataset)
    restore(whole, checkpoints(runs["whole"].checkpoints)[-1])
    ours, theirs = whole.state()[0], trainer.state()[0]
    for group in ("weights", "average", "optimizer"):
        assert ours[group].keys() == theirs[group].keys()
        for name, value in ours[group].items():
            assert (value - theirs[group][name]).abs().max() < 1e-3 * max(1.0, value.abs().max()), (group, name)
    (record,) = [record for record in trainer.records() if record.step == 7]
    assert np.isfinite(record.loss)


@pytest.mark.slow
def test_four_processes_go_on_with_what_two_had(runs, tmp_path):
    config, dataset = divided(8, shard=False)
    for name in ("whole", "divided"):
        shutil.copytree(runs[name].path, tmp_path / name)
    whole = train(config, dataset, tmp_path / "whole", **SETTINGS)
    for status, said in finish(start("divide_further", tmp_path, count=4), 400.0):
        assert status == 0, said
    divided_folder = type(whole)(tmp_path / "divided")
    assert len(list(checkpoints(divided_folder.checkpoints)[-1].glob("shard-*.safetensors"))) == 4
    assert np.allclose(figures(divided_folder, "loss"), figures(whole, "loss"), rtol=1e-5)
    assert len(figures(divided_folder, "loss")) == 8


@pytest.mark.slow
def test_a_damaged_part_is_named(runs):
    newest = checkpoints(runs["divided"].checkpoints)[-1]
    part = next(newest.glob("shard-*.safetensors"))
    content = part.read_bytes()
    part.write_bytes(content[:-4] + b"oops")
    with pytest.raises(InputError, match=part.name):
        check_shards(newest)
    part.rename(part.with_name("aside"))
    with pytest.raises(InputError, match="does not hold the files"):
        check_shards(newest)
    part.with_name("aside").rename(part)
    part.write_bytes(content)
    assert check_shards(newest) is not None


@pytest.mark.parametrize("num", [2, 3, 9, 10, 64])
@pytest.mark.parametrize("size", [2, 3, 5, None])
@pytest.mark.parametrize("count", [2, 3])
def test_all_processes_have_as_many_pieces_and_every_row_once(num, size, count):
    if num < count:
        return
    pieces = [Processes(rank, count).pieces(num, size, in_step=True) for rank in range(count)]
    assert len({len(each) for each in pieces}) == 1
    rows = [[row for piece in each for row in range(num)[piece]] for each in pieces]
    assert rows == [list(range(num)[Processes(rank, count).rows(num)]) for rank in range(count)]
    assert sorted(row for each in rows for row in each) == list(range(num))
    lengths = [len(range(num)[piece]) for each in pieces for piece in each]
    assert min(lengths) >= 1
    assert max(lengths) <= (size or num)


REFUSED = {"--objective": {"objective": "sliced"}, "--micro-batch-size 2": {"micro_batch_size": 1}}


@pytest.mark.parametrize("words", REFUSED)
def test_what_it_does_not_suit_is_refused(words):
    from lowerbound.training.build import build_model
    from lowerbound.training.parallel.shard import check_suits

    config, dataset = divided(4)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, **REFUSED[words]))
    with pytest.raises(InputError, match=words):
        check_suits(build_model(config, dataset.spec), config, Processes(0, 2))


def test_other_models_are_refused():
    from lowerbound.training.build import build_model
    from lowerbound.training.parallel.shard import check_suits

    config, dataset = divided(4)
    model = build_model(config, dataset.spec)
    assert check_suits(model, config, Processes(0, 2)) is model
    with pytest.raises(InputError, match="--shard is for denoisers"):
        check_suits(model, dataclasses.replace(config, model=ModelConfig("energy")), Processes(0, 2))


def test_in_one_process_it_is_said_to_have_no_effect(tmp_path, monkeypatch):
    monkeypatch.setattr(Diffusion, "most_held_out", 16)
    config, dataset = divided(2)
    with pytest.warns(UserWarning, match="--shard has no effect in one process"):
        train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
