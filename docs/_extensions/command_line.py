"""The directive `command-line`: all commands and options, as the program itself tells them."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from napari_cliper.cli import app


class CommandLine(SphinxDirective):
    """Put the reference of `napari-cliper` where it stands."""

    def run(self) -> list[nodes.Node]:
        """Read what the command line is made of."""
        command = get_command(app)
        text = get_docs_for_click(obj=command, ctx=Context(command), name="napari-cliper")
        _, _, below = text.partition("\n")  # the page has a title of its own
        node = nodes.Element()
        lines = StringList(below.splitlines(), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, node, match_titles=True)
        return node.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
