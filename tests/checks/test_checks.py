import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image

import exercise1_generate
from checks import class_page, made_up_class, student_code, student_files
from checks import folder as checks_folder
from checks import judge as judges
from checks.__main__ import main
from checks.judge import PARTS, judge
from checks.made_up_class import SOLUTIONS, cloths
from checks.student_code import Process, bubblewrap, scratch
from checks.student_files import (
    EXERCISE_2,
    MORPH,
    SAMPLER,
    STEER,
    STEERED,
    NotDone,
    constants_of,
    frames_of,
    looks,
)
from checks.student_process import decode, encode, respond
from ddpm.command_line import run
from ddpm.dataset import textiles
from ddpm.files import ROOT, UserError
from ddpm.looks import contrast_and_grain
from ddpm.pictures import save_gif, upscale

SOURCE = (ROOT / "exercise3_morph.py").read_text("utf-8")
SAMPLER_SOURCE = (ROOT / "exercise3_sampler.py").read_text("utf-8")
STEER_SOURCE = (ROOT / "exercise4_steer.py").read_text("utf-8")
VALUES, LERP = SOLUTIONS["values"], SOLUTIONS["blended"]
GUIDED, MIXED = SOLUTIONS["answer"], SOLUTIONS["mixed"]
SAMPLER_LINES = {name: SOLUTIONS[name] for name in ("x_t", "x_0", "x_next")}


SCHEMA = json.loads((ROOT / "checks/report.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


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
    answer=GUIDED,
    mixed=MIXED,
):
    text = STEER_SOURCE.replace("    answer = ...", f"    answer = {answer}")
    return header + text.replace("    mixed = ...", f"    mixed = {mixed}")


def morph(path, frames=20, fps=8):
    a, b = cloths(range(2))
    t = torch.linspace(0, 1, frames).reshape(-1, 1, 1, 1)
    save_gif(upscale(a + t * (b - a), 4), path, fps)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which all is done, the grid drawn by Exercise 1 itself."""
    folder = tmp_path_factory.mktemp("finished")
    made_up_class.do_all(folder, 0)
    shutil.rmtree(folder / "generated_samples")
    with pytest.MonkeyPatch.context() as patch:
        stub = SimpleNamespace(image_size=(64, 64), model=SimpleNamespace(families=()))
        patch.setattr(exercise1_generate, "load_diffusion", lambda *_: stub)
        patch.setattr(
            exercise1_generate,
            "denoise",
            lambda _, noise, *__, **___: cloths(range(len(noise))),
        )
        patch.setattr(exercise1_generate, "NUM_SAMPLES", 5)
        exercise1_generate.main(["--out", str(folder)])
    return folder


@pytest.fixture
def student(finished, tmp_path):
    """A copy of the finished folder, to spoil."""
    return shutil.copytree(finished, tmp_path / "student")


class Here(Process):
    """Answers as a process does, in this one: it takes five seconds less."""

    def __init__(self, kind, home, folder):
        self.kind, self.limit = kind, 1000
        self.module = student_files if kind == "files" else ModuleType("student")
        self.start()

    def start(self):
        self.started, self.ended = time.monotonic(), ""

    def stop(self):
        pass

    def receive(self, line, seconds):
        request = json.loads(line)
        if request["call"] == "load":
            self.module = ModuleType("student")
        return json.loads(json.dumps(respond(request, self.module)))


RIGHT = {"path": "lerp"} | {name: "" for parts in PARTS.values() for name in parts}


@pytest.fixture
def unchecked(finished, monkeypatch):
    """Without running code: what right code would give and draw."""

    def check_code(folder, home):
        (home / MORPH).mkdir()
        shutil.copy(finished / "my_morph.gif", home / MORPH)
        return dict(RIGHT)

    monkeypatch.setattr(checks_folder, "check_code", check_code)
    monkeypatch.setattr(checks_folder, "Process", Here)


def says(folder, capsys, *flags):
    """{item: (done, sentence)} and the exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(folder), "--json", *flags])
    report = json.loads(capsys.readouterr().out)
    VALIDATOR.validate(report)
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
        "Explored SAMPLING_STEPS = 20.",
        "TODO 2: It is lerp.",
        "my_morph.gif: 20 frames in 2.5 s.",
        "step: It is a step of DDIM.",
        "done  exercise3_sampler.png.",
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


