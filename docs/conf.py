"""How the lesson page is rendered, from the root of the clone:

    sphinx-build -W -n -c docs . docs/_build

Nothing on the rendered pages is loaded over a network: MathJax lies in _static.
"""

from pathlib import Path

from docutils import nodes

project = "DDPM Basics"
copyright = "the DDPM Basics authors, MIT licence"
extensions = ["sphinx_design", "sphinx_copybutton", "sphinx.ext.mathjax"]

root_doc = "README"
include_patterns = ["README.rst", "*/README.rst"]
exclude_patterns = ["data", "docs/_build", "**/.*"]

html_theme = "pydata_sphinx_theme"
LIVE = ["diffusion.js", "live.js", "live.css"]  # the live model, see live/build.py
html_static_path = ["_static", *(f"live/{name}" for name in LIVE)]
html_css_files = ["lesson.css", "live.css"]
# Small: what they load when a reader presses the button is in _static/live.
html_js_files = [
    (name, {"defer": "defer"})
    for name in ("live/manifest.js", "diffusion.js", "live.js")
]
templates_path = ["_templates"]
html_additional_pages = {"index": "index.html"}  # leads to README.html
# What the page offers for download lies beside it.
ROOT = Path(__file__).parent.parent
html_extra_path = [str(path) for path in sorted(ROOT.glob("*.py"))]
html_title = project
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

mathjax_path = "mathjax/tex-svg.js"  # MathJax 3.2.2, Apache-2.0, see its LICENSE
mathjax3_config = {
    "svg": {"fontCache": "global"},
    "options": {"enableMenu": False},
}
copybutton_exclude = ".linenos, .gp"


def lead_to_pages(app, doctree, docname):
    """Links that a code host follows to a README.rst lead to its page here."""
    for reference in doctree.findall(nodes.reference):
        uri = reference.get("refuri", "")
        if "://" not in uri and uri.endswith("README.rst"):
            reference["refuri"] = uri.removesuffix(".rst") + ".html"


def setup(app):
    app.connect("doctree-resolved", lead_to_pages)
