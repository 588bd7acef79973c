"""Numbers of things and times in words."""


def counted(number: float, noun: str) -> str:
    """A number of things: "1 example", "1,439 examples", "16.5 calls", "1 class", "3 entries".

    Arguments:
        number: how many, on average if it is not whole.
        noun: for one of them; of several words the last one is put into the plural.
    """
    shown = f"{int(number):,}" if number == int(number) else f"{number:.4g}"
    return f"{shown} {noun if number == 1 else _plural(noun)}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in a word or two."""
    if seconds < 1:
        return "a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _plural(noun: str) -> str:
    if noun.endswith("series"):
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
