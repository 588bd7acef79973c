"""Whatever has a log density, made one kind of thing."""

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.blocks import Choice, Real
from lowerbound.data.parts import numbers_of_content
from lowerbound.errors import InputError
from lowerbound.gradient import values_and_gradient
from lowerbound.models import Effort
from lowerbound.run import Run
from lowerbound.run.generate import generate
from lowerbound.samplers.flow import ProbabilityFlow
from lowerbound.sampling.plan import make_plan
from lowerbound.scoring import Flow, score, score_density

EXACT_DIMS = 64
"""Up to which the trace of a run's flow is exact: the error of random probes would weigh the draws of a proposal."""
NUM_PROBES = 16
"""Of one of more dimensions, by whose spread its error is known."""
MOST_STATES = 1 << 16
"""Of discrete data, over which a mass is summed."""
BOUND_DRAWS, MOST_DRAWS = 16, 256
"""Network calls for the bound of a point, and for that of one of few states."""
CALLS = 1 << 20
"""For the bounds of all states, about."""

Points = Float[np.ndarray, "num_points num_dims"]
Figures = Float[np.ndarray, " num_points"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A density on vectors of D numbers.

    Arguments:
        name: what it is called.
        log_prob: nats of each of N points, (N, D) float64, and their standard errors, or None where it states none.
        sample: N draws from a seed, (N, D); None of a density that cannot be drawn from.
        gradient: the slope of log_prob, (N, D); None where there is none.
        score: the slope as the subject itself says it is; None where it says nothing.
        bound: what is on average over samples of the density no larger than log_prob, nats, (N,); None where there is none.
        refinement: log_prob, the same computed more finely and by the same random draws, and the error that the first
            states, each (N,); None where no finer computation is known.
        support: of a mass, all points that it can be of, (M, D); None of a density, or where they are too many to be listed.
        values: of such a mass, all that each column can have; None otherwise.
        is_bound: whether log_prob is itself a bound, so that what it says sums to one at most.
        is_fixed: whether the random draws of a figure are the point's own, so that it is off by its error, and always by the
            same.
        is_dear: whether a log density takes so long that a grid of them is out of the question.
    """

    name: str
    log_prob: Callable[[Points], tuple[Figures, Figures | None]]
    sample: Callable[[int, int], Points] | None = None
    gradient: Callable[[Points], Points] | None = None
    score: Callable[[Points], Points] | None = None
    bound: Callable[[Points], Figures] | None = None
    refinement: Callable[[Points], tuple[Figures, Figures, Figures]] | None = None
    support: Points | None = None
    values: tuple[np.ndarray, ...] | None = None
    is_bound: bool = False
    is_fixed: bool = False
    is_dear: bool = False


def as_subject(
    model: Any,
    sample: Callable[[int], Any] | None = None,
    score: Callable[[Any], Any] | None = None,
    bound: Callable[[Any], Any] | None = None,
    finer: Callable[[Any], Any] | None = None,
) -> Subject:
    """A run, a distribution of torch, a flow of zuko, a posterior of sbi, a density of scikit-learn, or a function, as a
    `Subject`.

    Arguments:
        model: has `log_prob`, or `score_samples`, or is a function of points that returns log densities. Draws come from its
            `sample` if it has one.
        sample: draws so many points, of a function or instead of the model's own.
        score: the slope of the log density as the model has it, to be held against its log density.
        bound: a lower bound on the log density, or estimates of one, of each point.
        finer: the log density of each point, computed more finely: at a smaller tolerance, in more steps, in double
            precision.

    Raises:
        InputError: if it has no density, and is no mass that can be summed.
    """
    if isinstance(model, Subject):
        return model
    if isinstance(model, Run):
        subject = _of_run(model)
    elif hasattr(model, "score_samples"):
        subject = _of_estimator(model)
    elif hasattr(model, "log_prob"):
        subject = _of_distribution(model)
    elif isinstance(model, nn.Module) and hasattr(distribution := _called(model), "log_prob"):
        subject = _of_distribution(distribution, type(model).__name__)
    elif callable(model):
        subject = Subject(
            getattr(model, "__name__", type(model).__name__), lambda x: (as_figures(model(x), len(x)), None)
        )
    else:
        raise InputError(
            f"{type(model).__name__} has neither log_prob nor score_samples and is no function: there is no density to audit"
        )
    if sample is not None:
        subject = replace(subject, sample=lambda num, seed: seeded(lambda: as_points(sample(num), num), seed))
    if score is not None:
        subject = replace(subject, score=lambda x: as_points(score(torch.from_numpy(x)), len(x)))
    if bound is not None:
        subject = replace(subject, bound=lambda x: as_figures(bound(torch.from_numpy(x)), len(x)))
    if finer is not None:
        log_prob = subject.log_prob

        def refinement(x: Points) -> tuple[Figures, Figures, Figures]:
            values, errors = log_prob(x)
            finer_values = as_figures(finer(torch.from_numpy(x)), len(x))
            return values, finer_values, np.zeros(len(x)) if errors is None else errors

        subject = replace(subject, refinement=refinement)
    return subject


def _called(module: nn.Module) -> Any:
    """What a module returns without arguments, as zuko's flows do their distribution; None if it takes some."""
    try:
        return module()
    except TypeError:
        return None


def _of_distribution(distribution: Any, name: str = "") -> Subject:
    """Of what has `log_prob` of tensors and, perhaps, `sample`; in double precision where it takes that."""
    if batch := tuple(getattr(distribution, "batch_shape", ())):
        raise InputError(
            f"{type(distribution).__name__} is a batch of densities of the shape {batch}: make one of them, as by "
            "torch.distributions.Independent"
        )
    dtype = torch.float64 if _takes(distribution, torch.float64) else torch.float32
    event_shape = getattr(distribution, "event_shape", None)

    def tensor(x: Points) -> Tensor:
        points = torch.as_tensor(x, dtype=dtype)
        return points if event_shape is None else points.reshape(-1, *event_shape)

    def log_prob(x: Points) -> tuple[Figures, None]:
        with torch.no_grad():
            return as_figures(distribution.log_prob(tensor(x)), len(x)), None

    def gradient(x: Points) -> Points:
        # sbi's posteriors keep no graph unless they are asked to
        asked = {"track_gradients": True} if "track_gradients" in parameters(distribution.log_prob) else {}
        with torch.no_grad():
            _, slope = values_and_gradient(lambda points: distribution.log_prob(points, **asked), tensor(x))
        return as_points(slope)

    def sample(num: int, seed: int) -> Points:
        with torch.no_grad():
            return seeded(lambda: as_points(distribution.sample((num,)), num), seed)

    can_sample = hasattr(distribution, "sample")
    return Subject(name or type(distribution).__name__, log_prob, sample if can_sample else None, gradient)


def _takes(distribution: Any, dtype: torch.dtype) -> bool:
    """Whether it has a log density of points of this type."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            distribution.log_prob(distribution.sample((2,)).to(dtype))
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return False
    return True


def _of_estimator(estimator: Any) -> Subject:
    """Of scikit-learn's interface: `score_samples`, with the error of each if it knows it, and `sample`."""
    knows_error = "return_std" in parameters(estimator.score_samples)

    def log_prob(x: Points) -> tuple[Figures, Figures | None]:
        if not knows_error:
            return as_figures(estimator.score_samples(x), len(x)), None
        values, errors = estimator.score_samples(x, return_std=True)
        return as_figures(values, len(x)), as_figures(errors, len(x))

    def sample(num: int, seed: int) -> Points:
        if "random_state" in parameters(estimator.sample):
            drawn = estimator.sample(num, random_state=seed)
        else:
            other = copy.copy(estimator)
            if hasattr(other, "random_state"):  # with a number there a mixture of scikit-learn draws the same each time
                other.random_state = seed
            drawn = other.sample(num)
        return as_points(drawn[0] if isinstance(drawn, tuple) else drawn, num)

    return Subject(
        type(estimator).__name__,
        log_prob,
        (lambda num, seed: seeded(lambda: sample(num, seed), seed)) if hasattr(estimator, "sample") else None,
    )


def _of_run(run: Run) -> Subject:
    """Of a run: its exact density, of a denoiser that under its probability flow, in the units of its data, and samples of
    the same density; of discrete data its mass."""
    blocks = run.spec.blocks or ()
    if run.spec.num_levels is not None or not all(isinstance(block, Real) for block in blocks):
        return _of_mass(run)
    return _of_flow(run) if run.is_denoiser else _of_relative(run)


def _of_mass(run: Run) -> Subject:
    """Of a run of discrete data: its mass, or the bound on it; with all states if they can be listed."""
    spec = run.spec
    if spec.num_levels is not None:
        sizes = [spec.num_levels] * spec.num_dims
    else:
        sizes = [block.num_categories if isinstance(block, Choice) else 0 for block in spec.blocks or ()]
    if 0 in sizes:
        raise InputError(
            f"the data of the run in {run.folder.path} are categories or levels in some columns and real numbers in others: "
            "what it has is a mass of the ones times a density of the others, which is neither summed nor integrated here"
        )
    num_states = math.prod(sizes)
    num_draws = max(BOUND_DRAWS, min(MOST_DRAWS, CALLS // num_states))
    effort = run.model.completed(Effort(num_draws if run.is_denoiser else None))  # refuses what has no likelihood
    offset = spec.encoding.offset

    def log_prob(x: Points) -> tuple[Figures, Figures | None]:
        raw = _stored(run, x)
        # its noise is the point's own, wherever in a batch it stands
        scores = score(run, raw, effort, numbers=numbers_of_content(raw))
        errors = np.nan_to_num(scores.diffusion_error) * spec.num_dims * np.log(2)
        return scores.nats, errors if errors.any() else None

    def sample(num: int, seed: int) -> Points:
        return as_points(generate(run, num, seed=seed, batch_size=1024))

    is_bound = run.model.likelihood == "bound"
    subject = Subject(str(run.folder.path), log_prob, is_bound=is_bound, is_fixed=True, is_dear=True)
    if num_states > MOST_STATES:
        values = {size: np.arange(size) + float(offset) for size in sizes}
        return replace(subject, sample=sample, values=tuple(values[size] for size in sizes))
    support = np.stack(np.unravel_index(np.arange(num_states), sizes), 1).astype(np.float64) + offset
    return replace(subject, support=support)


def _of_relative(run: Run) -> Subject:
    """Of a run of a model that is no denoiser: its density is exact, or there is none to be asked."""
    if run.model.likelihood != "exact":
        reason = run.model.no_likelihood or "its likelihood is a bound, which integrates to less than one"
        raise InputError(
            f"the run in {run.folder.path} is a model of the kind {run.model.name} without a density: {reason}"
        )

    def log_prob(x: Points) -> tuple[Figures, None]:
        return score(run, _stored(run, x)).nats, None

    def sample(num: int, seed: int) -> Points:
        return as_points(generate(run, num, seed=seed, batch_size=1024))

    return Subject(str(run.folder.path), log_prob, sample)


def _of_flow(run: Run) -> Subject:
    """Of a run of a denoiser."""
    # over all levels, as the density goes: a grid of the visible ones starts from another base
    plan = make_plan(run.denoiser, sampler=ProbabilityFlow(tolerance=1e-3), grid_name="gamma")
    num_dims = run.spec.num_dims
    flow = Flow(tolerance=1e-3, num_probes=num_dims if num_dims <= EXACT_DIMS else NUM_PROBES)
    seeds = count()  # each time other probes, so that repeats show the errors that are stated of them

    def log_prob(x: Points) -> tuple[Figures, Figures | None]:
        scores = score_density(run, _stored(run, x), flow, seed=next(seeds))
        errors = np.hypot(np.nan_to_num(scores.standard_error), scores.solver_error)
        return scores.nats, errors * num_dims * np.log(2)

    def sample(num: int, seed: int) -> Points:
        return as_points(generate(run, num, plan, seed=seed, batch_size=1024))

    def bound(x: Points) -> Figures:
        return score(run, _stored(run, x), Effort(BOUND_DRAWS)).nats

    def refinement(x: Points) -> tuple[Figures, Figures, Figures]:
        seed, exact = next(seeds), replace(run, model=copy.deepcopy(run.model).double())
        as_is = score_density(run, _stored(run, x), flow, seed=seed)
        finer = score_density(exact, _stored(run, x), flow.finer, seed=seed)
        return as_is.nats, finer.nats, as_is.solver_error * num_dims * np.log(2)

    return Subject(str(run.folder.path), log_prob, sample, bound=bound, refinement=refinement, is_dear=True)


def _stored(run: Run, x: Points) -> np.ndarray:
    """Points as examples of a run's data."""
    return x.reshape(-1, *run.spec.raw_shape).astype(run.spec.encoding.dtype)


def seeded(draw: Callable[[], Points], seed: int) -> Points:
    """What is drawn after the random numbers of torch and numpy were set; they are left as they were."""
    # scikit-learn's densities draw from numpy's one state for all
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            return draw()
        finally:
            np.random.set_state(state)  # noqa: NPY002


def parameters(function: Callable[..., Any]) -> set[str]:
    """The names of a function's parameters."""
    return set(inspect.signature(function).parameters)


def as_array(values: Any) -> np.ndarray:
    """Values in double precision."""
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float64)


def as_points(values: Any, num: int | None = None) -> Points:
    """Values as points, (N, D); an InputError if there are none, or not as many as there should be."""
    array = as_array(values)
    if array.ndim < 1 or not len(array):
        raise InputError(f"points of the shape {array.shape}: (N, D) is wanted, N of at least one")
    if num is not None and len(array) != num:
        raise InputError(f"points of the shape {array.shape}, where {num:,} are wanted, (N, D)")
    return array.reshape(len(array), -1)


def as_figures(values: Any, num: int) -> Figures:
    """Values as log densities of so many points, (N,); an InputError if they are of another shape."""
    array = as_array(values)
    if array.shape != (num,):
        raise InputError(f"log densities of the shape {array.shape}: one number for each point is wanted, ({num},)")
    return array
