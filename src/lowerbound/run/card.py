"""What a repository of models says of a run: its likelihood first, with its error, and whether it is a bound or exact."""

import shutil
from pathlib import Path

from lowerbound.files.records import Measured
from lowerbound.files.whole import new_folder
from lowerbound.run.exported import check_out
from lowerbound.run.opened import Run
from lowerbound.training.folder import RunFolder


def model_card(run: Run) -> str:
    """The README.md of a run's model, as the Hugging Face hub reads it: markdown after a head of YAML."""
    spec, metadata = run.spec, run.metadata
    likelihood = {"exact": "exact", "bound": "an upper bound", "none": "none"}[run.model.likelihood]
    figure = "not measured: `lowerbound evaluate` does"
    if "held_out_bits_per_dim" in metadata:
        bits = Measured(float(metadata["held_out_bits_per_dim"]), float(metadata.get("standard_error", "nan")))
        figure = f"{bits} bits/dim of held-out data ({likelihood})"
    elif run.model.likelihood == "none":
        figure = f"none: {run.model.no_likelihood}"
    source = run.config.imported
    lines = [
        "---",
        "library_name: lowerbound",
        "tags: [diffusion, likelihood]",
        "---",
        f"# {run.config.model.name} of {spec.name}",
        "",
        f"- Likelihood: {figure}.",
        f"- Data: {spec.name}, of shape {spec.shape}; {spec.encoding.description}.",
        f"- Parameters: {run.num_parameters:,}."
        + ("" if source is None else f" Imported from {source.family}, whose licence holds for them."),
        "",
        "```python",
        "import lowerbound as lb",
        "from huggingface_hub import snapshot_download",
        "",
        'run = lb.open_run(snapshot_download("the name of this repository"))',
        "```",
        "",
    ]
    return "\n".join(lines)


def export_hub(run: Run, out: Path | str) -> Path:
    """Write what a repository of the hub holds of a run: its configuration, its weights and the card.

    The folder is a run itself; it appears whole or not at all.

    Arguments:
        run: any.
        out: the folder, which is not there yet or empty.

    Raises:
        InputError: if it is.
    """
    out = Path(out)
    check_out(out)
    with new_folder(out) as unfinished:
        copy_model(run.folder, unfinished)
        (unfinished / "README.md").write_text(model_card(run), encoding="utf-8")
    return out


def copy_model(folder: RunFolder, out: Path) -> None:
    """Copy the files without which a run can't be opened into another folder, which is there."""
    for file in (folder.config, folder.model):
        shutil.copyfile(file, out / file.name)
