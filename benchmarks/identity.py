"""Whether two checkouts give the same numbers: the same commands in both, and every weight, loss, sample and score compared.

    python benchmarks/identity.py ../before        # this checkout against another one, on the packages of this python
    python benchmarks/identity.py ../before --only sample

A change of the house must not change what comes out of it. Each checkout runs the same short commands of the command line in
one process of one thread; then every array is compared bit by bit: the tensors of model.safetensors (by their values, so
that a parameter may be renamed), the losses and held-out bits of log.jsonl, the arrays of samples and imputations and the
columns of scores. It is no test of `make test`, because the other side of the comparison is no part of a checkout.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from safetensors.numpy import load_file

from lowerbound.training.folder import CLOCKS

SMALL = "--steps 6 --batch-size 16 --num-evaluations 2 --num-pictures 1"
UNET = "--network.width 8 --network.multipliers 1 2"
MLP = "--network.width 32 --network.depth 2"
DIGITS = f"digits {SMALL} {UNET} -o"
ELBO = f"digits {SMALL} {UNET} --objective elbo -o"
MOONS = f"moons {SMALL} {MLP} -o"
CHAIN = "--schedule.name cosine --schedule.num-steps 8 --denoiser.target eps --decoder.name discretized-gaussian"
OBJECTIVES = ("simple", "min-snr", "edm", "form-a", "form-b", "t-sample", "two-sample", "one-sample")
TEXTBOOK = ("textbook-t-sample", "textbook-two-sample", "textbook-one-sample")
RELATIVES = {
    "vae": "--model.width 8",
    "hierarchical-vae": "--model.width 8",
    "ladder-vae": "--model.width 8",
    "autoregressive": "--model.width 8",
    "flow": "--model.width 8",
    "gan": "--model.width 8",
}
SAMPLERS = {
    "ancestral": "--variance upper",
    "ddim": "--eta 0.5",
    "euler": "--churn 0.2",
    "heun": "",
    "dpm++": "",
    "dpm++sde": "",
    "unipc": "",
    "adams-bashforth": "--order 4",
    "predictor-corrector": "",
    "annealed-langevin": "--corrections 3",
    "flow": "",
}
COMMANDS = [
    f"train {ELBO} digits",
    f"train {ELBO} conditional --conditional --micro-batch-size 8",
    f"train {ELBO} importance --schedule.name linear-gamma --times importance",
    f"train {MOONS} moons",
    f"train {MOONS} score --model score",
    f"train {MOONS} energy --model energy",
    f"train {MOONS} energy-pcd --model energy --objective persistent-contrastive-divergence",
    f"train {MOONS} sliced --objective sliced",
    f"train {MOONS} hybrid --objective hybrid --denoiser.variance learned --schedule.num-steps 20 --optimizer muon",
    f"train {ELBO} learned-linear --schedule.name learned-linear",
    *(f"train {DIGITS} {each} {CHAIN} --objective {each}" for each in (*OBJECTIVES, *TEXTBOOK)),
    *(f"train digits {SMALL} --model {name} {settings} -o {name}" for name, settings in RELATIVES.items()),
    *(f"train moons {SMALL} --model {name} -o moons-{name}" for name in ("vae", "autoregressive", "flow", "gan")),
    "classifier conditional --steps 4 --width 8",
    "distill digits --steps 2 --updates 3 --out distilled --no-compare",
    *(f"sample digits -n 5 --steps 4 --sampler {name} {given} -o {name}.npy" for name, given in SAMPLERS.items()),
    *(f"sample digits -n 3 --steps 4 --grid {name} -o grid-{name}.npy" for name in ("time", "karras", "minimal-error")),
    "sample digits -n 5 --steps 4 --brownian -o brownian.npy",
    "sample digits -n 5 --steps 4 --variance analytic --sampler ancestral -o analytic.npy",
    "sample hybrid -n 5 --steps 4 --variance learned --sampler ancestral -o learned-variance.npy",
    "sample conditional -n 5 --steps 4 --label 3 --guidance 2 -o guided.npy",
    "sample conditional -n 5 --steps 4 --label 3 --guidance 2 --guidance-kind classifier -o by-classifier.npy",
    "sample distilled -n 5 -o distilled.npy",
    "sample energy -n 5 --steps 4 -o energy.npy",
    "sample score -n 5 --steps 4 -o score.npy",
    *(f"sample {name} -n 5 -o sampled-{name}.npy" for name in RELATIVES),
    "score digits digits --split test --num-times 2 -o digits.csv",
    "score digits digits --split test --num-steps 5 -o chain.csv",
    "score conditional digits --split test --num-times 2 -o conditional.csv",
    "score moons few.npy --ode -o flow.csv",
    "score digits few-digits.npy --ode --tolerance 0.1 -o discrete-flow.csv",
    *(f"score {name} digits --split test -o {name}.csv" for name in RELATIVES if name != "gan"),
    "score vae digits --split test --importance 3 -o importance.csv",
    *(
        f"impute digits few-digits.npy --mask mask.npy --num-samples 2 --steps 4 --method {name} -o {name}.npz"
        for name in ("replacement", "pigdm", "mmps", "particles")
    ),
    "edit digits digits --steps 4 --examples 0 3 --num-samples 2 -o variations.npy",
]
"""Every kind of model, objective, sampler and verb once, each as small as it can be."""
DRIVER = """
import sys, torch
torch.set_num_threads(1)
import lowerbound
print("from", lowerbound.__file__, flush=True)
from lowerbound.cli.main import run
for line in sys.stdin.read().splitlines():
    print(">", line, flush=True)
    try:
        print("exit", run(line.split()), flush=True)
    except SystemExit as stop:
        print("exit", stop.code, flush=True)
