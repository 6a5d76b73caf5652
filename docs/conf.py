"""How the lesson page is rendered, from the root of the clone:

    sphinx-build -W -n -c docs . docs/_build

Nothing on the rendered pages is loaded over a network: MathJax lies in _static. As an
extension of a larger course, this file brings there what the pages need (`setup`).
"""

import shutil
from pathlib import Path

from docutils import nodes
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# What the pages link to for download lies beside them.
DOWNLOADS = (
    "*.py",
    "from_scratch/*.ipynb",
    "notebooks/*.ipynb",
    "docs/github_actions.yml",
)
DOWNLOADS += ("checks/report.schema.json",)

project = "DDPM Basics"
copyright = "the DDPM Basics authors, MIT licence"
extensions = ["sphinx_design", "sphinx_copybutton", "sphinx.ext.mathjax"]

root_doc = "README"
include_patterns = ["*.rst", "*/README.rst", "docs/*.rst", "from_scratch/*.rst"]
exclude_patterns = ["data", "docs/_build", "**/.*"]

html_theme = "pydata_sphinx_theme"
html_css_files = ["lesson.css", "live.css", "lab.css"]
# The live model. What it loads at the press of its button lies in _static/live.
LIVE = [
    f"{name}.js"
    for name in ("diffusion", "steering", "engine", "pictures", "live", "steer")
]
html_static_path = ["_static", "live/live.css", *(f"live/{name}" for name in LIVE)]
SCRIPTS = ("live/manifest.js", *LIVE, "films.js", "quiz.js", "questions.js")
# The laboratory of the companion track, which learns in the page.
LAB = ["mlp.js", "process.js", "trainer.js", "lab.js"]
html_static_path += ["lab/lab.css", *(f"lab/{name}" for name in LAB)]
html_js_files = [(name, {"defer": ""}) for name in (*SCRIPTS, *LAB)]
templates_path = ["_templates"]
html_additional_pages = {"index": "index.html"}  # leads to README.html
html_title = project
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
html_sidebars = {"**": []}  # pages are few: their list stands above
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
    """Links that a code host follows to an .rst file lead to its page here."""
    for reference in doctree.findall(nodes.reference):
        page, sharp, place = reference.get("refuri", "").partition("#")
        if "://" not in page and page.endswith(".rst"):
            page = page.removesuffix(".rst") + ".html"
            reference["refuri"] = page + sharp + place


def copy_downloads(app, error):
    if not ROOT.is_relative_to(app.srcdir):
        return  # tests render a page of their own
    if error is None and app.builder.format == "html":
        for path in (path for names in DOWNLOADS for path in ROOT.glob(names)):
            copy = Path(app.outdir, path.relative_to(app.srcdir))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def prepare_images(app, doctree, docname):
    """All are fetched when they come into sight. On a phone NAME.narrow.png takes the
    place of NAME.png, and NAME.narrow.gif that of NAME.gif; other large ones may slide,
    those of many columns as wide as they need to be read."""
    if not Path(app.srcdir, docname).is_relative_to(ROOT):
        return  # a page of the course around ours
    for image in list(doctree.findall(nodes.image)):
        image["loading"] = "lazy"
        path = Path(app.srcdir, image["uri"])
        narrow = path.with_suffix(f".narrow{path.suffix}")
        width = image.get("width", "700").removesuffix("px")
        if narrow.exists():
            small = image.copy()
            small["uri"] = narrow.relative_to(app.srcdir).as_posix()
            small["candidates"] = {"*": small["uri"]}
            app.env.images.add_file(docname, small["uri"])
            both = {"on-screens": image.copy(), "on-phones": small}
            image.replace_self(
                [nodes.container("", x, classes=[name]) for name, x in both.items()]
            )
        elif width.isdigit() and int(width) > 600:
            with Image.open(path) as picture:
                classes = ["wide", "columns"] if picture.width > 1500 else ["wide"]
            image.replace_self(nodes.container("", image.copy(), classes=classes))


def write_stills(app, error):
    """The last frame of each animation beside it: films.js shows it when stopped."""
    for film in Path(app.outdir).rglob("*.gif"):
        with Image.open(film) as frames:
            frames.seek(frames.n_frames - 1)
            frames.convert("RGB").save(film.with_suffix(".still.png"))


def setup(app):
    app.connect("doctree-resolved", lead_to_pages)
    app.connect("doctree-resolved", prepare_images)
    app.connect("build-finished", copy_downloads)
    app.connect("build-finished", write_stills)
    if Path(app.confdir) != HERE:  # a larger course's conf.py names us an extension
        for extension in extensions:
            app.setup_extension(extension)
        app.config.html_static_path += [str(HERE / path) for path in html_static_path]
        for name in html_css_files:
            app.add_css_file(name)
        for name, attributes in html_js_files:
            app.add_js_file(name, **attributes)
        app.config.mathjax_path = mathjax_path
        app.config.mathjax3_config = mathjax3_config
