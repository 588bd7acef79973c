"""Two processes train, draw and evaluate what one does, up to rounding, and a run moves between them."""

import dataclasses
import json
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.runs import measure_little, train_until
from training.together import NAMES, configuration, finish, outcome, start, stopping, teach, use

from lowerbound.errors import InputError
from lowerbound.evaluate.folder import read_evaluation
from lowerbound.run.overview import overview
from lowerbound.times import antithetic_times
from lowerbound.training import train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.parallel.shared_memory import SharedMemory

WEIGHT = {"AdamW": 1e-5}
"""The largest difference of a weight, of about one; others' optimisers turn rounding of a vanishing gradient into a step."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    for status, said in finish(start("compute", folder), 400.0):
        assert status == 0, said
    return {**torch.load(folder / "found.pt"), "early": overview(folder / "early"), "folder": folder}


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one(name, found):
    losses, tensors, measured = outcome(*configuration(name))
    others, their_tensors, their_measured = found[name]
    assert torch.allclose(others, losses, rtol=1e-4, atol=1e-5)
    for group in ("weights", "buffers", "times"):
        assert tensors[group].keys() == their_tensors[group].keys()
        for key, value in tensors[group].items():
            difference = (their_tensors[group][key].double() - value.double()).abs().max()
            assert difference <= WEIGHT.get(name, 1e-3) * max(1.0, value.double().abs().max()), (group, key, difference)
    if measured is not None:
        assert np.allclose(their_measured, measured, rtol=1e-4)


def test_all_of_them_stop_early_together(found):
    assert found["early"].state == "complete"
    assert found["early"].step == 2  # the first measurement is of step 0
    assert "the last 2 measurements" in found["early"].reason


@pytest.fixture(scope="module")
def used_alone(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(found["folder"] / "early", folder / "run")
    shutil.rmtree(folder / "run" / "evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 1)
        use(folder / "run", folder)
    return folder


def test_they_draw_the_same_samples_to_the_bit(found, used_alone):
    ours, theirs = (np.load(folder / "samples.npy") for folder in (used_alone, found["folder"]))
    assert len(ours) == 20
    assert np.array_equal(ours, theirs)


def test_they_find_the_same_figures(found, used_alone):
    ours = read_evaluation(used_alone / "run" / "evaluation")
    theirs = read_evaluation(found["folder"] / "early" / "evaluation")
    assert ours is not None
    assert theirs is not None
    assert theirs.parts.keys() == ours.parts.keys()
    assert {"likelihood", "density", "samples", "quality", "diagnosis"} <= theirs.figures.keys()
    for name, figures in ours.figures.items():
        numbers, others = (
            [*read_numbers(each)] for each in (dataclasses.asdict(figures), dataclasses.asdict(theirs.figures[name]))
        )
        assert numbers == pytest.approx(others, rel=1e-5, abs=1e-9, nan_ok=True), name
    for name in ("bits.npy", "samples.npy"):
        each = (np.load(folder / "evaluation" / name) for folder in (used_alone / "run", found["folder"] / "early"))
        assert np.allclose(*each, rtol=1e-6)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Folders of what one process and what two have taught."""
    alone, together = (tmp_path_factory.mktemp(name) for name in ("alone", "together"))
    train(*stopping(3), alone / "run", show_progress=False)
    shutil.copytree(alone / "run", together / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 1)
        teach(alone)
    for status, said in finish(start("teach", together), 400.0):
        assert status == 0, said
    return alone, together


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student", "classifier"])
def test_they_train_the_same_student_and_classifier(name, taught):
    (ours, weights), (theirs, others) = (
        {
            "student": (folder / "student" / "log.jsonl", folder / "student" / "model.safetensors"),
            "classifier": (folder / "run" / "classifier.log.jsonl", folder / "run" / "classifier.safetensors"),
        }[name]
        for folder in taught
    )
    ours, theirs = ([json.loads(line) for line in log.read_text().splitlines()] for log in (ours, theirs))
    assert [record["step"] for record in theirs] == [*range(1, 11)]
    for key in ("loss", "gradient_norm"):
        assert [record[key] for record in theirs] == pytest.approx([record[key] for record in ours], rel=1e-4), key
    weights, others = load_file(weights), load_file(others)
    assert weights.keys() == others.keys()
    assert all(torch.allclose(others[key], value, atol=2e-4) for key, value in weights.items())


