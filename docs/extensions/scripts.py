"""A script that answers a question is a page: its docstring, the picture that it makes, and its code below."""

import ast
from pathlib import Path

from docutils import nodes
from myst_parser.sphinx_ import Parser
from sphinx.application import Sphinx

PAGE = """# {question}

{answer}
{picture}
## The script

```python
{code}
```
"""


class ScriptParser(Parser):
    """Reads Python as the Markdown of its docstring, followed by the code."""

    supported = ("script",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(as_markdown(inputstring, Path(document["source"])), document)


def as_markdown(source: str, path: Path) -> str:
    """The page of a script."""
    tree = ast.parse(source)
    question, _, answer = (ast.get_docstring(tree) or "").partition("\n\n")
    _, *statements = tree.body
    code = "\n".join(source.splitlines()[statements[0].lineno - 1 :])
    drawn = path.parent / "pictures" / f"{path.stem}.png"
    picture = f"\n![{question}](pictures/{drawn.name})\n" if drawn.exists() else ""
    return PAGE.format(question=question, answer=answer, picture=picture, code=code)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_source_suffix(".py", "script")
    app.add_source_parser(ScriptParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
