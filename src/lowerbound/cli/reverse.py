"""The reverse variance as an option of several verbs."""

from tqdm import tqdm

from lowerbound.analytic_variance import NUM_GAMMAS
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.reverse import ReverseVariance
from lowerbound.run import Run
from lowerbound.run.variance import with_analytic_variance


def check_reverse(reverse: ReverseVariance, num_steps: int | None) -> None:
    """Refuse a reverse variance where it has no effect, by an InputError."""
    if reverse != "lower" and num_steps is None:
        raise InputError(
            f"--reverse {reverse} without --num-steps: continuous time has but one reverse variance; give the number of "
            "the chain's steps"
        )


def with_variance(run: Run, kind: ReverseVariance, *, conditional: bool, dataset: Dataset | None = None) -> Run:
    """The run as the reverse variance needs it: for the analytic one, with what is measured once and then kept."""
    if kind != "analytic":
        return run
    with tqdm(total=NUM_GAMMAS, desc="reverse variance", unit="level", leave=False, disable=None) as bar:
        return with_analytic_variance(run, conditional=conditional, dataset=dataset, say=bar.write, progress=bar.update)