def samples_by_link(folder):
    (folder / "generated_samples").rename(folder / "another's")
    (folder / "generated_samples").symlink_to(folder / "another's")


def cut_short(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 3])

    return spoil


def still(folder):
    image = upscale(cloths([0]), 4)
    save_gif(torch.cat([image, image + 0.002]), folder / "my_morph.gif", 8)


@pytest.mark.parametrize(
    ("spoil", "item", "sentence"),
    [
        (lambda f: (f / "exercise1_output.png").unlink(), "exercise1_output.png", "missing"),
        (lambda f: shutil.rmtree(f / "generated_samples"), "exercise1_output.png", "not all there"),
        (lambda f: (f / "generated_samples/fabric_0004.png").unlink(), "exercise1_output.png", "not the grid"),
        (lambda f: (f / "generated_samples/fabric_0001.png").unlink(), "exercise1_output.png", "not all there"),
        (samples_by_link, "exercise1_output.png", "generated_samples is a link"),
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
    a, b = upscale(cloths(range(2)), 4)
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


def test_contrast_and_grain():
    board = (
        np.indices((64, 64)).sum(axis=0)[None, ..., None].repeat(3, axis=3) % 2 * 255
    )
    assert contrast_and_grain(board) == (255, 255)
    ramp = np.arange(64.0)[None, :, None, None] * np.ones((1, 64, 64, 3))
    assert contrast_and_grain(ramp) == (pytest.approx(51, abs=1), 0)


def drawings(kind):
    """Pictures of one's own that are nothing like cloth: (8, 64, 64, 3) from 0 to 255."""
    rng = np.random.default_rng(0)
    if kind == "lines":  # black on white, and mostly white
        x = np.where(rng.random((8, 64, 64, 1)) < 0.02, 0, 255)
    elif kind == "pastels":
        x = rng.integers(210, 245, (8, 8, 8, 1)).repeat(8, axis=1).repeat(8, axis=2)
    elif kind == "gravel":
        x = rng.integers(0, 256, (8, 64, 64, 1))
    else:
        x = rng.integers(0, 9, (8, 8, 8, 1)).repeat(8, axis=1).repeat(8, axis=2)
    return x.repeat(3, axis=3).astype(np.uint8)


@pytest.mark.parametrize("kind", ["lines", "pastels", "gravel", "dark"])
def test_pictures_are_judged_by_those_the_model_was_trained_on(
    student, unchecked, capsys, kind
):
    for path, picture in zip(
        sorted((student / "generated_samples").iterdir()), drawings(kind), strict=False
    ):
        Image.fromarray(picture).save(path)
    item = "exercise1_output.png"
    assert not says(student, capsys)[0][item][0]  # nothing says that it should be so
    (student / "models").mkdir()
    looks = contrast_and_grain(drawings(kind))
    torch.save({"looks": looks}, student / "models" / "ddpm_african_fabrics.pt")
    assert says(student, capsys)[0][item][0]
    for path in (student / "generated_samples").iterdir():
        Image.new("RGB", (64, 64), "grey").save(path)
    assert says(student, capsys)[0][item][0] == (kind == "lines")  # mostly flat, too


# --- A student's code -------------------------------------------------------


@pytest.fixture
def trying(tmp_path, monkeypatch):
    """Judge a text as a script of Exercise 3, in this process."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(text, name=MORPH):
        path, home = tmp_path / name, tmp_path / "home"
        home.mkdir()
        path.write_text(text, "utf-8")
        with Here("code", home, tmp_path) as process:
            found = judge(process, path, home)
        assert not list(tmp_path.glob("*.gif"))
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
def test_right_code_is_right_whatever_it_looks_like(trying, tmp_path, text, path):
    found = trying(text.replace("NUM_FRAMES = 20", "NUM_FRAMES = 12"))
    assert found == {
        **dict.fromkeys(("todo_1", "todo_2", "morph"), ""),
        "path": path,
    }
    with Image.open(tmp_path / "home" / "my_morph.gif") as morph:
        assert morph.n_frames in (1, 12)  # of one colour, Pillow may merge them


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
        (SOURCE.replace("def blend(", "def mix("), "still open", "blend is missing"),
        (filled(blended="noise_a if t == 0 else noise_b if t == 1 else 1 / 0"), "^$", "TODO 2 .*ZeroDivisionError"),
        (filled(blended="(1 - t) * noise_a + t * noise_b + (0 if t in (0, 1) else float('nan'))"), "^$", "not numbers at t = 0.25"),
        (filled(blended="noise_a if t == 0 else noise_b if t == 1 else noise_a[0]"), "^$", r"TODO 2 .*gives shape \(3, 8, 8\)"),
        (filled() + "blend = torch.lerp\n", "^$", r"TODO 2 \(blend\) stops with TypeError"),
        (filled() + "blend_values = 5\n", "blend_values is missing", "^$"),
        (filled("open('../my_morph.gif')"), "TODO 1 .*FileNotFoundError", "^$"),
        (filled().replace("NUM_FRAMES = 20", "NUM_FRAMES = [2]"), "NUM_FRAMES in CONFIG", "^$"),
        ("X = {[1]}", "stops with TypeError", "TypeError"),
        ("# coding: rot13\nX = 1", "Python cannot read exercise3_morph.py", "Python cannot read"),
        ("X = " + 20_000 * "(", "Python cannot read exercise3_morph.py", "Python cannot read"),
        (600_000 * "#", "600,000 bytes", "600,000 bytes"),
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
    found = trying(text, SAMPLER)
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
    assert found.keys() == STEER_RIGHT.keys() == PARTS[STEER].keys()
    for name, sentence in (STEER_RIGHT | complaints).items():
        assert re.search(sentence or "^$", found[name])


NOSY = """
import os, sys
assert "GRADERS_SECRET" not in os.environ and "PYTHONPATH" not in os.environ
assert os.getcwd() not in (".", {cwd!r}) and os.getcwd() == os.environ["HOME"]
assert sys.argv == [__file__] and sys.flags.isolated
assert not os.path.exists("__pycache__")
if {shut_in}:
    assert os.getpid() < 9 and not os.path.exists("/run/systemd")
    for folder in ({cwd!r}, os.path.dirname(__file__), "/tmp", "/run", "/dev/shm"):
        try: open(os.path.join(folder, "written"), "w").close()
        except OSError: continue
        raise AssertionError(folder)
    assert [name for _, name in __import__("socket").if_nameindex()] == ["lo"]
print("x" * 10**8); sys.stderr.write("x" * 10**8)
"""


class Lies(Here):
    """Gives an answer that no process of ours would give."""

    def __init__(self, text):
        super().__init__("code", None, None)
        self.text = text

    receive = Process.receive

    def exchange(self, line, answers):
        answers.put(self.text)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"null", b"[" * 9_000, b"x" * 10**6, b"\0\xff", b"1e999", b"{}"),
        b'{"value": 1}',
        b'{"value": {"kind": "Tensor", "shape": [2], "numbers": [1]}, "args": [0]}',
        b'{"value": {"kind": "Tensor", "grad": 0, "shape": [-3]}, "args": [0]}',
        b'{"value": {"kind": "list", "shape": [1e999]}, "args": [0]}',
        b'{"value": {"kind": "list", "shape": [9], "numbers": [[]]}, "args": [0]}',
        b'{"value": {"kind": "list", "shape": "x", "numbers": 1}, "args": [0]}',
        b'{"error": "E"}',
    ],
)
def test_an_answer_that_is_none_is_refused_and_no_other_is_asked_for(text):
    student = Lies(text)
    for _ in range(2):
        with pytest.raises(UserError, match="Your code ended Python"):
            student.ask("blend", 0.5)
        student.text = b'{"value": 0, "args": [0.5]}'


@pytest.mark.parametrize(
    "value",
    [
        *(None, ..., 0.5, "text", True, [0.0, 0.5], (1, 2), range(3), {1: 2}, 10**400),
        *(
            np.float32(0.1),
            np.arange(3),
            [[1], [2, 3]],
            object(),
            torch.lerp,
            float("nan"),
        ),
        *(torch.rand(2, 3), torch.arange(3), torch.tensor(1.0, requires_grad=True)),
        torch.zeros(1).expand(10**9),
    ],
)
def test_what_comes_back_is_of_the_same_type_and_shape_and_value(value):
    text = json.dumps(encode(value))
    back = decode(json.loads(text))
    assert len(text) < 1000 and type(back).__name__ == type(value).__name__
    assert getattr(back, "shape", ()) == tuple(getattr(value, "shape", np.shape(back)))
    if isinstance(value, torch.Tensor) and value.numel() < 100:
        assert torch.equal(back, value.float())
        assert back.requires_grad == value.requires_grad
    elif isinstance(value, (list, tuple, range, np.ndarray)) and hasattr(back, "shape"):
        assert np.array_equal(np.asarray(back), np.asarray(value))


# Run with the light process that reads files: it starts in a tenth of the time.
FREE = "import os, signal, subprocess, sys, time\n"
FORGED = json.dumps({"value": 5, "args": [0.5]}) + "\n"
FORGE = f"for fd in range(3, 40):\n  try: os.write(fd, {9 * FORGED!r}.encode())\n  except OSError: pass\n"


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("blend = float", "0.5"),
        ("os.kill(os.getppid(), signal.SIGKILL)\nblend = float", "0.5|ended Python"),
        ("sys.stdout.write('{}\\n'); os.write(1, b'{}\\n')\nblend = float", "0.5"),
        ("os._exit(0)", "ended Python"),
        (FORGE + "os._exit(0)", "Exception: |ended Python"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "still ran after 20 seconds: a loop"),
        ("while True: pass", "still ran after 20 seconds in line 2: a loop"),
        ("import faulthandler; faulthandler.cancel_dump_traceback_later()\nwhile True: pass", "a loop"),
        ("if os.fork() == 0: os.setsid(); time.sleep(9)\nelse: os._exit(0)", "a loop|ended Python"),
        ("blend = lambda t: os._exit(0)", "ended Python"),
        ("blend = lambda t: 'x' * 10**8", "ended Python"),
        ("def blend(t):\n  for i in range(1200): os.mkdir('d'); os.chdir('d')\n  return t", "0.5"),
        ("def blend(t): raise SystemExit", "It ends Python"),
        ("def blend(t): raise KeyboardInterrupt('no')", "KeyboardInterrupt: no"),
        ("class E(Exception):\n  def __str__(self): os._exit(0)\ndef blend(t): raise E", "ended Python"),
    ],
)  # fmt: skip
def test_whatever_code_does_it_costs_its_own_row(tmp_path, monkeypatch, text, says):
    monkeypatch.setattr(student_code, "bubblewrap", list)  # the harder case
    limit = 1 if "loop" in says else 30
    monkeypatch.setattr(student_code, "READING_LIMIT", limit)
    monkeypatch.setattr(student_code, "GRACE", 1)
    (tmp_path / MORPH).write_text(FREE + text)
    try:
        with scratch() as home, Process("files", home, tmp_path) as process:
            process.kind = "code"
            process.ask("load", str(tmp_path / MORPH), read=dict)
            found = str(process.ask("blend", 0.5))
    except UserError as error:
        found = str(error)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    assert re.search(says, found)
    assert (
        process.process.poll() is not None
        and process.process not in student_code.running
    )
    assert not home.exists()


@pytest.fixture
def a_class(finished, tmp_path):
    """Folders of students, some of whom are up to no good."""
    students = tmp_path / "class"

    def copy(name, text=None):
        folder = shutil.copytree(finished, students / name)
        if text is not None:
            (folder / "exercise3_morph.py").write_text(text, "utf-8")
        return folder

    copy(
        "Ada & <b>Bo/DDPM",
        filled(header=NOSY.format(cwd=os.getcwd(), shut_in=bool(bubblewrap()))),
    )
    copy("looping", filled(blended=LERP + "\n    while True: pass"))
    copy("hungry", filled("[0] * 10**11"))
    copy("forger", filled(header=FREE + FORGE + "os._exit(0)\n"))
    latin = copy("latin")
    (latin / "exercise3_morph.py").write_bytes(b"# \xe9\n" + SOURCE.encode())
    cut_short("my_morph.gif")(latin)
    (students / "nobody").mkdir()
    (students / ".hidden").mkdir()
    (students / "a link").symlink_to(students)
    (students / "_name").mkdir()
    (students / "late.zip").write_bytes(b"PK")
    for litter in ("__MACOSX", "Ada & <b>Bo/__MACOSX", "Ada & <b>Bo/.vscode"):
        (students / litter / "._DDPM").mkdir(parents=True)
    for litter in (".DS_Store", "Ada & <b>Bo/Thumbs.db", "Ada & <b>Bo/._DDPM"):
        (students / litter).write_bytes(b"")
    (students / "Ada & <b>Bo/report.pdf").write_bytes(b"beside the work")
    (students / "Ada & <b>Bo/DDPM/worksheet.md").write_text("# Why\n\n<i>So</i>\x1b[2J")
    samples = students / "Ada & <b>Bo/DDPM/generated_samples"
    for litter in ("._fabric_0000.png", "._exercise.png", "Thumbs.db", ".DS_Store"):
        (samples / litter).write_bytes(b"\0")
    return students


@pytest.mark.skipif(sys.platform == "win32", reason="limits memory as Linux does")
def test_a_class(a_class, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(student_code, "TIME_LIMIT", 8)
    monkeypatch.setenv("GRADERS_SECRET", "42")
    with pytest.raises(SystemExit) as caught:
        main(["--class", str(a_class), "--json", "--out", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and ("no sandbox" in err) == (not bubblewrap())
    found = json.loads(out)
    VALIDATOR.validate(found)
    reports = {report["name"]: report for report in found["students"]}
    assert list(reports) == [
        *("_name", "Ada & <b>Bo", "forger", "hungry", "latin", "looping", "nobody"),
    ]

    def todos(name):
        return [c["says"] for c in reports[name]["checks"] if "TODO" in c["item"]]

    assert reports["Ada & <b>Bo"]["done"], todos("Ada & <b>Bo")
    assert not list(tmp_path.rglob("written"))
    text = (a_class / "looping" / "exercise3_morph.py").read_text("utf-8")
    line = text[: text.index("while True")].count("\n") + 1
    still = f"Your code still ran after 8 seconds in line {line}: a loop?"
    assert todos("looping") == ["It rises from 0 to 1.", still]
    assert "MemoryError" in todos("hungry")[0] and "lerp" in todos("hungry")[1]
    assert all("Python cannot read exercise3_morph.py" in s for s in todos("latin"))
    assert not any(check["done"] for check in reports["nobody"]["checks"])
    assert all("Your code ended Python" in says for says in todos("forger"))

    page = (tmp_path / "out" / "class.html").read_text("utf-8")
    assert "Ada &amp; &lt;b&gt;Bo" in page and "<b>Bo" not in page
    assert "<pre># Why\n&lt;i&gt;So&lt;/i&gt; [2J</pre>" in page
    assert page.count("no worksheet.md") == 6
    most = "Most often open: my_morph.gif (6), TODO 1 (5), TODO 2 (5)."
    left = "Left out: .hidden is hidden, a link is a link, late.zip is no folder."
    assert f"1 of 7 have done all. {most} {left}" in page
    assert ("no sandbox" in page) == (
        not bubblewrap()
    ) and "<th>3b Sampler<th>4 Steer" in page
    assert not re.search(r'(src|href)="(?!data:)', page) and "://" not in page
    assert page.count('src="data:image/webp') == 4  # _name, latin, nobody have none
    table = (tmp_path / "out" / "class.csv").read_text("utf-8-sig").splitlines()
    assert len(table) == 8 and table[2] == "Ada & <b>Bo,,10.0,1.0,1.0,3.0,3.0,2.0"
    with Image.open(tmp_path / "out" / "class_morphs.png") as sheet:
        assert sheet.width < 1200
        pixels = np.asarray(sheet.convert("RGB"))
    x = 16 + 344  # Ada is the second, _name the first
    first, last = pixels[16:80, x : x + 64], pixels[16:80, x + 4 * 66 : x + 64 + 4 * 66]
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


@pytest.fixture
def class_of(tmp_path, capsys):
    """Check a class of empty folders with these names."""

    def check(*names, out="out", code=1):
        for name in names:
            (tmp_path / "class" / name).mkdir(parents=True)
        with pytest.raises(SystemExit) as caught:
            main(["--class", str(tmp_path / "class"), "--out", str(tmp_path / out)])
        assert caught.value.code == code
        return capsys.readouterr()

    return check


@pytest.mark.skipif(sys.platform == "win32", reason="signals a thread as POSIX does")
def test_one_interrupt_ends_all_processes_and_no_other_begins(
    class_of, tmp_path, monkeypatch
):
    # A shell that runs the tests in the background has them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun = []

    class Slow(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__([sys.executable, "-c", "input(); input()"], **options)
            begun.append(self)
            if len(begun) == 1:
                main_thread = threading.main_thread().ident
                ctrl_c = main_thread, signal.SIGINT
                threading.Timer(0.3, signal.pthread_kill, ctrl_c).start()

    monkeypatch.setattr(student_code.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(student_code.subprocess, "Popen", Slow)
    for module in (student_code, class_page):
        monkeypatch.setattr(module, "bubblewrap", list)
    monkeypatch.setattr(student_code, "running", set())
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        class_of(*"abcdefgh")
    signal.signal(signal.SIGINT, before)
    assert 1 <= len(begun) <= 2 and all(process.poll() for process in begun)
    assert not list((tmp_path / "out").iterdir())


def test_a_process_that_cannot_start_costs_rows_and_no_more(class_of, monkeypatch):
    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(student_code.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(class_page, "bubblewrap", list)
    monkeypatch.setattr(student_code.subprocess, "Popen", refuse)
    out, _ = class_of("a", "b")
    assert out.count(" 0 of 21") == 2 and "0 of 2 have done all" in out


def test_nobody_is_marked_where_a_package_is_missing(class_of, monkeypatch):
    child = """print('{"missing": "No module named x"}')"""
    monkeypatch.setattr(student_code, "CHILD", child)
    monkeypatch.setattr(student_code, "running", set())
    out, err = class_of("a", "b", code=2)
    assert not out and "No module named x" in err and "pip install -r" in err


def test_what_cannot_be_written_is_said_before_anybody_is_marked(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "class" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="Give another folder"):
        main(["--class", str(tmp_path / "class"), "--out", str(tmp_path / "file/out")])
    assert not capsys.readouterr().err


def test_so_it_is_where_the_grader_lacks_one():
    code = "import runpy, sys; sys.modules['jinja2'] = None; runpy.run_module('checks')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(
        rb"Nobody was marked: .*jinja2.* pip install .*\s+", done.stderr
    )


def test_results_are_printed_before_what_may_fail_to_be_written(
    tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise UserError("Cannot write it: No space left on device.")

    monkeypatch.setattr(checks_folder, "Process", Here)
    monkeypatch.setattr(class_page, "replacing", full)
    (tmp_path / "class" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="No space left"):
        main(["--class", str(tmp_path / "class"), "--json", "--out", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert [report["name"] for report in found["students"]] == ["a"]


def test_names_in_any_script(class_of, tmp_path, monkeypatch):
    monkeypatch.setattr(checks_folder, "Process", Here)
    names = [
        "李小龙",
        "Łukasz Ćwiek",
        "عمر",
        r"$\frac$",
        "x" * 200,
        "\u0378",
        "\udce9t",
    ]
    class_of(*names)
    page = (tmp_path / "out" / "class.html").read_text("utf-8")
    assert all(name in page for name in names[:4]) and "x" * 80 + "..." in page
    for i, name in enumerate(names[:-1]):
        shown, font = class_page.name_and_font(name, i)
        letters = {ord(letter) for letter in shown if letter != " "}
        assert letters <= set(FT2Font(font.path).get_charmap())
        assert "LastResort" not in font.path
        assert shown in (name, f"number {i} of class.html")
    assert shown == "number 5 of class.html"  # no font has what is no letter


def test_a_file_of_somebody_else_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_symlink", refuse)
    with pytest.raises(NotDone, match=r"x\.py cannot be read: Permission denied"):
        constants_of(tmp_path / "x.py")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_shows_any_name(monkeypatch, encoding):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    run(lambda: print("Ada 李 \udce9", flush=True))
    shown = console.buffer.getvalue().decode(encoding).strip()
    name = "李" if encoding == "utf-8" else r"\u674e"
    assert shown == rf"Ada {name} \udce9"


def gif_of(path, width, height, frames):
    """A GIF that claims this size; each frame is one pixel, and a dozen bytes long."""
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    header = b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    path.write_bytes(header + b"\x80\0\0" + 6 * b"\0" + frames * frame + b";")


@pytest.mark.parametrize("size", [(13_000, 13_000, 60), (1_200, 900, 60)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_is_small_as_a_file_alone_is_refused(
    tmp_path, monkeypatch, size
):
    monkeypatch.setattr(student_files, "LARGEST_PICTURE", 3_000_000)
    gif_of(tmp_path / "my_morph.gif", *size)
    with pytest.raises(NotDone, match=r"too large, \d+ x \d+: run it"):
        frames_of(tmp_path / "my_morph.gif", "run it")


def test_a_picture_that_is_large_is_read(tmp_path):
    gif_of(tmp_path / "my_morph.gif", 1000, 1000, 60)
    frames, _ = frames_of(tmp_path / "my_morph.gif", "run it")
    assert frames.shape == (60, 64, 64, 3)


@pytest.mark.parametrize(
    "text",
    [
        *("X = {[1]}", "X = {[1]: 2}", "X = 1" + 900 * "+1", "X = " + 3000 * "not " + "1"),
        *("# coding: rot13\nk = 1", "# coding: hex\nk = 1", "X = " + 9000 * "[", "X = 1e999"),
        *("\0", "X = " + 5000 * "-" + "1", "X = 9" + 5000 * "9", "X = 0x" + 5000 * "9", r"X = '\ud800'", "def f(:"),
    ],
)  # fmt: skip
def test_a_script_is_read_or_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "x.py").write_text(text, "utf-8")
    try:
        assert len(f"{constants_of(tmp_path / 'x.py')['X']}") < 20_000
    except NotDone as error:
        assert re.match("Python cannot read x.py", str(error))
        assert "X = {" not in text and "+1" not in text


# --- Anything: seeded loops, in the environment FUZZ=300 for longer ones ----

FUZZ = int(os.environ.get("FUZZ", "40"))
BYTES = [
    b"",
    b"\0",
    b"\xff\xd8",
    b"GIF89a",
    b"\x89PNG\r\n\x1a\n",
    b"\n",
    b"(",
    b"9" * 99,
]
VALUES_OF_JSON = [None, -1, 0, 5, 2**70, 1e999, "", "x", [], {}, [[1]], {"kind": 1}]
TOKEN = re.compile(r"\w[\w.]*|\S")
RIGHT_LINES = {  # function: (script, its parameters, the right line)
    "blend": (MORPH, "t, noise_a, noise_b", LERP),
    "mix": (SAMPLER, "x_0, eps, alpha_bar", SAMPLER_LINES["x_t"]),
    "estimate": (SAMPLER, "x_t, eps, alpha_bar", SAMPLER_LINES["x_0"]),
    "guide": (STEER, "without, with_label, weight", GUIDED),
    "put_back": (STEER, "drawn, known, mask", MIXED),
}


def edited(data, rng):
    """Bytes with some of them changed, lost or doubled, or others in between."""
    for _ in range(rng.randint(1, 6)):
        a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
        b = min(b, a + rng.choice([1, 30, len(data)]))
        new = rng.choice([*BYTES, rng.randbytes(b - a), 2 * data[a:b]])
        data = data[:a] + new + data[b:]
    return data


def test_whatever_lies_there_is_read_or_refused_in_a_sentence(finished, student):
    checks = {
        "exercise1_output.png": ("check_grid",),
        "generated_samples/fabric_0002.png": ("check_grid",),
        "exercise2_seeds.png": ("check_pictures", "run it", ["exercise2_seeds.png"]),
        "exercise2_explore.py": ("check_explored",),
        "my_morph.gif": ("check_morph", str(finished)),
    }
    for seed in range(FUZZ):
        rng = random.Random(seed)
        name, (call, *args) = rng.choice(list(checks.items()))
        (student / name).write_bytes(edited((finished / name).read_bytes(), rng))
        reader = Here("files", None, None)
        _, complaint = judges.attempt(reader.ask, call, str(student), *args)
        assert not complaint.startswith("It stops"), (seed, name)
        shutil.copy(finished / name, student / name)


def as_function(line, parameters):
    return eval(f"lambda {parameters}: {line}", {"torch": torch, "np": np})


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("name", RIGHT_LINES)
def test_a_line_is_right_if_and_only_if_it_computes_what_it_should(name):
    script, parameters, right = RIGHT_LINES[name]
    torch.manual_seed(0)
    a, b = torch.rand(2, 2, 3, 8, 8, dtype=torch.float64)
    numbers = (torch.rand(8, 8) > 0.5).double() if name == "put_back" else 0.3
    if script == SAMPLER:
        numbers = torch.tensor(numbers)
    given = (numbers, a, b) if name == "blend" else (a, b, numbers)
    wanted = as_function(right, parameters)(*given)
    tokens, marks = TOKEN.findall(right), Counter()
    for seed in range(5 * FUZZ):
        rng = random.Random(seed)
        words = [*tokens]
        for _ in range(rng.randint(0, 2)):
            words[rng.randrange(len(words))] = rng.choice([*tokens, "+", "-", "", "2"])
        try:
            function = as_function(" ".join(words), parameters)
        except SyntaxError:
            continue
        try:
            result = function(*given)
            is_right = result.shape == a.shape and torch.allclose(result, wanted)
        except Exception:
            is_right = False
        student = SimpleNamespace(function=lambda _, f=function: f, num_frames=20)
        part = "todo_2" if name == "blend" else name
        _, complaint = judges.attempt(PARTS[script][part], student)
        assert (complaint == "") == is_right, (seed, " ".join(words), complaint)
        marks[is_right] += 1
    assert min(marks.values()) > 2


def changed(answer, rng):
    """An answer in which something, at any depth, is another."""
    if not isinstance(answer, (dict, list)) or not answer or rng.random() < 0.1:
        return rng.choice(VALUES_OF_JSON)
    keys = list(answer) if isinstance(answer, dict) else range(len(answer))
    key = rng.choice(keys)
    answer = answer.copy()
    answer[key] = changed(answer[key], rng)
    return answer


def test_whatever_is_answered_gets_a_sentence(tmp_path, monkeypatch):
    class Liar(Lies):
        def __init__(self, kind, home, folder):
            Here.__init__(self, kind, home, folder)

        def exchange(self, line, answers):
            request = json.loads(line)
            answer = {"value": None, "args": []}
            if request["call"] != "main":
                answer = respond(request, self.module)
            text = json.dumps(changed(answer, rng) if rng.random() < 0.2 else answer)
            answers.put(edited(text.encode(), rng) if rng.random() < 0.05 else text)

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [])
    for seed in range(FUZZ // 8):
        rng, home = random.Random(seed), tmp_path / str(seed)
        home.mkdir()
        for name, text in ((MORPH, filled()), (SAMPLER, sampler()), (STEER, steer())):
            (tmp_path / name).write_text(text, "utf-8")
            (home / name).mkdir()
            found = judge(Liar("code", home, tmp_path), tmp_path / name, home / name)
            assert PARTS[name].keys() <= found.keys()
            assert all(s.isprintable() and len(s) < 310 for s in found.values())
