"""The figures of the lesson as slides of 1920 x 1080 pixels, in its order.

    python -m docs.slides    writes slides/

Animations are copied as they are: insert them as pictures. alt_texts.txt says of each
what it shows, for those who cannot see it.
"""

import re
import shutil
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from ddpm.command_line import folder, run, script_parser
from ddpm.files import ROOT, replacing

SIZE = (1920, 1080)
MARGIN, TOP = 80, 170  # pixels around a figure, and above it for the heading
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")

HEADING = r"^(?P<heading>\S.*)\n(?P<rule>-+|~+)\n"
FIGURE = r"\.\. (?:image|figure):: (?P<path>\S+)\n(?P<options>(?: +:?\S.*\n)+)"


def figures(page):
    """(heading, path from the root, alternative text) of each figure of a page."""
    heading = ""
    for found in re.finditer(f"{HEADING}|{FIGURE}", page, re.M):
        heading = found["heading"] or heading
        if found["path"]:
            alt = re.search(r":alt: ((?:.|\n)+?)(?=\n *:|$)", found["options"].rstrip())
            yield heading, found["path"], " ".join(alt[1].split())


def slide(figure, heading):
    """A white slide with a heading and the figure, as large as there is room for it."""
    page = Image.new("RGB", SIZE, "white")
    font = ImageFont.truetype(FONT, 52)
    ImageDraw.Draw(page).text((MARGIN, 60), heading, "#1a1a1a", font)
    room = SIZE[0] - 2 * MARGIN, SIZE[1] - TOP - MARGIN
    factor = min(room[0] / figure.width, room[1] / figure.height)
    size = round(figure.width * factor), round(figure.height * factor)
    enlarged = figure.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    left, top = (SIZE[0] - size[0]) // 2, TOP + (room[1] - size[1]) // 2
    page.paste(enlarged, (left, top))
    return page


def main(argv=None):
    parser = script_parser(__doc__, prog="python -m docs.slides")
    parser.add_argument("--out", type=folder, default="slides", help="folder (slides)")
    args = parser.parse_args(argv)
    texts = []
    page = (ROOT / "README.rst").read_text("utf-8")
    for number, (heading, name, alt) in enumerate(figures(page), 1):
        path = ROOT / name
        target = args.out / f"{number:02}_{path.name}"
        texts.append(f"{target.name}: {alt}\n")
        with replacing(target) as temporary:
            if path.suffix == ".gif":
                shutil.copy(path, temporary)
            else:
                with Image.open(path) as figure:
                    slide(figure, heading).save(temporary)
    with replacing(args.out / "alt_texts.txt") as temporary:
        temporary.write_text("".join(texts), "utf-8")
    print(f"Wrote {len(texts)} slides and alt_texts.txt to {args.out.resolve()}.")


if __name__ == "__main__":
    run(main)
