"""The page: its panels, and the application that a server shows."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from lowerbound.web.framework import gradio
from lowerbound.web.guard import LOOPBACK, Guard
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf
from lowerbound.web.show import with_messages
from lowerbound.web.trainings import Trainings

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
    from lowerbound.web.draw import DrawPanel
    from lowerbound.web.edit import EditPanel
    from lowerbound.web.learn import LearnPanel
    from lowerbound.web.likelihood import LikelihoodPanel
    from lowerbound.web.run import RunPanel
    from lowerbound.web.train import TrainPanel

    with gradio.Blocks(title="lowerbound studio", analytics_enabled=False, delete_cache=(600, 600)) as blocks:
        gradio.HTML('<h1 class="studio-title">lowerbound studio</h1>')
        run = gradio.Dropdown(shelf.names(), value=shelf.first.name, label="Run", elem_id="run")
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
                train_tab.select(with_messages(training.on_show), None, training.shown, **PRIVATE)
            with gradio.Tab("Run", id="run") as run_tab:
                showing = RunPanel(shelf, run)

        def on_load(request: gradio.Request) -> list[Any]:
            return drawing.on_load(dict(request.query_params))

        blocks.load(on_load, None, drawing.loaded, **PRIVATE)
        blocks.load(None, None, None, js=LANGUAGE)
        edit_tab.select(with_messages(editing.on_show), editing.chosen, editing.shown, **PRIVATE)
        learn_tab.select(with_messages(learning.on_show), learning.schedule_inputs, learning.shown, **PRIVATE)
        run_tab.select(with_messages(showing.on_show), run, showing.shown, **PRIVATE)
        run.change(with_messages(showing.on_show), run, showing.shown, **PRIVATE)
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
    from fastapi import FastAPI

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
