import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exercise3_morph
from checks import todos
from ddpm.files import ROOT, UserError
from ddpm.pictures import lerp, slerp, upscale
from ddpm.sampling import denoise, draw_noise

SOURCE = (ROOT / "exercise3_morph.py").read_text("utf-8")
LINES = {
    number: SOURCE[: SOURCE.index(f"def {name}(")].count("\n") + 1
    for number, name in ((1, "blend_values"), (2, "blend"))
}
README = (ROOT / "README.rst").read_text("utf-8")


def solution(marker):
    """The code block of the README that follows a comment line."""
    block = re.search(
        rf"   \.\. {marker}\n\n   \.\. code-block:: python\n\n((?:      .*\n|\n)+)",
        README,
    )
    return textwrap.dedent(block[1]).strip().splitlines()


def filled(tmp_path, values="...", blended="...", header=()):
    """A student's copy of the exercise, with code in place of the dots."""
    text = SOURCE.replace("    values = ...", f"    values = {values}")
    text = text.replace("    blended = ...", f"    blended = {blended}")
    path = tmp_path / "exercise3_morph.py"
    path.write_text(
        "\n".join([*text.splitlines()[:7], *header, *text.splitlines()[7:]])
    )
    return path


def run(path, *flags):
    return subprocess.run(
        [sys.executable, str(path), *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_there_are_exactly_two_todos():
    assert re.findall(r"# TODO \d", SOURCE) == ["# TODO 1", "# TODO 2"]
    assert len(re.findall(r"= \.\.\.$", SOURCE, flags=re.M)) == 2


RIGHT = {
    "values": "np.linspace(0, 1, num_frames)",
    "blended": "(1 - t) * noise_a + t * noise_b",
}


@pytest.mark.parametrize(
    ("values", "blended", "sentence"),
    [
        ("...", "...", rf"TODO 1 .*from line {LINES[1]}\) is still open"),
        (RIGHT["values"], "...", rf"TODO 2 .*from line {LINES[2]}\) is still open"),
        ("...", RIGHT["blended"], r"TODO 1 .* is still open"),
        ("np.linspace(0, 1, 7)", RIGHT["blended"], r"TODO 1 .*shape \(7,\).*\(20,\)"),
        ("np.linspace(0, 2, num_frames)", "...", r"TODO 1 .*from 0 to 2"),
        ("linspace(0, 1, num_frames)", "...", r"TODO 1 .*NameError.*np\.linspace"),
        ("np.linspace(1, 0, num_frames)", "...", r"TODO 1 .*from 1 to 0"),
        ("np.linspase(0, 1, num_frames)", "...", r"TODO 1 .*stops with AttributeError"),
        ("['a'] * num_frames", "...", r"TODO 1 .*must give numbers"),
        ("None", "...", r"TODO 1 .*gives nothing: its last line should be `return values`"),
        ("np.arange(num_frames)", "...", r"TODO 1 .*counts the frames, as np.arange does"),
        ("np.arange(0, 1, 1 / num_frames)", "...", r"TODO 1 .*stops one step before 1, as np.arange"),
        ("np.arange(0, 1, num_frames)", "...", r"TODO 1 .*gives the 0 alone, as np.arange does"),
        (RIGHT["values"], "t * noise_a + (1 - t) * noise_b", r"TODO 2 .*not give noise A"),
        (RIGHT["values"], "noise_a", r"TODO 2 .*not give noise B at t = 1"),
        (RIGHT["values"], "(1 - t) * noise_a - t * noise_b", r"TODO 2 .*gives minus B"),
        (RIGHT["values"], "1 - t * noise_a + t * noise_b", r"TODO 2 .*put 1 - t in brackets"),
        (RIGHT["values"], "t * noise_b + 1 - t * noise_a", r"TODO 2 .*put 1 - t in brackets"),
        (RIGHT["values"], "None", r"TODO 2 .*gives nothing: its last line should be `return blended`"),
        (RIGHT["values"], "noise_a[0]", r"TODO 2 .*shape \(3, 8, 8\).*\(1, 3, 8, 8\)"),
        (RIGHT["values"], "t", r"TODO 2 .*gives a float; it should give a tensor"),
        (RIGHT["values"], "lerp", r"TODO 2 .*stops with NameError"),
        (RIGHT["values"], "noise_a.numpy()", r"TODO 2 .*gives a ndarray"),
        (RIGHT["values"], "noise_c", r"TODO 2 .*stops with NameError"),
    ],
)  # fmt: skip
def test_open_and_wrong_todos_get_a_hint_before_anything_is_loaded(
    tmp_path, monkeypatch, values, blended, sentence
):
    scope = {"__name__": "student", "__file__": str(filled(tmp_path, values, blended))}
    exec(
        compile(Path(scope["__file__"]).read_text("utf-8"), scope["__file__"], "exec"),
        scope,
    )
    scope["load_diffusion"] = None
    with pytest.raises(UserError, match=sentence) as caught:
        scope["main"]([])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["", "    value = 0\n"])
@pytest.mark.parametrize("name", ["values", "blended"])
def test_a_line_that_is_gone_or_misspelt_is_named(tmp_path, name, line):
    text = filled(tmp_path, **RIGHT).read_text("utf-8")
    scope = {"__name__": "student"}
    exec(re.sub(rf"    {name} = .*\n", line, text), scope)
    with pytest.raises(UserError, match=f"a line should begin with `{name} =`"):
        todos.check(scope["blend_values"], scope["blend"], 20)


@pytest.mark.parametrize("num_frames", [2, 20])
def test_the_right_values_are_no_count_of_frames(num_frames):
    values = np.linspace(0, 1, num_frames)
    assert np.array_equal(todos.check(lambda n: values, lerp, num_frames), values)


def test_unfilled_file_exits_with_1_and_no_traceback(tmp_path):
    result = run(ROOT / "exercise3_morph.py")
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"TODO 1 (exercise3_morph.py, from line {LINES[1]}) is still open"
    )
    assert result.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("marker", "path_between", "other_path"),
    [("solution", lerp, slerp), ("slerp challenge", slerp, lerp)],
)
def test_the_readmes_solutions_make_a_morph(
    tmp_path, tiny, tiny_file, marker, path_between, other_path
):
    *header, values, blended = solution(marker)
    path = filled(
        tmp_path,
        values.removeprefix("values = "),
        blended.removeprefix("blended = "),
        header,
    )
    scope = {"__name__": "student", "__file__": str(path)}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), scope)
    scope["main"](f"--checkpoint {tiny_file} --device cpu --steps 3".split())
    own, other = (
        upscale(
            denoise(
                tiny,
                path(np.linspace(0, 1, 20), draw_noise([7]), draw_noise([21])),
                3,
                "dpmpp",
            ),
            4,
        )
        .movedim(1, -1)
        .numpy()
        for path in (path_between, other_path)
    )
    with Image.open(tmp_path / "my_morph.gif") as gif:
        assert gif.n_frames == 20 and gif.size == (256, 256)
        durations = []
        for i in range(20):
            gif.seek(i)
            durations.append(gif.info["duration"])
            frame = np.asarray(gif.convert("RGB")) / 255
            assert np.abs(frame - own[i]).mean() < 0.08  # a palette of 256 colours
            if i == 10:
                assert np.abs(frame - own[i]).mean() < np.abs(frame - other[i]).mean()
        assert sum(durations) == 20 * 1000 // 8


