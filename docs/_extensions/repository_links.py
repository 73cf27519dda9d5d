"""Links to files of the repository that are no pages: GitHub follows them, here they are text."""

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def as_text(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the words of such links; what leads nowhere at all is warned of as ever."""
    root = Path(app.srcdir).parent
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link["reftarget"].partition("#")[0]
        if link["reftype"] != "myst" or target in app.env.found_docs:
            continue
        if link["refdomain"] == "doc":  # such as ../README, from the folder of pages
            places = [Path(app.srcdir, f"{target}.md")]
        elif "/" in target or "." in target:  # from the page, or from the top if it was included
            places = [Path(app.srcdir, app.env.docname).parent / target, root / target]
        else:
            continue
        if any(place.exists() for place in places):
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.connect("doctree-read", as_text)
    return {"parallel_read_safe": True}
