"""Does the model repeat its training data?

The same recipe is trained for equally many steps on all 1,439 training digits and on a hundred of them, and 300 samples of
each model are audited (`evaluate.copies`): how near they lie to their nearest training example, by itself and relative to
the 3rd nearest, beside held-out digits. A probability of 0.5 and as many suspects as expected clear a model.

The ordinary model does not: a sample is the nearer of two with probability 0.144 +- 0.014, relative to the 3rd nearest
0.279 +- 0.019, and none of 300 is a suspect where 2.5 would be by chance. That of a hundred digits does: 0.877 +- 0.013 (z =
16.7), 0.683 +- 0.021 (z = 8.1), and 11 suspects (p = 0.004).

    python docs/questions/does_it_copy.py [--quick]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lowerbound import generate, open_dataset, open_run, recipe, train
from lowerbound.evaluate.copies import CopyAudit, audit
from lowerbound.report.distances import tell_copies
from lowerbound.training.config import DataConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="hardly any training: only to see that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)  # the images are small
    num_steps, num_samples = (10, 40) if quick else (1000, 300)
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "hundred.npz"
        digits = open_dataset("digits")
        parts = {"train": digits.train[:100], "validation": digits.validation, "test": digits.test}
        np.savez(few, **{name: digits.examples[indices, 0] for name, indices in parts.items()})
        for name, data in (("all", DataConfig("digits")), ("a hundred", DataConfig(str(few), num_levels=17))):
            found = trained_and_audited(data, num_steps, num_samples, Path(folder) / name.replace(" ", ""))
            print(f"\nA model trained on {name} of the digits")
            said = tell_copies(found)
            table = [said.tables[0].header, *said.tables[0].rows]
            print("\n".join(f"  {what:<54} {mine:>38} {real:>24}" for what, mine, real in table))
            print("\n".join(f"  {finding}" for finding in said.findings))


def trained_and_audited(data: DataConfig, num_steps: int, num_samples: int, out: Path) -> CopyAudit:
    """Train on the data's training split, draw samples, and compare them with the training and the held-out examples."""
    dataset = open_dataset(data.source, num_levels=data.num_levels)
    config = recipe(dataset, data)
    # measured but once, at the end: the weights are the last, not those that were best on held-out data
    training = replace(config.training, minutes=None, steps=num_steps, num_evaluations=1, num_pictures=1)
    train(replace(config, training=training), dataset, out, say=lambda line: None, show_progress=False)
    samples = generate(open_run(out), num_samples)
    held_out = np.concatenate([dataset.validation, dataset.test])
    return audit(samples, dataset.examples[held_out], dataset.examples[dataset.train])


if __name__ == "__main__":
    main()
