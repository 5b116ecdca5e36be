"""How Sphinx builds the site: `make docs`. What is not written in this folder is gathered by
`extensions/`: pages of other folders, the examples, the reference and the gallery."""

import sys
from pathlib import Path

import bounded

sys.path.insert(0, str(Path(__file__).parent))

project = "bounded"
version = release = bounded.__version__
author = copyright = "the maintainers of bounded"  # noqa: A001 - Sphinx names it so

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.docstrings",
    "extensions.pages",
]
exclude_patterns = ["_build", "conf.py", "extensions", "generated/gallery.md"]
suppress_warnings = ["myst.header"]  # a level of headings left out

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # it names folders of this machine; tests raise the warnings

default_role = "py:obj"  # a docstring's `name` is a link where there is such a name, else code
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Returns", "returns_style")]
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "bounded"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_domain_indices = html_use_index = False
html_show_sourcelink = False
