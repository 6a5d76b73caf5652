"""A class, one folder a student: everybody's report and morph on one page."""

import base64
import contextlib
import csv
import io
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib.font_manager import findSystemFonts
from PIL import Image, ImageDraw, ImageFont

from checks.folder import TITLES, check_folder, count, inside_of, sentence
from checks.marks import points_of
from checks.student_code import bubblewrap
from checks.student_files import (
    LARGEST_SCRIPT,
    MORPH,
    SAMPLER,
    STEER,
    NotDone,
    plain,
    regular,
)
from ddpm.figures import PLAIN_FONT, letters_of
from ddpm.files import ROOT, is_litter, replacing

SCRIPTS = ("exercise2_explore.py", MORPH, SAMPLER, STEER)
FRAMES = 12  # of a morph, in the page
# A hint that two are alike: grey levels, rarely shared lines, and of how many letters.
SAME_MORPH, SAME_LINES, SHORTEST_LINE = 3, 3, 12
STOPPED = ("Your code ", "Reading these files ", "It cannot be ", "No process ")


def warning():
    """What running the code of others may do, and what keeps it from that here."""
    says = (
        "Students' code of Exercises 3 and 4 is run, with limits of time and memory. "
    )
    if bubblewrap():
        return says + "Bubblewrap keeps it from the network and from writing files."
    return says + (
        "This is no sandbox: such code may do whatever you may. On Linux, install "
        "bubblewrap, and it is shut in."
    )


def students_in(folder):
    """(folders, [why something else is left out]) of a class, each by name.

    What belongs to the system is passed over without a word.
    """
    folders, left_out = [], []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.casefold()):
        name = plain(path.name, 80)
        if is_litter(path.name):
            continue
        if path.is_symlink():
            left_out.append(f"{name} is a link")
        elif not path.is_dir():
            left_out.append(f"{name} is no folder")
        elif name.startswith("."):
            left_out.append(f"{name} is hidden")
        else:
            folders.append(path)
    return folders, left_out


def check_student(folder):
    """A row of the page of a class: {"report", "morph", "strip", "lines", "worksheet"}.

    morph: the text of a src attribute, or "". strip: five frames, (5, 64, 64, 3) uint8,
    or None. lines: of code, their own. worksheet: text, or "".
    """
    inside = inside_of(folder)
    report, film = check_folder(inside, folder.name)
    row = {"report": report, "morph": "", "strip": None, "lines": own_lines(inside)}
    row["worksheet"] = worksheet(inside)
    if film is not None:
        frames = [Image.fromarray(frame) for frame in film]
        five = np.linspace(0, len(film) - 1, 5).round().astype(int)
        row["strip"] = np.stack([np.asarray(frames[i].resize((64, 64))) for i in five])
        row["morph"] = thumbnail(frames[:: math.ceil(len(frames) / FRAMES)])
    return row


def thumbnail(frames):
    """Frames of a morph as text for a src attribute; small, for there are hundreds."""
    first, *others = [frame.resize((96, 96)) for frame in frames]
    options = {"append_images": others, "duration": 240, "loop": 0, "quality": 60}
    file = io.BytesIO()
    first.save(file, "webp", save_all=True, **options)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def own_lines(folder):
    """The lines of a folder's scripts that the lesson's lack, but for the shortest."""
    own = set()
    for name in SCRIPTS:
        with contextlib.suppress(NotDone, OSError):
            script = regular(folder / name, "", LARGEST_SCRIPT)
            lesson = (ROOT / name).read_text("utf-8").split("\n")
            own |= {*script.read_text("utf-8", "replace").split("\n")} - {*lesson}
    words = (" ".join(line.split()) for line in own)
    return {line for line in words if len(line) >= SHORTEST_LINE}


def worksheet(folder):
    """What stands in a folder's worksheet.md, without what only spaces it; or ""."""
    with contextlib.suppress(NotDone, OSError):
        text = regular(folder / "worksheet.md", "", LARGEST_SCRIPT)
        lines = text.read_text("utf-8", "replace").split("\n")
        return "\n".join(plain(line, 2000) for line in lines if line.strip())
    return ""


def alike(rows):
    """[(who, sentence)] on work that resembles another's: two or more rows each.

    It accuses nobody: the same seeds give the same morph, and pairs work together.
    """
    found, left = [], [row for row in rows if row["strip"] is not None]
    few = np.s_[:, ::4, ::4]  # pixels: enough to tell cloths apart
    while left:  # those that have the morph of the first
        first = left[0]["strip"][few].astype(float)
        apart = [np.abs(row["strip"][few] - first).mean() for row in left]
        same = [r for r, x in zip(left, apart, strict=True) if x < SAME_MORPH]
        if len(same) > 1:
            found.append((same, "the same morph, as the same seeds give"))
        left = [r for r, x in zip(left, apart, strict=True) if x >= SAME_MORPH]
    writers, shared = {}, Counter()
    for i, row in enumerate(rows):
        for line in row["lines"]:
            writers.setdefault(line, []).append(i)
    for pair in (w for w in writers.values() if len(w) == 2):
        shared[tuple(pair)] += 1
    for pair, number in sorted(shared.items(), key=lambda item: -item[1]):
        if number >= SAME_LINES:
            sentence = f"{number} lines of code or comment that nobody else has"
            found.append(([rows[i] for i in pair], sentence))
    return found


