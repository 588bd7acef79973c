"""A run goes to the hub and comes back as it was; what the hub, or its library, does not do is said in a sentence.

The hub is a folder here, behind a fake of the three functions of its library that are used; where the real library is
installed, these are called as it declares them, its own refusals become sentences as well, and it sends a run to a server on
this machine, and fetches it from there.
"""

import base64
import fnmatch
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import ClassVar

import pytest
import torch

from lowerbound import open_run
from lowerbound.cli.main import run
from lowerbound.data import DataConfig, open_dataset
from lowerbound.files.weights import weights_file
from lowerbound.training.build import build_model
from lowerbound.training.folder import RunFolder
from lowerbound.training.recipes import recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small run, of what no training has moved."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "moons")
    folder.path.mkdir()
    dataset = open_dataset("moons")
    config = recipe(dataset, DataConfig("moons"))
    config = replace(config, network=replace(config.network, width=8), denoiser=replace(config.denoiser, components=0))
    folder.write_config(config, replace(dataset.spec, fingerprint=dataset.fingerprint()))
    weights = dict(build_model(config, dataset.spec).trained.named_parameters())
    figures = {"held_out_bits_per_dim": "1.25", "standard_error": "0.01"}
    folder.model.write_bytes(weights_file(weights, figures))
    return folder.path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that stands for the hub; beside each repository, whether it is private."""
    root = tmp_path / "hub"
    library = ModuleType("huggingface_hub")
    library.private = {}

    def create_repo(repo_id, *, private=None, exist_ok=False):
        assert exist_ok or repo_id not in library.private
        library.private.setdefault(repo_id, private)

    def upload_folder(*, repo_id, folder_path, revision=None, commit_message=None):
        if repo_id.startswith("others/"):
            raise PermissionError("403 Forbidden: you don't have the rights to write here\nand a second line")
        shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None, local_dir=None):
        if not (root / repo_id).is_dir() or revision == "none":
            raise ConnectionError(f"Couldn't reach {repo_id!r} on the Hub")
        for path in (root / repo_id).rglob("*"):
            if path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                copy = local_dir / path.relative_to(root / repo_id)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        return str(local_dir)

    for function in (create_repo, upload_folder, snapshot_download):
        setattr(library, function.__name__, function)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.chdir(tmp_path)
    root.mkdir()
    return root


@pytest.mark.parametrize("place", ["hf:me/moons", "hf://me/moons"])
def test_a_run_goes_to_the_hub_and_comes_back(hub, trained, place, capsys):
    assert run(["export", str(trained), "--as", "hub", "-o", place]) == 0
    assert "next: lowerbound import hf:" in capsys.readouterr().out
    assert sorted(path.name for path in (hub / "me/moons").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "1.250 ± 0.010 bits/dim of held-out data (an upper bound)" in (hub / "me/moons/README.md").read_text()
    assert sys.modules["huggingface_hub"].private == {"me/moons": True}
    (hub / "me/moons/program.py").write_text("raise SystemExit('it was run')")
    assert run(["import", place]) == 0
    assert "next: lowerbound sample runs/moons" in capsys.readouterr().out
    assert sorted(path.name for path in (hub.parent / "runs/moons").iterdir()) == ["config.json", "model.safetensors"]
    again, own = open_run("runs/moons"), open_run(trained)
    x_t = torch.randn(3, 2)
    assert torch.equal(again.denoiser(x_t, 0.3).x, own.denoiser(x_t, 0.3).x)
    assert again.metadata == own.metadata
    assert run(["export", str(trained), "--as", "hub", "-o", place]) == 0  # a second commit


@pytest.fixture
def diffusers():
    """The library, loaded with the hub's own before a fake takes the place of that."""
    library = pytest.importorskip("diffusers")
    _ = library.UNet2DModel, library.DDPMPipeline, library.DDPMScheduler
    return library