def test_config_changes_what_it_names(tmp_path, tiny_file, monkeypatch):
    monkeypatch.setattr(exercise3_morph, "blend_values", lambda n: np.linspace(0, 1, n))
    monkeypatch.setattr(exercise3_morph, "blend", lerp)

    def morph(*flags):
        exercise3_morph.main(
            ["--checkpoint", str(tiny_file), "--device", "cpu", "--steps", "2", *flags]
        )
        with Image.open("my_morph.gif") as gif:
            frames = []
            for i in range(gif.n_frames):
                gif.seek(i)
                frames.append(np.asarray(gif.convert("RGB")).astype(int))
            return frames, gif.info["duration"]

    for name, value in (("NUM_FRAMES", 5), ("FPS", 20), ("OUTPUT_SIZE", 96)):
        monkeypatch.setattr(exercise3_morph, name, value)
    frames, duration = morph()
    assert (len(frames), duration, frames[0].shape) == (5, 50, (96, 96, 3))
    monkeypatch.setattr(exercise3_morph, "SEED_B", 5)
    other, _ = morph()
    change = [np.abs(a - b).mean() for a, b in zip(frames, other, strict=True)]
    assert change[-1] > 4 * change[0]  # the palette, shared by all frames, changes too
    started_elsewhere, _ = morph("--seed", "8")
    assert np.abs(started_elsewhere[0] - other[0]).mean() > 4 * change[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUM_FRAMES", 1),
        ("NUM_FRAMES", 20.5),
        ("FPS", 60),
        ("SEED_B", "x"),
        ("FAMILY_B", ["kuba"]),
        ("OUTPUT_SIZE", 0),
    ],
)
def test_impossible_config_is_named(monkeypatch, capsys, name, value):
    monkeypatch.setattr(exercise3_morph, name, value)
    with pytest.raises(SystemExit) as caught:
        exercise3_morph.main([])
    assert caught.value.code == 2
    assert f"{name}: {value!r} is no" in capsys.readouterr().err


def test_a_blend_in_place_does_not_spoil_the_other_frames(
    tmp_path, tiny_file, monkeypatch
):
    monkeypatch.setattr(exercise3_morph, "blend_values", lambda n: np.linspace(0, 1, n))
    monkeypatch.setattr(
        exercise3_morph, "blend", lambda t, a, b: a.mul_(1 - t).add_(t * b)
    )
    flags = f"--checkpoint {tiny_file} --device cpu --steps 2"
    exercise3_morph.main(flags.split())
    with Image.open("my_morph.gif") as gif:
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(gif.n_frames - 1)
        last = np.asarray(gif.convert("RGB"))
    assert np.abs(first - last).mean() > 5


def test_values_may_be_off_by_rounding():
    values = [i * (1 / 49) for i in range(50)]
    assert values[-1] != 1
    assert len(todos.check(lambda n: values, lerp, 50)) == 50
