"""Formulas as MathML, which browsers draw by themselves: a page asks nothing of the network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
SHORT_FRACTION = re.compile(r"\\([td]?frac)\s*(\w)\s*(\w)")
"""\\frac12, which TeX reads and docutils does not."""
OTHER_NAMES = {r"\textstyle": "", r"\dots": r"\ldots", r"\lvert": "|", r"\rvert": "|"}


def mathml(node: nodes.Element, block: bool) -> str:
    """The formula of a node, and a warning where it cannot be read."""
    tex = SHORT_FRACTION.sub(r"\\\1{\2}{\3}", node.astext())
    for theirs, ours in OTHER_NAMES.items():
        tex = tex.replace(theirs, ours)
    try:
        return tex2mathml(tex, as_block=block)
    except MathError as error:
        logger.warning("formula %r: %s", tex, error, location=node)
        return ""


def inline(visitor, node: nodes.math) -> None:
    visitor.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def display(visitor, node: nodes.math_block) -> None:
    visitor.body.append(f'<div class="formula" style="overflow: auto hidden">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
