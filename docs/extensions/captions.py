"""A picture that stands alone has its words below it: what a page says of it for those who can't see it, all may read."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Captions(SphinxTransform):
    """Makes a figure of each paragraph that is nothing but a picture, or a link that is one."""

    default_priority = 500

    def apply(self, **_) -> None:
        titles = [title.astext() for title in self.document.findall(nodes.title)]
        for paragraph in list(self.document.findall(nodes.paragraph)):
            picture = alone(paragraph)
            if picture is not None and (words := picture.get("alt")) and words not in titles[:1]:
                figure = nodes.figure("", paragraph[0], nodes.caption(words, words))
                paragraph.replace_self(figure)


def alone(node: nodes.Element) -> nodes.image | None:
    """The picture that is all there is of a paragraph or a link; None if there is more or less."""
    if len(node.children) != 1:
        return None
    (child,) = node.children
    if isinstance(child, nodes.image):
        return child
    return alone(child) if isinstance(child, nodes.reference) or type(child).__name__ == "pending_xref" else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Captions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