def alike_sentences(rows):
    """What `alike` found, each in a sentence."""
    return [
        f"{', '.join(row['report']['name'] for row in who)}: {what}."
        for who, what in alike(rows)
    ]


def stopped(report):
    """Whether something could not be read or run to its end."""
    return any(check["says"].startswith(STOPPED) for check in report["checks"])


def needs_a_look(row):
    """The order of the page: what stopped first, then by points, then by name."""
    report = row["report"]
    return not stopped(report), report["points"], count(report)[0]


def name_and_font(name, number):
    """A name and a font that has all its letters; without one, the student's number."""
    letters = {ord(letter) for letter in name if not letter.isspace()}
    known = letters <= letters_of(PLAIN_FONT)
    for path in (PLAIN_FONT, *(() if known else sorted(findSystemFonts()))):
        with contextlib.suppress(OSError):  # of emoji alone, for one
            if letters <= letters_of(path):
                return name, ImageFont.truetype(path, 14)
    return f"number {number} of class.html", ImageFont.truetype(PLAIN_FONT, 14)


def contact_sheet(rows):
    """One picture of all morphs: five frames of each in a strip, the name below."""
    side, gap, below = 64, 16, 22
    columns = 1 if len(rows) < 4 else 2 if len(rows) < 13 else 3
    wide, high = 5 * side + 8 + gap, side + below + gap
    size = (columns * wide + gap, math.ceil(len(rows) / columns) * high + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        x, y = gap + wide * (i % columns), gap + high * (i // columns)
        if row["strip"] is None:
            draw.rectangle((x, y, x + wide - gap - 1, y + side - 1), "#eeeeee")
            middle = (x + (wide - gap) / 2, y + side / 2)
            font = ImageFont.truetype(PLAIN_FONT, 14)
            draw.text(middle, "no morph yet", "#666666", font, "mm")
        else:
            for k, frame in enumerate(row["strip"]):
                sheet.paste(Image.fromarray(frame), (x + (side + 2) * k, y))
        report = row["report"]
        name, font = name_and_font(report["name"], i + 1)
        path = f", {report['path']}" if report["path"] else ""
        while draw.textlength(name + path, font) > wide - gap:
            name = name.rstrip("…")[:-1] + "…"
        draw.text((x, y + side + 4), name + path, "#222222", font)
    return sheet


def page_row(row):
    """What the page shows of one student."""
    report = row["report"]
    remarkable = ("exercise1_output.png", "CONFIG")
    checks = report["checks"]
    remarks = [c["says"] for c in checks if c["item"] in remarkable and c["done"]]
    still = [check for check in checks if not check["done"]]
    return report | {
        "morph": row["morph"],
        "worksheet": row["worksheet"],
        "marks": [(exercise, *count(report, exercise)) for exercise in TITLES],
        "remarks": " ".join(remarks),
        "still": still,
        "stopped": stopped(report),
    }


def points_table(reports):
    """Rows for a spreadsheet: each student's points, of all and of each exercise."""
    exercises = [f"Exercise {exercise}" for exercise in TITLES]
    yield ["Name", "Identifier", "Points", *exercises]
    for report in reports:
        of = [[c for c in report["checks"] if c["exercise"] == e] for e in TITLES]
        # A spreadsheet would compute a name that begins so.
        name = report["name"].lstrip("=+-@ ")
        # Moodle's, in its grading worksheet: it names folders Ada_6578_assignsubm...
        number = re.search(r"_(\d+)_assignsubmission", report["name"])
        moodle = f"Participant {number[1]}" if number else ""
        yield [name, moodle, report["points"], *(points_of(c)[0] for c in of)]


def summary_of(reports, left_out):
    """How many have done all, what is most often open, what is no student's folder."""
    summary = f"{sum(r['done'] for r in reports)} of {len(reports)} have done all."
    still = Counter(c["item"] for r in reports for c in r["checks"] if not c["done"])
    if still:
        most = (f"{item} ({number})" for item, number in still.most_common(3))
        summary += f" Most often open: {', '.join(most)}."
    if left_out:
        summary += f" Left out: {', '.join(left_out)}."
    return summary


def write_class(rows, summary, out):
    """Write class_morphs.png, class.csv and class.html, which needs no other file.

    rows: as `check_student` gives them, by name.
    """
    sheet = contact_sheet(rows)
    here = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=here, autoescape=True).get_template("class_page.html")
    text = page.render(
        summary=summary,
        rows=[page_row(row) for row in sorted(rows, key=needs_a_look)],
        alike=alike_sentences(rows),
        warning=warning(),
        sentence=sentence,
        titles=TITLES,
    )
    with replacing(out / "class_morphs.png") as temporary:
        sheet.save(temporary)
    with replacing(out / "class.html") as temporary:
        temporary.write_text(text, "utf-8")
    with (
        replacing(out / "class.csv") as temporary,
        # Without the mark at its beginning, Excel garbles names.
        temporary.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        csv.writer(file).writerows(points_table([row["report"] for row in rows]))
