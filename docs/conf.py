"""How Sphinx builds the site: `make docs`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).parent / "_extensions"))

project = "napari-cliper"
author = "napari-cliper contributors"
copyright = f"2026, {author}"
version = release = version_of("napari-cliper")

extensions = [
    "command_line",  # this and the next are ours, in _extensions
    "repository_links",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# Links such as page.md#a-title, as GitHub makes them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # else options lose one of their dashes

# Notebooks are run as the site is built, and a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True  # the notebook saves a file
nb_output_stderr = "remove"  # tqdm complains of ipywidgets

# `Names` in docstrings are links where there is something to link to.
default_role = "py:obj"
# The docstrings have the types of parameters; what a function returns is in its annotation.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_ignore_module_all = False
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
copybutton_exclude = ".linenos, .gp, .go"


def public(*event: Any) -> tuple[str, str] | None:
    """Leave fields that are nobody else's business out of a signature."""
    *_, signature, returns = event
    if not signature:
        return None
    kept = [one for one in signature[1:-1].split(", ") if not one.startswith("_")]
    return f"({', '.join(kept)})", returns


def with_dashes(_app: Sphinx, doctree: nodes.document) -> None:
    """Make a dash of the two hyphens that Sphinx puts behind a name or a type."""
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(" -- "):
            text.parent.replace(text, nodes.Text(text.replace(" -- ", " – ", 1)))


def setup(app: Sphinx) -> None:
    """Tell Sphinx of what is ours here."""
    app.connect("autodoc-process-signature", public)
    app.connect("doctree-read", with_dashes)
