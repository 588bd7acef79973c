"""What goes wrong in a file that is damaged, of whatever type, as an error that names the file."""

from collections.abc import Generator
from contextlib import contextmanager

from lowerbound.errors import InputError


@contextmanager
def undamaged(where: str = "it") -> Generator[None]:
    """Turn whatever goes wrong inside into an InputError that says where: damaged files raise errors of many types."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = f"is damaged or cut off: {(str(error).splitlines() or [type(error).__name__])[0]}"
        if any(words in str(error) for words in ("allow_pickle", "Object arrays", "Python objects")):
            reason = "holds Python objects, which are not read: store numbers of one type, for example float32"
        elif isinstance(error, MemoryError):
            reason = f"does not fit into memory: {error}"
        raise InputError(f"{where} {reason}") from error
