"""Models on the Hugging Face hub, by its own library: hf:NAME/REPO is a place like a folder, to write to and to read."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowerbound.data.extras import extra
from lowerbound.data.source import HUB_PREFIX
from lowerbound.errors import InputError

READ = ("*.json", "*.safetensors", "*.bin", "*.pt", "*.pth")
"""Files of settings and of weights; nothing else of a repository is fetched."""


def is_on_hub(location: Path | str) -> bool:
    """Whether a place is one of the hub's."""
    return str(location).startswith(HUB_PREFIX)


def repository(location: Path | str) -> tuple[str, str | None]:
    """The repository of hf:NAME/REPO or hf:NAME/REPO@REVISION, and the revision if there is one.

    Raises:
        InputError: if the place names none.
    """
    # a path has lost one of the slashes that other programs write behind the colon
    name, _, revision = str(location).removeprefix(HUB_PREFIX).strip("/").partition("@")
    if name.count("/") != 1:
        raise InputError(f"{location} is no repository of the hub: give hf:NAME/REPO, such as hf:me/digits")
    return name, revision or None


@contextmanager
def fetched(location: Path | str) -> Generator[Path]:
    """The folder of a model: the place itself, or of one of the hub's a copy that lasts as long as it is looked at.

    Arguments:
        location: a folder, hf:NAME/REPO or hf:NAME/REPO@REVISION.

    Raises:
        InputError: if the extra `hub` is not installed, or the repository can't be had.
    """
    if not is_on_hub(location):
        yield Path(location).expanduser()
        return
    with _copy(location, "a model of the hub") as (library, name, revision, folder):
        with _explained(f"{location} cannot be fetched"):
            library.snapshot_download(name, revision=revision, allow_patterns=[*READ], local_dir=folder)
        yield folder


@contextmanager
def sent(location: Path | str) -> Generator[Path]:
    """A folder to write: the place itself, or one whose files become a commit of a repository once they are written.

    A repository that is not there yet is made, and is private: its owner may make it public on the hub.

    Arguments:
        location: a folder, or hf:NAME/REPO.

    Raises:
        InputError: if the extra `hub` is not installed, or the hub does not take them.
    """
    if not is_on_hub(location):
        yield Path(location).expanduser()
        return
    with _copy(location, "a model for the hub") as (library, name, revision, folder):
        yield folder
        with _explained(f"{location} does not take the files"):
            library.create_repo(name, private=True, exist_ok=True)
            library.upload_folder(
                repo_id=name, folder_path=folder, revision=revision, commit_message="Written by lowerbound export"
            )


@contextmanager
def _copy(location: Path | str, purpose: str) -> Generator[tuple[Any, str, str | None, Path]]:
    """The hub's library, a repository, its revision, and a folder for its files, which lasts as long as the context."""
    name, revision = repository(location)
    library = extra("huggingface_hub", "hub", purpose)
    with tempfile.TemporaryDirectory() as around:
        yield library, name, revision, Path(around) / name.rpartition("/")[2]


@contextmanager
def _explained(failure: str) -> Generator[None]:
    """Turn whatever the hub, its library or the network raise into an InputError."""
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise InputError(
            f"{failure} ({type(error).__name__}: {reason:.300}): give the name as the hub has it, with a network, and log "
            "in by `hf auth login` for what is private or your own"
        ) from error
