"""Which runs lie below a folder, by their names; nothing of them is opened, and no torch is needed for it."""

from pathlib import Path

from lowerbound.errors import InputError

DEPTH = 3
"""How far below the folder runs are looked for."""
CONFIG, MODEL = "config.json", "model.safetensors"
"""The files that a run has which can be shown."""


def is_single(root: Path) -> bool:
    """Whether it is a run itself that was given, and no folder that holds some."""
    return (root / CONFIG).is_file()


def find_runs(root: Path) -> dict[str, Path]:
    """Folders of runs that have a model, by their names; links lead out of the folder and are left aside."""
    if is_single(root) and (root / MODEL).is_file():
        return {root.resolve().name: root}
    folders, by_name = [root], {}
    for _ in range(DEPTH):
        folders = [
            below
            for folder in folders
            if folder.is_dir()
            for below in sorted(folder.iterdir())
            if below.is_dir() and not below.is_symlink() and not below.name.startswith(".")
        ]
        runs = [folder for folder in folders if (folder / CONFIG).is_file()]
        folders = [folder for folder in folders if folder not in runs]
        for folder in runs:
            if (model := folder / MODEL).is_file() and not model.is_symlink():
                by_name[folder.relative_to(root).as_posix()] = folder
    return by_name


def check_runs(root: Path) -> None:
    """Refuse a folder without a run that has a model, by an InputError."""
    if not find_runs(root):
        raise InputError(
            f"there is no trained run in {root}: give the folder of a run, or one that holds runs, such as "
            "`lowerbound train digits` makes"
        )
