"""A class, one folder a student: everybody's report and morph on one page."""

import base64
import contextlib
import io
import math
from collections import Counter
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from checks.folder import TITLES, check_folder, count, sentence
from checks.student_files import NotDone, frames_of
from ddpm.files import replacing

WARNING = (
    "Each student's code of Exercises 3 and 4 is run in a process of its own with a "
    "time limit. This is no sandbox: such code may do whatever you may."
)


def folders_in(folder):
    """Folders in a folder, by name, without hidden ones and links."""
    found = [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
    shown = (path for path in found if path.name[0] not in "._")
    return sorted(shown, key=lambda path: path.name.casefold())


def check_student(folder):
    """(report, frames of the morph or None) of one folder of a class."""
    inside = folder
    with contextlib.suppress(OSError):  # an archive may have put one more around
        while len(list(inside.iterdir())) == 1 and (only := folders_in(inside)):
            inside = only[0]
    report = check_folder(inside, folder.name)
    try:
        return report, frames_of(inside / "my_morph.gif", "", 96)[0]
    except NotDone:
        return report, None


def contact_sheet(rows):
    """One picture of all morphs: five frames of each in a strip, the name below."""
    side, gap, below = 64, 16, 22
    columns = 1 if len(rows) < 4 else 2 if len(rows) < 13 else 3
    wide, high = 5 * side + 8 + gap, side + below + gap
    size = (columns * wide + gap, math.ceil(len(rows) / columns) * high + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 14)
    for i, (report, frames) in enumerate(rows):
        x, y = gap + wide * (i % columns), gap + high * (i // columns)
        if frames is None:
            draw.rectangle((x, y, x + wide - gap - 1, y + side - 1), "#eeeeee")
            middle = (x + (wide - gap) / 2, y + side / 2)
            draw.text(middle, "no morph yet", "#666666", font, "mm")
        else:
            for k, at in enumerate(np.linspace(0, len(frames) - 1, 5).round()):
                frame = Image.fromarray(frames[int(at)]).resize((side, side))
                sheet.paste(frame, (x + (side + 2) * k, y))
        caption = report["name"] + (f", {report['path']}" if report["path"] else "")
        draw.text((x, y + side + 4), caption, "#222222", font)
    return sheet


def data_uri(frames, form, **options):
    """Pictures as text for a src attribute; options as for Pillow's save."""
    file = io.BytesIO()
    frames[0].save(file, form, append_images=frames[1:], **options)
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"


def page_row(report, frames):
    """What the page shows of one student."""
    checks, morph = report["checks"], ""
    if frames is not None:
        few = np.linspace(0, len(frames) - 1, min(len(frames), 24)).round().astype(int)
        film = [Image.fromarray(frames[i]).resize((96, 96)) for i in few]
        morph = data_uri(film, "webp", save_all=True, duration=120, loop=0, quality=80)
    remarkable = ("exercise1_output.png", "CONFIG")
    remarks = [c["says"] for c in checks if c["item"] in remarkable and c["done"]]
    return {
        "name": report["name"],
        "path": report["path"],
        "morph": morph,
        "marks": [(exercise, *count(report, exercise)) for exercise in TITLES],
        "remarks": " ".join(remarks),
        "still": [check for check in checks if not check["done"]],
    }


def write_class(rows, out):
    """Write class_morphs.png and class.html, a page that needs no other file.

    rows: [(report, frames of the morph or None)]. Returns what to say about it.
    """
    sheet = contact_sheet(rows)
    reports = [report for report, _ in rows]
    summary = f"{sum(r['done'] for r in reports)} of {len(reports)} have done all."
    still = Counter(c["item"] for r in reports for c in r["checks"] if not c["done"])
    if still:
        most = (f"{item} ({number})" for item, number in still.most_common(3))
        summary += f" Most often open: {', '.join(most)}."
    here = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=here, autoescape=True).get_template("class_page.html")
    text = page.render(
        summary=summary,
        rows=[page_row(*row) for row in rows],
        sheet=data_uri([sheet], "png"),
        warning=WARNING,
        sentence=sentence,
        titles=TITLES,
    )
    with replacing(out / "class_morphs.png") as temporary:
        sheet.save(temporary)
    with replacing(out / "class.html") as temporary:
        temporary.write_text(text, "utf-8")
    return f"{summary}\nWrote class.html and class_morphs.png to {out.resolve()}."