@pytest.mark.filterwarnings("ignore")  # of what diffusers makes of its own dependencies
def test_a_pipeline_on_the_hub_is_imported_and_sent_back(diffusers, hub):
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, **blocks
    )
    diffusers.DDPMPipeline(model, diffusers.DDPMScheduler(num_train_timesteps=20)).save_pretrained(hub / "me/ddpm")
    assert run(["import", "hf:me/ddpm@main", "-o", "first"]) == 0
    assert open_run("first").spec.name == "ddpm"
    assert run(["export", "first", "--as", "diffusers", "-o", "hf:me/again"]) == 0
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (hub / "me/again" / weights).stat().st_size > 10_000
    assert run(["import", "hf:me/again", "-o", "second"]) == 0
    x_t = torch.randn(2, 1, 8, 8)
    assert torch.equal(open_run("first").denoiser(x_t, 0.3).x, open_run("second").denoiser(x_t, 0.3).x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["import", "hf:me/none"],
            "hf:me/none cannot be fetched (ConnectionError: Couldn't reach 'me/none' on the Hub)",
        ),
        (["import", "hf:me/moons@none"], "hf:me/moons@none cannot be fetched (ConnectionError: "),
        (["import", "hf:moons"], "hf:moons is no repository of the hub: give hf:NAME/REPO"),
        (["import", "hf:me/moons", "--data", "moons"], "--data has no effect on hf:me/moons: it is a run"),
        (["import", "hf:me/moons", "-o", "hub"], "hub is there already and not an empty folder"),
        (["export", "RUN", "--as", "hub", "-o", "hf:me"], "hf:me is no repository of the hub: give hf:NAME/REPO"),
        (
            ["export", "RUN", "--as", "hub", "-o", "hf:others/x"],
            "hf:others/x does not take the files (PermissionError: 403",
        ),
        (["sample", "hf:me/moons"], "no run in hf:me/moons: fetch it first, by `lowerbound import hf:me/moons`"),
        (["score", "hf:me/moons", "moons", "-o", "scores.csv"], "fetch it first, by `lowerbound import hf:me/moons`"),
    ],
)
def test_what_does_not_work_is_said(hub, trained, arguments, message, capsys):
    assert run(["export", str(trained), "--as", "hub", "-o", "hf:me/moons"]) == 0
    assert run([str(trained) if argument == "RUN" else argument for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "second line" not in error
    assert not (hub.parent / "runs").exists()


def test_a_damaged_run_is_no_run_here(hub, trained, capsys):
    assert run(["export", str(trained), "--as", "hub", "-o", "hf:me/moons"]) == 0
    weights = hub / "me/moons/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert run(["import", "hf:me/moons"]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not (hub.parent / "runs/moons").exists()


@pytest.mark.parametrize(
    "arguments", [["import", "hf:me/moons"], ["export", "RUN", "--as", "hub", "-o", "hf:me/moons"]]
)
def test_without_the_library_it_is_said(trained, arguments, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run([str(trained) if argument == "RUN" else argument for argument in arguments]) == 2
    assert "needs huggingface_hub, which is not installed: pip install 'lowerbound[hub]'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # of the library's own dependencies
def test_the_library_itself_has_these_functions_and_says_that_it_is_offline(trained, monkeypatch, tmp_path, capsys):
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    calls = {
        "create_repo": {"repo_id": "me/moons", "private": True, "exist_ok": True},
        "upload_folder": {"repo_id": "me/moons", "folder_path": "x", "revision": None, "commit_message": "x"},
        "snapshot_download": {"repo_id": "me/moons", "revision": None, "allow_patterns": ["*"], "local_dir": "x"},
    }
    for name, arguments in calls.items():
        inspect.signature(getattr(library, name)).bind(**arguments)
    assert run(["import", "hf:me/moons", "-o", str(tmp_path / "run")]) == 2
    assert "hf:me/moons cannot be fetched (" in capsys.readouterr().err
    assert run(["export", str(trained), "--as", "hub", "-o", "hf:me/moons"]) == 2
    assert "hf:me/moons does not take the files (" in capsys.readouterr().err
    assert run(["import", "hf:me/moons/../x", "-o", str(tmp_path / "run")]) == 2


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's HTTP that its library speaks to send files and to fetch them, of one revision."""

    files: ClassVar[dict[str, bytes]] = {}
    made: ClassVar[list[dict]] = []

    def answer(self, content: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            said: dict = {"url": f"http://{self.headers['Host']}/me/moons"}
        elif self.path.endswith("/preupload/main"):
            each = {"uploadMode": "regular", "shouldIgnore": False}
            said = {"files": [{"path": file["path"], **each} for file in json.loads(body)["files"]]}
        elif self.path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            said = {
                "success": True,
                "commitOid": "a" * 40,
                "commitUrl": f"http://{self.headers['Host']}/me/moons/commit/{'a' * 40}",
            }
        else:
            said = {}
        self.answer(json.dumps(said).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/resolve/" in path:
            content = self.files[path.partition("/resolve/")[2].partition("/")[2]]
            self.answer(content, X_Repo_Commit="a" * 40, ETag=f'"{hashlib.sha256(content).hexdigest()}"')
            return
        tree = [{"type": "file", "path": name, "size": len(each), "oid": "b" * 40} for name, each in self.files.items()]
        siblings = [{"rfilename": name} for name in self.files]
        facts = {"id": "me/moons", "modelId": "me/moons", "sha": "a" * 40, "private": True, "siblings": siblings}
        said = tree if "/tree/" in path else facts
        self.answer(json.dumps(said).encode(), Content_Type="application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_the_library_itself_sends_a_run_and_fetches_it(trained, tmp_path):
    """Over HTTP, to a server on this machine; in processes of their own, since the library reads its address but once."""
    pytest.importorskip("huggingface_hub")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path),
            "HF_TOKEN": "hf_x",
        }
        verbs = [["export", str(trained), "--as", "hub", "-o", "hf:me/moons"], ["import", "hf:me/moons", "-o", "again"]]
        for arguments in verbs:
            command = [sys.executable, "-m", "lowerbound", *arguments]
            done = subprocess.run(
                command, cwd=tmp_path, env=os.environ | address, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        server.shutdown()
    (made,) = Hub.made
    assert (made["name"], made["organization"]) == ("moons", "me")
    assert made.get("private") or made.get("visibility") == "private"  # as older and newer ones call it
    assert {"README.md", "config.json", "model.safetensors"} <= Hub.files.keys()
    x_t = torch.randn(3, 2)
    runs = [open_run(folder) for folder in (trained, tmp_path / "again")]
    assert torch.equal(*(each.denoiser(x_t, 0.3).x for each in runs))
