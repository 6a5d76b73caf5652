import itertools
import json
import os
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import exercise1_generate
from checks import folder as checks_folder
from checks import student_code
from checks.__main__ import main
from checks.student_files import EXERCISE_2, GOALS, STEERED
from checks.judge import judge
from checks.student_files import MORPH, STEER
from checks.student_files import NotDone, constants_of, looks
from ddpm.dataset import textiles
from ddpm.files import ROOT
from ddpm.pictures import save_gif, upscale

SOURCE = (ROOT / "exercise3_morph.py").read_text("utf-8")
VALUES = "np.linspace(0, 1, num_frames)"
LERP = "(1 - t) * noise_a + t * noise_b"
SAMPLER_SOURCE = (ROOT / "exercise3_sampler.py").read_text("utf-8")
SAMPLER_LINES = {
    "x_t": "alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps",
    "x_0": "(x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()",
    "x_next": "mix(x_0, eps, alpha_bar_next)",
}


STEER_SOURCE = (ROOT / "exercise4_steer.py").read_text("utf-8")


def filled(values=VALUES, blended=LERP, header=""):
    text = SOURCE.replace("    values = ...", f"    values = {values}")
    return header + text.replace("    blended = ...", f"    blended = {blended}")


def sampler(header="", **lines):
    text = SAMPLER_SOURCE
    for name, line in (SAMPLER_LINES | lines).items():
        text = text.replace(f"    {name} = ...", f"    {name} = {line}")
    return header + text


def steer(
    header="",
    answer="without + weight * (with_label - without)",
    mixed="mask * known + (1 - mask) * drawn",
):
    text = STEER_SOURCE.replace("    answer = ...", f"    answer = {answer}")
    return header + text.replace("    mixed = ...", f"    mixed = {mixed}")


