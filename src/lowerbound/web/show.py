"""What panels show: pictures and files inside the page itself, and a person's mistakes as messages.

Pictures and downloads are data in the page, so that the server writes no file for them and serves none.
"""

import base64
import functools
import inspect
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lowerbound.errors import InputError
from lowerbound.pictures import sample_grid
from lowerbound.web.framework import gradio
from lowerbound.web.shelf import Opened

KINDS = {
    ".png": "image/png",
    ".npy": "application/octet-stream",
    ".npz": "application/octet-stream",
    ".csv": "text/csv",
}


def drawn(draw: Callable[[Path], object]) -> bytes:
    """The PNG that a function of `pictures` writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        return path.read_bytes()


def picture(content: bytes, text: str) -> str:
    """A PNG picture as HTML.

    Arguments:
        content: of the file.
        text: what is to be seen, for those who do not see it; shown as a caption too.
    """
    data = base64.b64encode(content).decode()
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    wide = " studio-wide" if width > 2 * height else ""
    return (
        f'<figure class="studio-figure{wide}"><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def pictured(
    opened: Opened, examples: np.ndarray, text: str, columns: int | None = None, data: np.ndarray | None = None
) -> str:
    """Examples of a run's data (N, *shape), as stored, in a grid; vectors beside those of `data`."""
    spec = opened.run.spec
    look = {"data": data, "columns": columns, "names": spec.names}
    return picture(drawn(lambda path: sample_grid(path, examples, spec.encoding.value_range, **look)), text)


def side_by_side(*names: str) -> list[Any]:
    """Places for two pictures, one below the other where there is no room; components, with these names as identifiers."""
    with gradio.Row():
        columns = [gradio.Column(elem_id=name, min_width=260) for name in names or (None, None)]
    places = []
    for column in columns:
        with column:
            places.append(gradio.HTML())
    return places


def downloads(files: dict[str, bytes]) -> str:
    """Files to download, by their names, as links in HTML."""
    links = []
    for name, content in files.items():
        data = base64.b64encode(content).decode()
        kind = KINDS[Path(name).suffix]
        links.append(
            f'<a class="studio-file" download="{escape(name)}" href="data:{kind};base64,{data}">{escape(name)}</a>'
        )
    return f'<p class="studio-files">Download: {" ".join(links)}</p>'


def table(caption: str, header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of text."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="studio-scroll"><table class="studio-table"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def said(*sentences: str) -> str:
    """A paragraph that a screen reader says when it changes."""
    return f'<p class="studio-said" role="status">{escape(" ".join(sentences))}</p>'


def framed(page: str, title: str, height: str) -> str:
    """A whole page inside the page, which can reach nothing outside of itself."""
    return (
        f'<iframe class="studio-frame" title="{escape(title)}" sandbox="allow-scripts" style="height:{height}" '
        f'srcdoc="{escape(page)}"></iframe>'
    )


def plain(message: str) -> str:
    """An error's message without the paths of this machine."""
    return re.sub(r"(?<![\w.])~?/(?:[^\s/:,;'\"]+/)+", "", message)


def with_messages(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a panel, whose `InputError` becomes a message on the page."""
    if not inspect.isgeneratorfunction(function):
        return _with_messages()(function)

    @functools.wraps(function)
    def generator(*arguments: Any) -> Any:
        with _with_messages():
            yield from function(*arguments)

    return generator


@contextmanager
def _with_messages() -> Generator[None]:
    try:
        yield
    except InputError as error:
        raise gradio.Error(plain(str(error)), print_exception=False) from None


def computing(
    event: Callable[..., Any], function: Callable[..., Any], inputs: Any, outputs: Any, name: str = ""
) -> Any:
    """Let an event run a function of a panel that calls a model, one at a time for all visitors.

    Arguments:
        event: a component's, such as `button.click`.
        function: what it runs, `with_messages`.
        inputs, outputs: components.
        name: by which programs may ask for it too; private without.
    """
    known = {"api_name": name} if name else {"api_visibility": "private"}
    return event(with_messages(function), inputs, outputs, **known, concurrency_id="model", concurrency_limit=1)
