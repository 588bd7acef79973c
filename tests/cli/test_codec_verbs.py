"""`compress` and `decompress` on the command line."""

import shutil

import numpy as np
import pytest
from PIL import Image

from lowerbound.cli.main import run


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Sixty digits in a wider type than they were trained in."""
    from lowerbound.data import open_dataset

    file = tmp_path_factory.mktemp("few") / "few.npy"
    np.save(file, open_dataset("digits").examples[:60, 0].astype(np.int16))
    return file


@pytest.fixture(scope="module")
def compressed(trained, few, tmp_path_factory):
    """The digits compressed by a run, and what was printed."""
    file = tmp_path_factory.mktemp("compressed") / "few.lb"
    assert run(["compress", str(trained), str(few), "-o", str(file), "--num-steps", "3", "--batch-size", "4"]) == 0
    return file


def test_data_come_back_in_their_own_type_and_layout(compressed, few, tmp_path, capsys):
    for name in ("back.npy", "back.npz"):
        assert run(["decompress", str(compressed), "-o", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.startswith("60 examples: ")
    back, stored = np.load(tmp_path / "back.npy"), np.load(few)
    assert back.dtype == stored.dtype
    assert back.shape == stored.shape
    assert (back == stored).all()
    assert (np.load(tmp_path / "back.npz")["x"] == stored).all()
    assert run(["decompress", str(compressed), "-o", str(tmp_path / "pictures")]) == 0
    assert len([*(tmp_path / "pictures").iterdir()]) == 60


def test_what_the_file_takes_is_told_beside_the_bound(trained, few, tmp_path, capsys):
    out = tmp_path / "few.lb"
    given = [str(trained), str(few), "-o", str(out)]
    assert run(["compress", *given, "--num-steps", "3", "--batch-size", "4"]) == 0
    printed = capsys.readouterr().out
    on_disk, bound, plain, size = printed.splitlines()
    assert float(on_disk.split()[0]) == pytest.approx(8 * out.stat().st_size / np.load(few).size, rel=1e-3)
    assert "bits/dim on disk" in on_disk
    assert "the header's" in on_disk
    assert "bound (3 steps" in bound
    assert plain.startswith("the first ")
    assert "of 60 examples are kept by LZMA" in plain
    assert size == f"60 examples in {out.stat().st_size:,} bytes: {out}"
    np.save(tmp_path / "one.npy", np.load(few)[:1])
    assert run(["compress", str(trained), str(tmp_path / "one.npy"), "-o", str(out), "--num-steps", "3"]) == 0
    assert "all examples are kept by LZMA, without the model" in capsys.readouterr().out


def test_a_picture_that_is_resized_or_laid_upon_a_background_to_be_coded_is_said_to_be(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        grey = rng.integers(0, 256, (9, 12), dtype=np.uint8)
        glass = Image.merge("LA", (Image.fromarray(grey), Image.new("L", (12, 9), 128)))
        glass.save(tmp_path / "pictures" / f"{number}.png")
    out, one = str(tmp_path / "run"), str(tmp_path / "pictures" / "3.png")
    assert (
        run(
            [
                "train",
                str(tmp_path / "pictures"),
                "--image-size",
                "8",
                "8",
                "--background",
                "white",
                "--steps",
                "1",
                "--out",
                out,
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert run(["compress", out, one, "-o", str(tmp_path / "one.lb"), "--num-steps", "2"]) == 0
    said = capsys.readouterr().out
    assert "images cut or resized to 8 x 8, as the run's were, and not the files" in said
    assert "has no transparent pixels: they are laid upon white" in said
    assert run(["decompress", str(tmp_path / "one.lb"), "-o", str(tmp_path / "one.npy")]) == 0
    assert np.load(tmp_path / "one.npy").shape == (1, 8, 8)


def test_a_run_that_has_moved_is_given(compressed, trained, trained_moons, tmp_path, monkeypatch, capsys):
    out = tmp_path / "back.npy"
    elsewhere = shutil.copytree(trained, tmp_path / "elsewhere")
    assert run(["decompress", str(compressed), "-o", str(out), "--run", str(elsewhere)]) == 0
    assert run(["decompress", str(compressed), "-o", str(tmp_path / "b.npy"), "--run", str(tmp_path / "no")]) == 2
    assert "which is not there: give its folder by --run" in capsys.readouterr().err
    assert run(["decompress", str(compressed), "-o", str(tmp_path / "b.npy"), "--run", str(trained_moons)]) == 2
    assert "were compressed by another model" in capsys.readouterr().err
    (elsewhere / "config.json").write_text((elsewhere / "config.json").read_text().replace('"seed": 0', '"seed": 1'))
    assert run(["decompress", str(compressed), "-o", str(tmp_path / "b.npy"), "--run", str(elsewhere)]) == 2
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compress", "RUN", "digits", "-o", "x.zip"], "give a name that ends in .lb"),
        (["compress", "RUN", "digits", "-o", "no/x.lb"], "the folder no does not exist"),
        (["compress", "RUN", "digits", "-o", "x.lb", "--num-steps", "0"], "--num-steps"),
        (["compress", "RUN", "moons", "-o", "x.lb"], "takes examples of shape (1, 8, 8)"),
        (["compress", "MOONS", "moons", "-o", "x.lb"], "a density has no code of finite length"),
        (["decompress", "no.lb", "-o", "x.npy"], "no.lb"),
        (["decompress", "FEW", "-o", "x.npy"], "is no compressed data set"),
        (["decompress", "FILE", "-o", "x.png"], "give a name in .npy, .npz, or a folder"),
        (["decompress", "CHANGED", "-o", "x.npy"], "is damaged"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    arguments, message, trained, trained_moons, compressed, few, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    changed = tmp_path / "changed.lb"
    changed.write_bytes(compressed.read_bytes()[:-1] + b"?")
    names = {"RUN": trained, "MOONS": trained_moons, "FEW": few, "FILE": compressed, "CHANGED": changed}
    assert run([str(names.get(argument, argument)) for argument in arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["changed.lb"]


def test_without_the_library_it_says_what_to_install(trained, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    assert run(["compress", str(trained), "digits", "-o", str(tmp_path / "x.lb"), "--num-steps", "2"]) == 2
    assert "pip install 'lowerbound[codec]'" in capsys.readouterr().err