def cloths(count):
    images = np.stack([textiles.pattern(seed) for seed in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


def morph(path, frames=20, fps=8):
    a, b = cloths(2)
    t = torch.linspace(0, 1, frames).reshape(-1, 1, 1, 1)
    save_gif(upscale(a + t * (b - a), 4), path, fps)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which all is done, the grid drawn by Exercise 1 itself."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        stub = SimpleNamespace(image_size=(64, 64), model=SimpleNamespace(families=()))
        patch.setattr(exercise1_generate, "load_diffusion", lambda *_: stub)
        patch.setattr(
            exercise1_generate,
            "denoise",
            lambda _, noise, *__, **___: cloths(len(noise)),
        )
        patch.setattr(exercise1_generate, "NUM_SAMPLES", 5)
        exercise1_generate.main(["--out", str(folder)])
    for name in itertools.chain(*GOALS.values()):
        if name.endswith(".png"):
            shutil.copy(ROOT / "visuals" / name, folder)
    morph(folder / "exercise2_denoising.gif")
    text = (ROOT / "exercise2_explore.py").read_text("utf-8")
    text = text.replace("SAMPLING_STEPS = 250", "SAMPLING_STEPS = 5")
    (folder / "exercise2_explore.py").write_text(text, "utf-8")
    (folder / "exercise3_morph.py").write_text(filled(), "utf-8")
    morph(folder / "my_morph.gif")
    (folder / "exercise3_sampler.py").write_text(sampler(), "utf-8")
    shutil.copy(ROOT / "visuals/exercise2_seeds.png", folder / "exercise3_sampler.png")
    (folder / "exercise4_steer.py").write_text(steer(), "utf-8")
    for name in itertools.chain(*STEERED.values()):
        if name.endswith(".png"):
            shutil.copy(ROOT / "visuals/exercise2_seeds.png", folder / name)
    morph(folder / "exercise4_return.gif")
    return folder


@pytest.fixture
def student(finished, tmp_path):
    """A copy of the finished folder, to spoil."""
    return shutil.copytree(finished, tmp_path / "student")


@pytest.fixture
def unchecked(monkeypatch):
    """Without running Exercise 3: what a right one would give."""
    found = {"todo_1": "", "todo_2": "", "path": "lerp", "morph": ""}
    found |= {"frames": 20, "seconds": 2.5}
    found |= dict.fromkeys(("mix", "estimate", "step", "picture"), "")
    found |= dict.fromkeys(("guide", "put_back", "ask", "mend"), "")
    monkeypatch.setattr(checks_folder, "run_student", lambda path: found)
    return found


def says(folder, capsys, *flags):
    """{item: (done, sentence)} and the exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(folder), "--json", *flags])
    report = json.loads(capsys.readouterr().out)
    return {
        c["item"]: (c["done"], c["says"]) for c in report["checks"]
    }, caught.value.code


def test_the_lessons_config_is_that_of_the_exercise():
    config = constants_of(ROOT / "exercise2_explore.py")
    assert {k: v for k, v in config.items() if k.isupper()} == EXERCISE_2


def test_a_finished_folder_is_done(finished, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(finished)])
    out = capsys.readouterr().out
    assert caught.value.code == 0 and "21 of 21 done." in out and "OPEN" not in out
    for sentence in (
        "5 patterns, others than the README's",
        "Explored SAMPLING_STEPS = 5.",
        "TODO 2: It is lerp.",
        "my_morph.gif: 20 frames in 2.5 s.",
        "step: It is a step of DDIM.",
        "exercise3_sampler.png: Cloth, drawn by these three lines.",
        "Of the lesson's marked path, 8 of 8.",
        "guide: It asks as firmly as the weight says.",
        "put_back: It keeps what is known.",
        "exercise4_return.png and exercise4_return.gif.",
    ):
        assert sentence in out


def test_a_fresh_clone_is_open_and_says_what_to_run(tmp_path, capsys):
    for name in ("exercise2_explore.py", "exercise3_morph.py"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    found, code = says(tmp_path, capsys)
    assert code == 1 and not any(done for done, _ in found.values())
    assert "run exercise1_generate.py" in found["exercise1_output.png"][1]
    assert "exercise2_explore.py --goal 4" in found["Goal 4"][1]
    assert "All values are the lesson's" in found["CONFIG"][1]
    assert re.match(r"TODO 1 .*line \d+\) is still open", found["TODO 1"][1])
    assert re.match(r"TODO 2 .*line \d+\) is still open", found["TODO 2"][1])
    assert "exercise3_sampler.py is missing: take" in found["mix"][1]
    assert "exercise4_steer.py is missing: take" in found["put_back"][1]
    assert "exercise4_steer.py --goal 5" in found["exercise4_yardage.png"][1]
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    out = capsys.readouterr().out
    beyond = re.findall(
        r"OPEN  (Goal \d|\w+(?:\.png)?)\b.*\(Beyond the path\.\)$", out, re.M
    )
    sampler = ["mix", "estimate", "step", "exercise3_sampler.png"]
    steer = ["guide", "put_back", *(files[0] for files in STEERED.values())]
    assert beyond == ["Goal 4", "Goal 5", *sampler, *steer]
    assert "Of the lesson's marked path, 0 of 8." in out


def test_the_readmes_grid_is_recognised(student, unchecked, capsys):
    shutil.copy(
        ROOT / "training_results" / "embedded" / "samples.png",
        student / "exercise1_output.png",
    )
    for i in range(16):
        Image.fromarray(textiles.pattern(i)).save(
            student / "generated_samples" / f"fabric_{i:04d}.png"
        )
    found, _ = says(student, capsys)
    done, sentence = found["exercise1_output.png"]
    assert done and sentence == "16 patterns, the README's very grid."


def spoil_noise(folder):
    rng = np.random.default_rng(0)
    for path in (folder / "generated_samples").iterdir():
        noise = rng.normal(127, 127, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(path)


def spoil_black(folder):
    for path in (folder / "generated_samples").iterdir():
        Image.new("RGB", (64, 64)).save(path)


def replace_by_folder(folder):
    (folder / "my_morph.gif").unlink()
    (folder / "my_morph.gif").mkdir()


def replace_by_link(folder):
    (folder / "my_morph.gif").rename(folder / "other.gif")
    (folder / "my_morph.gif").symlink_to(folder / "other.gif")


def replace_by_pipe(folder):
    (folder / "my_morph.gif").unlink()
    os.mkfifo(folder / "my_morph.gif")


def cut_short(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 3])

    return spoil


def still(folder):
    image = upscale(cloths(1), 4)
    save_gif(torch.cat([image, image + 0.002]), folder / "my_morph.gif", 8)


@pytest.mark.parametrize(
    ("spoil", "item", "sentence"),
    [
        (lambda f: (f / "exercise1_output.png").unlink(), "exercise1_output.png", "missing"),
        (lambda f: shutil.rmtree(f / "generated_samples"), "exercise1_output.png", "not all there"),
        (lambda f: (f / "generated_samples/fabric_0004.png").unlink(), "exercise1_output.png", "not the grid"),
        (lambda f: (f / "generated_samples/fabric_0001.png").unlink(), "exercise1_output.png", "not all there"),
        (spoil_noise, "exercise1_output.png", "is noise.*checks.diagnose"),
        (spoil_black, "exercise1_output.png", "is black.*checks.diagnose"),
        (cut_short("exercise2_seeds.png"), "Goal 3", "exercise2_seeds.png cannot be read"),
        (lambda f: Image.new("RGB", (99, 99)).save(f / "exercise2_samplers.png"), "Goal 5", "shows nothing"),
        (lambda f: (f / "exercise2_explore.py").write_bytes(b"# \xe9\nSEED = 1\n"), "CONFIG", "Python cannot read exercise2_explore.py"),
        (lambda f: (f / "exercise2_explore.py").write_text("x = ("), "CONFIG", "exercise2_explore.py, line 1: .*was never closed"),
        (lambda f: (f / "exercise2_explore.py").write_bytes(b"\0"), "CONFIG", "null bytes"),
        (cut_short("my_morph.gif"), "my_morph.gif", "cannot be read|by CONFIG"),
        (replace_by_folder, "my_morph.gif", "is a folder"),
        (replace_by_link, "my_morph.gif", "is a link"),
        (replace_by_pipe, "my_morph.gif", "is missing"),
        (still, "my_morph.gif", "does not move"),
        (cut_short("exercise3_sampler.png"), "exercise3_sampler.png", "cannot be read"),
        (lambda f: (f / "exercise3_sampler.png").unlink(), "exercise3_sampler.png", "run exercise3_sampler.py"),
        (lambda f: Image.new("RGB", (99, 99)).save(f / "exercise3_sampler.png"), "exercise3_sampler.png", "shows nothing"),
        (lambda f: (f / "exercise4_mend.png").unlink(), "exercise4_mend.png", "run exercise4_steer.py --goal 2"),
        (cut_short("exercise4_repeat.png"), "exercise4_yardage.png", "exercise4_repeat.png cannot be read"),
        (lambda f: Image.new("RGB", (99, 99)).save(f / "exercise4_return.gif"), "exercise4_return.png", "exercise4_return.gif shows nothing"),
        (lambda f: morph(f / "my_morph.gif", 12), "my_morph.gif", "12 frames in 1.50 s, by CONFIG.*20 in 2.50 s"),
        (lambda f: morph(f / "my_morph.gif", 20, 10), "my_morph.gif", "in 2.00 s, by CONFIG"),
    ],
)  # fmt: skip
def test_what_is_off_is_named_and_the_rest_is_done(
    student, unchecked, capsys, spoil, item, sentence
):
    spoil(student)
    found, code = says(student, capsys)
    assert code == 1
    assert [name for name, (done, _) in found.items() if not done] == [item]
    assert re.search(sentence, found[item][1])


def test_a_blink_that_pillow_merges_is_no_missing_frame(student, unchecked, capsys):
    a, b = upscale(cloths(2), 4)
    save_gif(torch.stack(10 * [a] + 10 * [b]), student / "my_morph.gif", 8)
    found, code = says(student, capsys)
    assert code == 0 and found["my_morph.gif"][1] == "2 frames in 2.5 s."


@pytest.mark.parametrize(
    ("seeds", "word"), [(range(40), ""), ([11], ""), (range(8), "washed out")]
)
def test_looks_at_textiles(seeds, word):
    images = np.stack([textiles.pattern(seed) for seed in seeds]).astype(float)
    if word:
        images = 128 + 0.2 * (images - 128)
    assert looks(images) == word


# --- A student's code -------------------------------------------------------


@pytest.fixture
def trying(tmp_path):
    """Judge a text as a script of Exercise 3, in this process."""

    def run(text, name="exercise3_morph.py"):
        path, home = tmp_path / name, tmp_path / "home"
        home.mkdir()
        path.write_text(text, "utf-8")
        found = judge(path, home)
        assert json.dumps(found) and not list(tmp_path.glob("*.gif"))
        return found

    return run


SLERP = "from generate_ddpm_morph import slerp\n"
BY_HAND = """(
        torch.sin((1 - t) * angle(noise_a, noise_b)) * noise_a
        + torch.sin(t * angle(noise_a, noise_b)) * noise_b
    ) / torch.sin(angle(noise_a, noise_b))"""
ANGLE = """import torch
def angle(a, b):
    return torch.acos((a * b).sum() / a.norm() / b.norm())
"""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (filled(), "lerp"),
        (filled(blended="noise_a + (noise_b - noise_a) * t"), "lerp"),
        (filled(blended="torch.lerp(noise_a, noise_b, t)"), "lerp"),
        (filled("[i / (num_frames - 1) for i in range(num_frames)]"), "lerp"),
        (filled(blended="slerp(t, noise_a, noise_b)", header=SLERP), "slerp"),
        (filled(blended=BY_HAND, header=ANGLE), "slerp"),
    ],
)
def test_right_code_is_right_whatever_it_looks_like(trying, text, path):
    found = trying(text.replace("NUM_FRAMES = 20", "NUM_FRAMES = 12"))
    assert found == {
        **dict.fromkeys(("todo_1", "todo_2", "morph"), ""),
        "path": path,
        "frames": 12,
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    ("text", "todo_1", "todo_2"),
    [
        (SOURCE, "still open", "still open"),
        (filled(blended="..."), "^$", "TODO 2 .*still open"),
        (filled("..."), "TODO 1 .*still open", "^$"),
        (filled("np.linspace(0, 1, 7)"), r"shape \(7,\)", "^$"),
        (filled("np.round(np.linspace(0, 1, num_frames))"), "stands still", "^$"),
        (filled(blended="(1 - t**2) * noise_a + t**2 * noise_b"), "^$", "A with 0.94, B with 0.06"),
        (filled(blended="noise_a if t < 0.5 else noise_b"), "^$", "A with 1.00, B with 0.00"),
        (filled(blended="t * noise_a + (1 - t) * noise_b"), "^$", "does not give noise A"),
        (SOURCE.replace("def blend(", "def mix("), "blend is missing", "blend is missing"),
        ("import sys\nsys.exit()", "It ends Python", "It ends Python"),
        ("raise KeyboardInterrupt", "stops with KeyboardInterrupt", "KeyboardInterrupt"),
        ("import no_such_module", "ModuleNotFoundError", "ModuleNotFoundError"),
        ("", "is missing", "is missing"),
        (filled(header="raise ValueError('\\x1b[2J' + 10_000 * 'x')\n"), r"ValueError:  \[2Jx{99}.*\.\.\.$", "ValueError"),
    ],
)  # fmt: skip
def test_wrong_code_gets_a_sentence(trying, text, todo_1, todo_2):
    found = trying(text)
    assert re.search(todo_1, found["todo_1"]) and re.search(todo_2, found["todo_2"])
    assert all(s.isprintable() and len(s) < 310 for s in map(str, found.values()))


SAMPLER_RIGHT = dict.fromkeys(("mix", "estimate", "step", "picture"), "")


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (sampler(), {}),
        (sampler(x_next="alpha_bar_next**0.5 * x_0 + (1 - alpha_bar_next) ** 0.5 * eps"), {}),
        (SAMPLER_SOURCE, dict.fromkeys(SAMPLER_RIGHT, r"^TODO \d .*line \d+\) is still open")),
        (sampler(x_0="..."), {"estimate": "TODO 2 .*still open", "picture": "TODO 2"}),
        (sampler(x_next="mix(x_0, eps, alpha_bar)"), {"step": "TODO 3 .*stays at t", "picture": "TODO 3"}),
        (sampler().replace("def step(", "def stride("), {"step": "step is missing", "picture": "NameError"}),
        (sampler().replace("    draw([", "    ([", 1), {"picture": "saves no exercise3_sampler.png"}),
        (sampler("raise ValueError('no')\n"), dict.fromkeys(SAMPLER_RIGHT, "stops with ValueError: no")),
        (sampler().replace("figure.savefig(temporary)", "return"), {"picture": "Cannot write .*exercise3_sampler.png"}),
    ],
)  # fmt: skip
def test_each_line_of_the_sampler_is_judged(trying, text, complaints):
    found = trying(text, "exercise3_sampler.py")
    assert found.keys() == SAMPLER_RIGHT.keys()
    for name, sentence in (SAMPLER_RIGHT | complaints).items():
        assert re.search(sentence or "^$", found[name])


STEER_RIGHT = dict.fromkeys(("guide", "put_back", "ask", "mend"), "")


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (steer(), {}),
        (STEER_SOURCE, dict.fromkeys(STEER_RIGHT, r"^TODO \d .*line \d+\) is still open")),
        (steer(answer="..."), {"guide": "TODO 1 .*still open", "ask": "TODO 1"}),
        (steer(mixed="known"), {"put_back": "TODO 2 .*in the holes", "mend": "TODO 2"}),
        (steer().replace("def guide(", "def lead("), dict.fromkeys(STEER_RIGHT, "NameError")),
        (steer().replace("exercise4_mend.png", "mended.png"), {"mend": "saves no exercise4_mend.png"}),
    ],
)  # fmt: skip
def test_each_line_of_steering_is_judged(trying, text, complaints):
    found = trying(text, STEER)
    assert found.keys() == STEER_RIGHT.keys() == RESULT[STEER].keys()
    for name, sentence in (STEER_RIGHT | complaints).items():
        assert re.search(sentence or "^$", found[name])


NOSY = """
import os, sys
assert "GRADERS_SECRET" not in os.environ and "PYTHONPATH" not in os.environ
assert os.getcwd() not in (".", {cwd!r}) and os.getcwd() == os.environ["HOME"]
assert sys.argv == [__file__] and sys.flags.isolated
assert not os.path.exists("__pycache__")
print("x" * 10**8); sys.stderr.write("x" * 10**8)
"""


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "[" * 9_000, '{"todo_1": ""}', "x" * 10**6, "\0\udcff", "1e999"],
)
def test_a_result_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "result").write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(NotDone, match="Your code ended Python"):
        read_result(tmp_path / "result", tmp_path / "no_watchdog", RESULT[MORPH])


def test_a_result_is_made_of_the_types_it_should_have(tmp_path):
    good = {"todo_1": 5, "todo_2": None, "path": [], "morph": "", "frames": "7"}
    (tmp_path / "result").write_text(json.dumps(good | {"seconds": 2, "more": "x"}))
    found = read_result(tmp_path / "result", tmp_path / "no_watchdog", RESULT[MORPH])
    assert {name: type(value) for name, value in found.items()} == RESULT[MORPH]
    (tmp_path / "result").write_text(json.dumps(good | {"seconds": "long"}))
    with pytest.raises(NotDone):
        read_result(tmp_path / "result", tmp_path / "no_watchdog", RESULT[MORPH])


@pytest.fixture
def a_class(finished, tmp_path):
    """Folders of students, some of whom are up to no good."""
    students = tmp_path / "class"

    def copy(name, text=None):
        folder = shutil.copytree(finished, students / name)
        if text is not None:
            (folder / "exercise3_morph.py").write_text(text, "utf-8")
        return folder

    copy("Ada & <b>Bo/DDPM", filled(header=NOSY.format(cwd=os.getcwd())))
    copy("looping", filled(blended=LERP + "\n    while True: pass"))
    copy("hungry", filled("[0] * 10**11"))
    latin = copy("latin")
    (latin / "exercise3_morph.py").write_bytes(b"# \xe9\n" + SOURCE.encode())
    cut_short("my_morph.gif")(latin)
    (students / "nobody").mkdir()
    (students / ".hidden").mkdir()
    (students / "a link").symlink_to(students)
    return students


@pytest.mark.skipif(sys.platform == "win32", reason="limits memory as Linux does")
def test_a_class(a_class, tmp_path, monkeypatch, capsys):
    def run(path):  # one of each is enough: processes are slow to start
        if path.name == MORPH or "Ada" in str(path):
            return run_student(path)
        return SAMPLER_RIGHT | STEER_RIGHT

    monkeypatch.setattr(checks_folder, "run_student", run)
    monkeypatch.setattr(student_code, "TIME_LIMIT", 3)
    monkeypatch.setenv("GRADERS_SECRET", "42")
    with pytest.raises(SystemExit) as caught:
        main(["--class", str(a_class), "--json", "--out", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and "no sandbox" in err
    reports = {report["name"]: report for report in json.loads(out)}
    assert list(reports) == [
        *("Ada & <b>Bo", "hungry", "latin", "looping", "nobody"),
    ]

    def todos(name):
        return [c["says"] for c in reports[name]["checks"] if "TODO" in c["item"]]

    assert reports["Ada & <b>Bo"]["done"], todos("Ada & <b>Bo")
    text = (a_class / "looping" / "exercise3_morph.py").read_text("utf-8")
    line = text[: text.index("while True")].count("\n") + 1
    still = f"Your code still ran after 3 seconds in line {line}: a loop?"
    assert todos("looping") == [still, still]
    assert "MemoryError" in todos("hungry")[0] and "lerp" in todos("hungry")[1]
    assert all("Python cannot read exercise3_morph.py" in s for s in todos("latin"))
    assert not any(check["done"] for check in reports["nobody"]["checks"])

    page = (tmp_path / "out" / "class.html").read_text("utf-8")
    assert "Ada &amp; &lt;b&gt;Bo" in page and "<b>Bo" not in page
    most = "Most often open: TODO 1 (4), my_morph.gif (4), TODO 2 (3)."
    assert f"1 of 5 have done all. {most}" in page
    assert "no sandbox" in page and "<th>3b Sampler<th>4 Steer" in page
    assert not re.search(r'(src|href)="(?!data:)', page) and "://" not in page
    assert page.count('src="data:image/webp') == 3  # latin and nobody have none
    with Image.open(tmp_path / "out" / "class_morphs.png") as sheet:
        assert sheet.width < 1200
        pixels = np.asarray(sheet.convert("RGB"))
    first, last = pixels[16:80, 16:80], pixels[16:80, 16 + 4 * 66 : 80 + 4 * 66]
    for tile, seed in ((first, 0), (last, 1)):
        assert (
            np.abs(tile - textiles.pattern(seed).astype(float)).mean() < 12
        )  # a GIF's palette


@pytest.mark.parametrize(
    "args", [["no_such"], ["--class", "no_such"], ["--class", "."]]
)
def test_usage(args, capsys):
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    assert re.search("is not a folder|has no folder in it", capsys.readouterr().err)
