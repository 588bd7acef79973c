"""The site: `make docs` builds it from these pages, without a network."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

from lowerbound.explore import page

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "lowerbound"
author = "the lowerbound authors"
copyright = "the lowerbound authors"
release = version = version_of("lowerbound")

extensions = ["myst_parser", "captions", "mathml", "scripts", "reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["*.py", "extensions"]  # those in questions are pages
root_doc = "index"
nitpicky = True

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "lowerbound"
html_math_renderer = "mathml"
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}


def point_outside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to files beside docs, which are no pages, become downloads."""
    up = "../" * (docname.count("/") + 1)
    source[0] = source[0].replace(f"]({up}", f"](path:{up}")


def add_explore(app: Sphinx, exception: Exception | None) -> None:
    """The page in which a density can be drawn, as it stands."""
    if exception is None:
        (Path(app.outdir) / "explore.html").write_text(page())


def setup(app: Sphinx) -> None:
    app.connect("source-read", point_outside)
    app.connect("build-finished", add_explore)
