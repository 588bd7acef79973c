"""A picture that stands alone has its words below it: what a page says of it for those who can't see it, all may read."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Captions(SphinxTransform):
    """Makes a figure of each paragraph that is nothing but a picture."""

    default_priority = 500

    def apply(self, **_) -> None:
        titles = [title.astext() for title in self.document.findall(nodes.title)]
        for paragraph in list(self.document.findall(nodes.paragraph)):
            picture = alone(paragraph)
            if picture is not None and (words := picture.get("alt")) and words not in titles[:1]:
                figure = nodes.figure("", picture, nodes.caption(words, words))
                self.document.set_id(figure)
                paragraph.replace_self(figure)


def alone(paragraph: nodes.Element) -> nodes.image | None:
    """The picture that is all there is of a paragraph; None if there is more or less."""
    picture = paragraph[0] if len(paragraph) == 1 else None
    return picture if isinstance(picture, nodes.image) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Captions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
