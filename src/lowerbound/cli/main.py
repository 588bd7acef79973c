"""`lowerbound VERB ...`: dispatches, and turns a user's mistakes into a line or two."""

import importlib
import os
import re
import signal
import sys
import warnings
from contextlib import suppress

from lowerbound.cli.figures import CheckFailedError, tell
from lowerbound.cli.flags import in_flags
from lowerbound.cli.terminal import fit_terminals, leave_quietly
from lowerbound.errors import InputError
from lowerbound.files.whole import is_full
from lowerbound.machine.heap import keep_freed_memory
from lowerbound.machine.interruption import stoppable
from lowerbound.words.nearest import nearest
from lowerbound.words.printable import NEW_LINE, printable, tolerate

VERBS = {
    "train": "train a model, or go on with a run",
    "sample": "draw samples from a run",
    "evaluate": "measure held-out bits/dim in three terms, and the quality of samples",
    "score": "compute one likelihood per example, as a table",
    "compress": "code discrete data by a run's model, without loss",
    "decompress": "write the data that a compressed file holds",
    "merge": "join a table that was made in parts",
    "classifier": "train a classifier of a run's data, to guide its samples",
    "distill": "train a copy of a run that draws samples in one to eight network calls",
    "impute": "fill in missing entries several times, with their mean and spread",
    "forecast": "draw what comes after a series, with bands and samples",
    "edit": "vary examples, interpolate between them, or take them to noise and back",
    "import": "make a run of a model that another library trained",
    "export": "write a run's model in files that other programs read",
    "compare": "train the whole family of models at an equal budget, and compare them in one table",
    "explore": "write a page in which you draw a density and watch the bound close on log p",
    "audit": "ask of a run's density whether it is one",
    "studio": "show runs as a page in the browser, to draw, score, edit and learn",
    "report": "write a run's evaluation as one self-contained HTML file",
    "runs": "list the runs in a folder, with how far each has come",
    "doctor": "print versions, devices and the data directory, for a bug report",
    "completion": "print a script by which a shell completes verbs and options",
}

TOGETHER = ("train", "sample", "evaluate", "distill", "classifier")
"""Verbs that several processes do together, each with its share."""
READING = ("explore", "studio", "runs", "doctor", "completion")
"""Verbs that each of several processes may do by itself: none spoils what another writes."""

USAGE = """usage: lowerbound VERB [arguments]

Diffusion models with their likelihood.

verbs:
{verbs}

example:
  lowerbound train digits --minutes 3
  lowerbound evaluate runs/digits

`lowerbound VERB --help` explains a verb, `--help-all` all of its options."""


def main() -> None:
    """Run the command line and exit.

    0 when it is done, 1 for a fault of this program, 2 for a mistake in what was given or a lack of memory or room, 3 where
    what was checked has failed, 128 and its number after a signal (130 for Ctrl-C, 141 where nobody reads on).
    """
    fit_terminals()
    keep_freed_memory()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit status of a command line."""
    try:
        try:
            return _run(arguments)
        finally:  # also of a help text, which ends the program
            sys.stdout.flush()
    except BrokenPipeError:
        return leave_quietly()


def _with_whole_names(message: str, arguments: list[str]) -> str:
    """A message in which names that were given end no line of it, as a file's may."""
    for argument in arguments:
        if NEW_LINE in argument:
            message = message.replace(argument, printable(argument))
    return message


def _run(arguments: list[str]) -> int:
    """The exit status of a command line; a BrokenPipeError where nobody reads its output to the end."""
    tolerate(sys.stdout)
    tolerate(sys.stderr)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {verb:<10} {purpose}" for verb, purpose in VERBS.items())))
        return 0 if arguments else 2
    verb, *verb_arguments = arguments
    if verb in ("--version", "version"):
        from importlib.metadata import version

        print(version("lowerbound"))
        return 0
    if refusal := _refusal(verb):
        if _speaks():
            print(f"error: {refusal}", file=sys.stderr)
        return 2
    warnings.showwarning = _show_warning
    module = None
    try:
        with stoppable():
            module = importlib.import_module(f"lowerbound.cli.{verb}")
            tell(module.main, verb_arguments)
    except BrokenPipeError:
        raise
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        message = _message(verb, error)
        if message is None or module is None or os.environ.get("LOWERBOUND_TRACEBACK"):
            raise
        if isinstance(error, InputError):
            message = in_flags(message, module.Options, verb_arguments)
        print(f"error: {printable(_with_whole_names(message, verb_arguments), keep=NEW_LINE)}", file=sys.stderr)
        return 2
    except CheckFailedError as error:
        print(f"failed: {printable(str(error), keep=NEW_LINE)}", file=sys.stderr)
        return 3
    except KeyboardInterrupt as stop:  # of which `Stopped` is one
        with suppress(OSError):  # the terminal may be gone
            if _speaks():
                print(stop if str(stop) else "interrupted", file=sys.stderr)
        return 128 + getattr(stop, "number", signal.SIGINT)
    return 0


def _refusal(verb: str) -> str | None:
    """Why a verb is not begun: there is none of this name, or several processes were started for what one does."""
    if verb not in VERBS:
        near = nearest(verb, VERBS)
        meant = f"; did you mean {near}? Choose" if near else ": choose"
        return f"no verb {verb!r}{meant} one of {', '.join(VERBS)}"
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if verb in TOGETHER + READING or count == 1:
        return None
    shares = "; --shard has it done in parts" if verb == "score" else ""
    return f"{verb} is done by one process, and WORLD_SIZE says that {count} were started: start it without torchrun{shares}"


def _speaks() -> bool:
    """Whether this process, of several that torchrun or `--processes` has started, says what all of them would."""
    return os.environ.get("RANK", "0") == "0"


def _message(verb: str, error: Exception) -> str | None:
    """What to print of an error that a user can do something about; None of a fault of ours."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if is_full(error):
            reason += ": make room and repeat the command; what was finished before is still there"
        return reason if error.filename is None else f"{error.filename}: {reason}"
    if isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _OUT_OF_MEMORY):
        return _out_of_memory(verb, str(error))
    return None


_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "STATUS_ALLOC_FAILED")
"""In torch's errors, which are of the type RuntimeError; the last in those of a CUDA device's libraries."""


def _out_of_memory(verb: str, message: str) -> str:
    """How much was asked for and how to need less."""
    size = ""
    if request := re.search(r"allocate (\d[\d.]*) ?(bytes|[KMGT]i?B)", message):
        number, unit = request.groups()
        amount = f"{int(float(number)) / 2**30:.3g} GiB" if unit == "bytes" else f"{number} {unit}"
        size = f": {amount} were asked for at once"
    smaller = {
        "train": "a smaller --micro-batch-size, which changes the result by rounding only",
        "compare": "a smaller --num-samples",
        "evaluate": "--quick, or a smaller --num-samples or --num-examples",
        "report": "fewer --num-samples to `lowerbound evaluate`",
        "classifier": "a smaller --width",
        "distill": "a run of a smaller --network.width or --batch-size",
    }.get(verb, "a smaller --batch-size, which changes nothing else")
    if "CUDA" in message or "CUBLAS" in message:
        return f"the device is out of memory{size}. Give {smaller}, or --device cpu"
    return (
        f"out of memory{size}. Give {smaller}, or let fewer threads work at a time by the environment variable "
        "OMP_NUM_THREADS=1"
    )


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {printable(str(message), keep=NEW_LINE)}", file=sys.stderr)