def test_within_a_machine_values_are_added_up_in_shared_memory(found):
    """Of as many as come, after fewer and after more, and by sockets where there is no room."""
    assert all((found["folder"] / f"added-{rank}").exists() for rank in range(2))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_in_shared_memory_all_get_the_sum_of_all_each_time(count, monkeypatch):
    """The processes are threads here, which wait for one another where those exchange a number."""
    turns, places = threading.Barrier(count), torch.empty(count, 9)
    monkeypatch.setattr("lowerbound.training.parallel.shared_memory.dist.all_reduce", lambda values: turns.wait())
    found = [[] for _ in range(count)]

    def work(rank):
        memory = SharedMemory(rank, count)
        memory.places = places
        for turn in range(20):
            if rank == turn % count:
                time.sleep(0.002)
            found[rank].append(memory.sum([torch.full((2, 3), float(turn * 10**rank)), torch.ones(1)]))

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    expected = [[turn * sum(10**rank for rank in range(count))] * 6 + [count] for turn in range(20)]
    assert [[values.tolist() for values in each] for each in found] == [expected] * count


def read_numbers(value):
    """All numbers in a record but its clock's."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from read_numbers(item) if key != "seconds" else ()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from read_numbers(item)
    elif isinstance(value, int | float):
        yield value


def test_what_is_done_by_turns_comes_in_order():
    assert ALONE.by_turns("abc", str.upper) == ["A", "B", "C"]


def test_rows_are_all_of_them_once():
    for num, count in ((33, 2), (8, 3), (4, 4), (7, 5)):
        parts = [list(range(num))[Processes(rank, count).rows(num)] for rank in range(count)]
        assert sorted(row for part in parts for row in part) == list(range(num))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.71])
@pytest.mark.parametrize(("num", "count"), [(32, 2), (33, 2), (32, 4), (30, 4)])
def test_each_process_has_as_many_examples_as_any_other_on_either_side_of_a_noise_level(num, count, offset):
    """Of two networks that share the noise no process is left with more calls of the one that costs more."""
    times = antithetic_times(torch.tensor(offset), num)
    for split in (0.1, 0.5, 0.8):
        above = [int((times[Processes(rank, count).rows(num)] >= split).sum()) for rank in range(count)]
        assert max(above) - min(above) <= 2  # one for the batch's end, one for where its times begin again


def test_alone_nothing_is_exchanged():
    parameter = torch.nn.Parameter(torch.ones(2))
    figure = torch.ones(3)
    assert ALONE.sum_gradients([parameter], figure)[0] is figure
    assert parameter.grad is None
    assert ALONE.by_first(lambda: 3) == 3
    assert ALONE.most([1.0, 2.0]) == [1.0, 2.0]


def test_an_error_stays_what_it_is():
    with pytest.raises(InputError, match="why"), ALONE.together():
        raise InputError("why")


@pytest.mark.slow
def test_a_run_moves_from_one_process_to_two_to_four_and_back(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    config, dataset = stopping()
    whole = train(config, dataset, tmp_path / "whole", say=lambda line: None, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train_until(10, config, dataset, tmp_path / "run", monkeypatch)
    for status, said in finish(start("go_on", tmp_path)):
        assert status == 0, said
    expected, _ = read_checkpoint(checkpoints(whole.checkpoints)[-1])
    tensors, state = read_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["step"] == 30
    for name, value in expected["weights"].items():
        assert (tensors["weights"][name] - value).abs().max() < 1e-5, name
    for status, said in finish(start("go_on_further", tmp_path, count=4)):
        assert status == 0, said
    train(*stopping(33), tmp_path / "whole", say=print)
    again, longer = (train(*stopping(36), tmp_path / name, say=print) for name in ("run", "whole"))
    assert max(record["step"] for record in again.read_log()) == 36
    losses = [[record["loss"] for record in folder.read_log() if "loss" in record] for folder in (again, longer)]
    assert np.allclose(*losses, rtol=1e-4)
