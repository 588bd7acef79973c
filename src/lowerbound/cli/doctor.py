"""`lowerbound doctor`: what is installed here."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.data.directory import data_directory
from lowerbound.machine.processor import processor
from lowerbound.words.counts import counted

PACKAGES = ("lowerbound", "torch", "numpy", "safetensors", "tyro", "pillow", "matplotlib", "scikit-learn", "tqdm")


@dataclass(frozen=True)
class Options:
    """Print versions, devices and the data directory, to paste into a bug report.

    Example: lowerbound doctor
    """

    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    parse(Options, "doctor", arguments)
    facts = {"python": f"{sys.version.split()[0]} on {platform.platform()}"}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["processors"] = f"{os.cpu_count()} of {processor()}, torch uses {counted(torch.get_num_threads(), 'thread')}"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts["cuda"] = ", ".join(names) or "none"
    folder = data_directory()
    if folder.is_dir():
        content = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "empty"
    else:
        content = "not there; set LOWERBOUND_DATA to the folder that holds mnist.npz and the like"
    facts["data"] = f"{folder} ({content})"
    for name, fact in facts.items():
        print(f"{name:<13} {fact}")
    return facts
