"""How well planted copies are found, and what the audit says of runs: python benchmarks/copies.py [runs/digits ...]

Of digits, and of MNIST where LOWERBOUND_DATA has it, training examples are disguised with increasing strength and told from
held-out examples by their distance to the nearest training example, by that distance relative to the 3rd nearest, and by the
latter in the features of a classifier of the data: the area under the curve, with its standard error. Two disguises are no
copies and should not be told from held-out data: means of the five training examples nearest to a held-out one, which vary
less than data do, and held-out examples themselves. Runs are sampled and audited.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lowerbound import Dataset, InputError, generate, open_dataset, open_run
from lowerbound.data import Levels
from lowerbound.evaluate.copies import audit
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.nearest import nearest
from lowerbound.report.distances import tell_copies

NUM_PLANTED = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help="run folders, to be sampled and audited")
    parser.add_argument("--data", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--num-train", type=int, default=5000, help="training examples, at most")
    parser.add_argument("--num-samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.data:
        try:
            dataset = open_dataset(name)
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        detection(dataset, arguments.num_train, arguments.seed)
    for path in arguments.runs:
        run = open_run(path)
        dataset = run.open_dataset()
        held_out = np.concatenate([dataset.test, dataset.validation])
        samples = (dataset.spec.encoding.encode(generate(run, arguments.num_samples, seed=arguments.seed)),)
        found = audit(*samples, dataset.encoded(held_out), dataset.encoded(dataset.train))
        print(f"\n{path}")
        said = tell_copies(found)
        for row in (said.tables[0].header, *said.tables[0].rows):
            print("{:<54} {:>38} {:>24}".format(*row))
        print("\n".join(map(str, said.findings)))


def detection(dataset: Dataset, num_train: int, seed: int) -> None:
    """A table of disguises."""
    rng = np.random.default_rng(seed)
    train = dataset.examples[rng.permutation(dataset.train)[:num_train]]
    others = dataset.examples[rng.permutation(np.concatenate([dataset.test, dataset.validation]))]
    held_out, fresh = np.array_split(others[: 2 * NUM_PLANTED], 2)
    with TemporaryDirectory() as folder:
        space = feature_space(dataset, feature_classifier(dataset, Path(folder)))
    planted = disguises(train, fresh, dataset, rng)
    print(f"\n{dataset.spec.name}: {len(train)} training and {len(held_out)} held-out examples; {space}")
    print(f"{'planted':<36} {'distance':>16} {'relative':>16} {'of features':>16}")
    for name, values in planted.items():
        encoded = [dataset.spec.encoding.encode(each) for each in (values, held_out, train)]
        found = audit(*encoded)
        ranks = (found.nearer, found.relative, audit(*encoded, features=space).relative)
        print(f"{name:<36} " + " ".join(f"{each.auc:>8.3f} ± {each.error:.3f}" for each in ranks), flush=True)


def disguises(
    train: np.ndarray, fresh: np.ndarray, dataset: Dataset, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Disguised training examples, and examples that are no copies, by what they are."""
    encoding = dataset.spec.encoding
    assert isinstance(encoding, Levels)
    low, high = encoding.offset, encoding.offset + encoding.num_levels - 1
    base, other = (train[rng.permutation(len(train))[:NUM_PLANTED]].astype(np.float64) for _ in range(2))

    def stored(values: np.ndarray) -> np.ndarray:
        return np.clip(np.round(values), low, high).astype(train.dtype)

    planted = {"every value changed by a level or not": stored(base + rng.integers(-1, 2, base.shape))}
    for share in (0.05, 0.1, 0.15, 0.2):
        noise = share * encoding.num_levels * rng.standard_normal(base.shape)
        planted[f"noise of {share:.0%} of the range"] = stored(base + noise)
    planted["contrast of 80 %"] = stored(low + 0.8 * (base - low))
    planted["30 % of another one blended in"] = stored(0.7 * base + 0.3 * other)
    planted["shifted by a pixel"] = stored(np.roll(base, 1, -1))
    chosen = nearest(fresh.reshape(len(fresh), -1), train.reshape(len(train), -1), 5)[1]
    planted["no copies: means of five"] = stored(train[chosen].astype(np.float64).mean(1))
    planted["no copies: held-out examples"] = fresh
    return planted


if __name__ == "__main__":
    main()
