"""An evaluation on a console: what each part will cost, what it found, and what it all says."""

from collections.abc import Sequence

from lowerbound.evaluate.evaluation import Begun, Done
from lowerbound.evaluate.folder import Evaluation, Outcome
from lowerbound.evaluate.part import Cost
from lowerbound.report.headline import findings, headline
from lowerbound.report.parts import description
from lowerbound.words.counts import duration


def event_text(event: Begun | Done) -> str:
    """What is printed of a part as it begins, and as it is there."""
    if isinstance(event, Begun):
        part = event.part
        return f"{part.title}:" if part.missing else f"{part.title}: {cost_text(part.cost, event.seconds)}"
    if event.seconds is None:
        return f"{event.outcome.title}: kept from before\n{_outcome_text(event.outcome)}"
    return _outcome_text(event.outcome, f"done in {duration(event.seconds)}")


def summary(evaluation: Evaluation) -> str:
    """The headline, and what the figures say."""
    return "\n\n".join(filter(None, [headline(evaluation), "\n".join(f"- {each}" for each in findings(evaluation))]))


def cost_text(cost: Cost, seconds: float | None) -> str:
    """What a part will cost, and about how long it will take where that is known."""
    if seconds is None:
        return cost.work
    return f"{cost.work}, {'at least' if cost.at_least else 'about'} {duration(seconds)}"


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first and the last column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *inner, last in table:
        cells = (cell.rjust(width) for cell, width in zip(inner, widths[1:-1], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return lines


def _outcome_text(outcome: Outcome, done: str = "") -> str:
    """The figures of a part, or what they say where they are no table, and a line about them."""
    if outcome.figures is None:
        return f"  left out: {outcome.missing}\n"
    content = description(outcome.figures)
    lines = [line for table in content.tables for line in aligned([table.header, *table.rows])]
    lines = lines or [f"- {finding}" for finding in content.findings]
    if remark := "; ".join(text for text in (content.remark, done) if text):
        lines.append(remark)
    return "\n".join([*(f"  {line}" for line in lines), ""])
