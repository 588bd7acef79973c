"""The adapters in their libraries, each beside what those have of their own: python benchmarks/adapters.py

- sbi: neural posterior estimation on two moons (Greenberg et al. 2019): a classifier two-sample test (C2ST) between draws
  and the exact posterior, 0.5 if none can tell them apart; beside sbi's own neural spline flow on the same simulations.
- PyOD: the area under the curve on three sets that PyOD generates and on three of ours, which are harder, beside isolation
  forest and ECOD.

Each part is left out, with a line, where its library is not installed (pip install 'lowerbound[adapters]').
"""

import argparse
import importlib
import importlib.util
import warnings

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from lowerbound import DiffusionDensity

OBSERVED = torch.tensor([[0.0, 0.0]])
"""Of two moons: its posterior has two of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2000, help="of each detector's training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--libraries", nargs="*", default=list(PARTS), choices=list(PARTS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # the tensors are small
    for library in arguments.libraries:
        part = PARTS[library]
        if importlib.util.find_spec(library) is None:
            print(f"{library} is not installed")
        else:
            part(arguments)


def two_moons(arguments: argparse.Namespace) -> None:
    """C2ST of both estimators."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    density_estimator = importlib.import_module("lowerbound.adapters.sbi").density_estimator
    torch.manual_seed(arguments.seed)
    prior = BoxUniform(-torch.ones(2), torch.ones(2))
    theta = prior.sample((arguments.simulations,))
    x = simulate(theta)
    exact = posterior_draws(1000)
    print(f"two moons, {arguments.simulations} simulations, up to {arguments.epochs} epochs")
    for name, estimator in (("diffusion", density_estimator()), ("spline flow", "nsf")):
        trainer = NPE(prior, density_estimator=estimator, show_progress_bars=False).append_simulations(theta, x)
        trained = trainer.train(max_num_epochs=arguments.epochs)
        drawn = trainer.build_posterior(trained).sample((1000,), x=OBSERVED, show_progress_bars=False)
        print(f"  {name:<12} C2ST {c2st(drawn.numpy(), exact.numpy()):.3f}", flush=True)


def simulate(theta: torch.Tensor) -> torch.Tensor:
    """Two moons: a crescent, moved by the parameters."""
    angle = np.pi * (torch.rand(len(theta)) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(len(theta))
    crescent = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], 1)
    return crescent + moved(theta)


def moved(theta: torch.Tensor) -> torch.Tensor:
    return torch.stack([-(theta.sum(1)).abs(), theta[:, 1] - theta[:, 0]], 1) / 2**0.5


def posterior_draws(num: int) -> torch.Tensor:
    """Exact draws given `OBSERVED`: what moves a point of the crescent there, within the prior."""
    found = []
    while sum(map(len, found)) < num:
        crescent = simulate(torch.zeros(num, 2))
        first, second = ((OBSERVED - crescent) * 2**0.5).unbind(1)
        total = -first * torch.where(torch.rand(num) < 0.5, 1.0, -1.0)
        theta = torch.stack([total - second, total + second], 1) / 2
        found.append(theta[(first <= 0) & (theta.abs() <= 1).all(1)])
    return torch.cat(found)[:num]


def c2st(first: np.ndarray, second: np.ndarray) -> float:
    """How often a classifier tells the two apart, by cross-validation."""
    rows = StandardScaler().fit_transform(np.concatenate([first, second]))
    labels = np.repeat([0, 1], [len(first), len(second)])
    order = np.random.default_rng(0).permutation(len(rows))
    classifier = MLPClassifier((50, 50), max_iter=300, random_state=0)
    return float(cross_val_score(classifier, rows[order], labels[order], cv=5).mean())


def detectors(arguments: argparse.Namespace) -> None:
    """AUC of the three detectors on each set, and its standard error (Hanley & McNeil 1982)."""
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest

    detector_class = importlib.import_module("lowerbound.adapters.pyod").DiffusionDetector
    for title, (rows, labels) in (theirs(arguments.seed) | ours(arguments.seed)).items():
        print(f"{title}: {len(rows)} rows of {rows.shape[1]} columns, {labels.sum()} outliers")
        estimator = DiffusionDensity(steps=arguments.steps, width=128, random_state=arguments.seed)
        for detector in (detector_class(estimator=estimator), IForest(random_state=0), ECOD()):
            auc = roc_auc_score(labels, detector.fit(rows).decision_scores_)
            error = auc_error(auc, int(labels.sum()), int((1 - labels).sum()))
            print(f"  {type(detector).__name__:<18} AUC {auc:.3f} ± {error:.3f}", flush=True)


def auc_error(auc: float, num_outliers: int, num_others: int) -> float:
    """The standard error of an AUC, as if scores were exponential."""
    of_outliers, of_others = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (num_outliers - 1) * (of_outliers - auc**2) + (num_others - 1) * (of_others - auc**2)
    return (max(variance, 0.0) / (num_outliers * num_others)) ** 0.5


def theirs(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """PyOD's own sets, a tenth of their rows outliers: a Gaussian among uniform noise, and clusters of two kinds."""
    from pyod.utils.data import generate_data, generate_data_clusters

    common = {"n_train": 1000, "n_test": 10, "contamination": 0.1, "random_state": seed}
    alike = generate_data_clusters(n_clusters=4, n_features=8, density="same", size="same", **common)
    different = generate_data_clusters(n_clusters=4, n_features=2, density="different", size="different", **common)
    sets = {
        "PyOD's generate_data": generate_data(n_features=5, behaviour="new", **common),
        "PyOD's clusters of one size": (alike[0], None, alike[2], None),
        "PyOD's clusters of several sizes": (different[0], None, different[2], None),
    }
    return {name: (rows, labels.astype(int)) for name, (rows, _, labels, _) in sets.items()}


def ours(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows, a tenth of them outliers, and which are."""
    rng = np.random.default_rng(seed)
    num, num_outliers = 1000, 100
    labels = np.repeat([0, 1], [num - num_outliers, num_outliers])
    angle = rng.uniform(0, 2 * np.pi, num)
    radius = np.where(labels, rng.uniform(0, 0.7, num), 1.0) + 0.05 * rng.normal(size=num)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    covariance = np.full((6, 6), 0.9) + 0.1 * np.eye(6)
    correlated = rng.multivariate_normal(np.zeros(6), covariance, num)
    correlated[labels == 1] = rng.normal(size=(num_outliers, 6))
    centres = rng.normal(size=(4, 8)) * 3
    clusters = centres[rng.integers(4, size=num)] + rng.normal(size=(num, 8)) * 0.5
    clusters[labels == 1] = rng.normal(size=(num_outliers, 8)) * 3
    return {
        "inside a ring": (ring, labels),
        "uncorrelated among correlated": (correlated, labels),
        "between clusters": (clusters, labels),
    }


PARTS = {"sbi": two_moons, "pyod": detectors}

if __name__ == "__main__":
    main()
