"""The page: its panels, and the server that shows it to one machine alone unless it is asked for more."""

import os
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lowerbound.errors import InputError
from lowerbound.web.framework import framework
from lowerbound.web.guard import Guard
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf
from lowerbound.web.show import told
from lowerbound.web.trainings import Trainings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_VISITORS = 100
"""Whose choices are remembered; those of the one who was longest away are forgotten for another's."""
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
"""How the page fills itself, which is nobody else's to call."""
LEGIBLE = {
    **dict.fromkeys(("body_text_color_subdued", "block_info_text_color", "input_placeholder_color"), "*neutral_500"),
    **dict.fromkeys(
        ("body_text_color_subdued_dark", "block_info_text_color_dark", "input_placeholder_color_dark"), "*neutral_400"
    ),
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
}
"""Colours whose contrast to what they stand on is at least 4.5."""
LANGUAGE = "() => { document.documentElement.lang = 'en'; }"


def page(shelf: Shelf, limits: Limits, trainings: Trainings | None = None) -> Any:
    """The page's components, to be served by `application`.

    Arguments:
        shelf: the runs.
        limits: of what may be asked for.
        trainings: that may be started; None: none, and there is no panel for them.

    Raises:
        InputError: if gradio is not there.
    """
    gradio = framework()
    from lowerbound.web.draw import DrawPanel
    from lowerbound.web.edit import EditPanel
    from lowerbound.web.learn import LearnPanel
    from lowerbound.web.likelihood import LikelihoodPanel
    from lowerbound.web.run import RunPanel
    from lowerbound.web.train import TrainPanel

    names = shelf.names()
    with gradio.Blocks(title="lowerbound studio", analytics_enabled=False, delete_cache=(600, 600)) as blocks:
        gradio.HTML('<h1 class="studio-title">lowerbound studio</h1>')
        run = gradio.Dropdown(names, value=names[0], label="Run", elem_id="run")
        with gradio.Tabs():
            with gradio.Tab("Draw", id="draw"):
                drawing = DrawPanel(shelf, limits, run)
            with gradio.Tab("Likelihood", id="likelihood"):
                LikelihoodPanel(shelf, limits, run)
            with gradio.Tab("Edit", id="edit") as edit_tab:
                editing = EditPanel(shelf, limits, run)
            with gradio.Tab("Learn", id="learn") as learn_tab:
                learning = LearnPanel(shelf, run)
            if trainings is not None:
                with gradio.Tab("Train", id="train") as train_tab:
                    training = TrainPanel(trainings, limits, run)
                train_tab.select(told(training.on_show), None, training.shown, **PRIVATE)
            with gradio.Tab("Run", id="run") as run_tab:
                showing = RunPanel(shelf, run)

        def on_load(request: gradio.Request) -> list[Any]:  # pyright: ignore[reportInvalidTypeForm]
            return drawing.on_load(dict(request.query_params))

        blocks.load(on_load, None, drawing.loaded, **PRIVATE)
        blocks.load(None, None, None, js=LANGUAGE)
        edit_tab.select(told(editing.on_show), editing.chosen, editing.shown, **PRIVATE)
        learn_tab.select(told(learning.on_show), learning.schedule_inputs, learning.shown, **PRIVATE)
        run_tab.select(told(showing.on_show), run, showing.shown, **PRIVATE)
        run.change(told(showing.on_show), run, showing.shown, **PRIVATE)
    blocks.state_session_capacity = MOST_VISITORS
    blocks.queue(max_size=limits.most_waiting, default_concurrency_limit=2)
    return blocks


def application(
    shelf: Shelf,
    limits: Limits,
    uploads: Path,
    hosts: tuple[str, ...] | None = LOOPBACK,
    trainings: Trainings | None = None,
) -> Guard:
    """The page as a server's application.

    Arguments:
        shelf: the runs.
        limits: of what may be asked for.
        uploads: an empty folder for what visitors upload.
        hosts: the names by which the page may be asked for; any if None.
        trainings: that may be started.

    Raises:
        InputError: if gradio is not there.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    gradio = framework()
    from fastapi import FastAPI  # pyright: ignore[reportMissingImports]

    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    theme = gradio.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=("ui-monospace", "Consolas", "monospace")
    ).set(**LEGIBLE)
    most_bytes = limits.most_megabytes << 20
    mounted = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        page(shelf, limits, trainings),
        path="/",
        theme=theme,
        css=files("lowerbound.web").joinpath("studio.css").read_text(),
        footer_links=[],
        max_file_size=most_bytes,
        show_error=False,
        ssr_mode=False,
        allowed_paths=[],
    )
    return Guard(mounted, uploads, most_bytes, hosts)


def serve(root: Path | str, limits: Limits, host: str, port: int | None, say: Callable[[str], object]) -> None:
    """Show the runs of a folder until it is stopped.

    Arguments:
        root: a run, or a folder of runs.
        limits: of what may be asked for.
        host: the address to listen at.
        port: the port; the first free one from 7860 on if None.
        say: told the page's address once it can be asked for.

    Raises:
        InputError: if there is no run, the address or the port cannot be had, or gradio is not there.
    """
    shelf = Shelf(root)
    framework()
    import uvicorn  # pyright: ignore[reportMissingImports]

    listening = _listen(host, port)
    with TemporaryDirectory(prefix="lowerbound-studio-") as uploads, listening:
        # who trains writes files: nobody from elsewhere does
        hosts, trainings = (LOOPBACK, Trainings(shelf, limits)) if host in LOOPBACK else (None, None)
        settings = uvicorn.Config(application(shelf, limits, Path(uploads), hosts, trainings), log_level="warning")
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{listening.getsockname()[1]}")
        try:
            uvicorn.Server(settings).run(sockets=[listening])
        finally:
            if trainings is not None:
                trainings.end()


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens, so that an address that is printed is there."""
    family, ports = socket.AF_INET6 if ":" in host else socket.AF_INET, range(7860, 7960) if port is None else (port,)
    for last in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, last))
            listening.listen(128)
        except (OSError, OverflowError) as error:
            listening.close()
            if last == ports[-1]:
                named = port or f"{ports[0]} to {last}"
                raise InputError(
                    f"cannot listen at {host}, port {named} ({error}): give another --host or --port"
                ) from error
        else:
            return listening
    raise AssertionError("a range of ports is not empty")