"""


@dataclass(frozen=True)
class Options:
    """Compare what two checkouts compute."""

    other: tyro.conf.Positional[Path]
    """The other checkout of this repository."""
    only: str = ""
    """Compare the files whose names have this in them."""


def main(options: Options) -> None:
    """Run both and print each difference; the exit status is their number, at most 100."""
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as place:
        both = [results(checkout, Path(place) / name) for checkout, name in ((options.other, "0"), (here, "1"))]
    before, after = ({name: each[name] for name in each if options.only in name} for each in both)
    different = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in different:
        missing = "" if name in before and name in after else f" (only {'here' if name in after else 'there'})"
        print(f"different: {name}{missing}")
    print(f"{len(before.keys() | after.keys())} files compared, {len(different)} differ")
    sys.exit(min(len(different), 100))


def results(checkout: Path, place: Path) -> dict[str, str]:
    """A hash of everything that is computed, by file."""
    source = (checkout / "src").resolve()
    if not (source / "lowerbound").is_dir():
        sys.exit(f"{checkout} is no checkout of this repository: there is no src/lowerbound in it")
    place.mkdir()
    rng = np.random.default_rng(0)
    np.save(place / "few.npy", rng.standard_normal((5, 2)).astype(np.float32))
    np.save(place / "few-digits.npy", rng.integers(0, 17, (3, 8, 8), dtype=np.uint8))
    np.save(place / "mask.npy", rng.random((8, 8)) < 0.5)
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": "1",
        "LOWERBOUND_DATA": str(place / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        check=False,
        input="\n".join(COMMANDS),
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    if not done.stdout.startswith(f"from {source}"):
        sys.exit(f"the package of {checkout} was not the one that ran: {(done.stdout or done.stderr)[:300]}")
    failed = [line for line in _outcomes(done.stdout) if not line.startswith("0")]
    print(f"{checkout}: {len(COMMANDS)} commands, {len(failed)} failed")
    if failed or done.returncode:
        print("\n".join([*failed, *(line for line in done.stderr.splitlines() if not line.startswith("note"))][-40:]))
    return {
        str(path.relative_to(place)): digest
        for path in sorted(place.rglob("*"))
        if path.is_file() and (digest := _digest(path)) is not None
    }


def _outcomes(printed: str) -> list[str]:
    """Of each command its exit status and itself."""
    lines = [line for line in printed.splitlines() if line.startswith(("> ", "exit "))]
    return [
        f"{status.removeprefix('exit ')} {command}" for command, status in zip(lines[::2], lines[1::2], strict=False)
    ]


def _digest(path: Path) -> str | None:
    """Of what a file holds of numbers; None of files that hold none, or are compared elsewhere."""
    if "checkpoints" in path.parts or "cache" in path.parts or path.stem.startswith("few") or path.stem == "mask":
        return None
    match path.suffix:
        case ".safetensors":
            return "\n".join(sorted(map(_of_array, load_file(path).values())))
        case ".npy":
            return _of_array(np.load(path))
        case ".npz":
            with np.load(path) as arrays:
                return "\n".join(f"{name} {_of_array(arrays[name])}" for name in sorted(arrays))
        case ".jsonl":
            records = [json.loads(line) for line in path.read_text().splitlines()]
            return repr([{name: value for name, value in each.items() if name not in CLOCKS} for each in records])
        case ".csv":
            with path.open() as file:
                return repr(list(csv.reader(file)))
        case _:
            return None


def _of_array(values: np.ndarray) -> str:
    return f"{values.dtype}{values.shape} {hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]}"


if __name__ == "__main__":
    main(tyro.cli(Options))
