import re
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TORUS, lit
from PIL import Image

import exercise4_steer
from checks import steer_todos
from ddpm.dataset import HELD_OUT, load_picture, textiles
from ddpm.files import ROOT, UserError
from ddpm.network import build
from ddpm.sampling import denoise, draw_noise, extrapolate
from ddpm.steering import put_back

SOURCE = (ROOT / "exercise4_steer.py").read_text("utf-8")
README = (ROOT / "README.rst").read_text("utf-8")
RIGHT = {
    "answer": "without + weight * (with_label - without)",
    "mixed": "mask * known + (1 - mask) * drawn",
}
NAMES = {
    1: {"exercise4_ask.png"},
    2: {"exercise4_mend.png"},
    3: {"exercise4_draw.png"},
    4: {"exercise4_return.png", "exercise4_return.gif"},
    5: {"exercise4_yardage.png", "exercise4_repeat.png"},
}


def filled(**lines):
    """The script as a module, with lines in place of the dots."""
    text = SOURCE
    for name, line in (RIGHT | lines).items():
        text = text.replace(f"    {name} = ...", f"    {name} = {line}")
    module = types.ModuleType("student")
    exec(compile(text, "exercise4_steer.py", "exec"), module.__dict__)
    return module


def from_readme():
    block = re.search(
        r"   \.\. steering solution\n\n   \.\. code-block:: python\n\n((?:      .*\n|\n)+)",
        README,
    )
    lines = textwrap.dedent(block[1]).strip().splitlines()
    return dict(line.split(" = ", 1) for line in lines)


# --- The two lines ----------------------------------------------------------


def test_there_are_exactly_two_todos_with_hints_and_solution():
    assert re.findall(r"# TODO \d", SOURCE) == ["# TODO 1", "# TODO 2"]
    assert re.findall(r"    (\w+) = \.\.\.$", SOURCE, flags=re.M) == list(RIGHT)
    section = README.split("Exercise 4: steer\n---")[1].split("\nExtension: train")[0]
    assert re.findall(r"dropdown:: Hint for TODO (\d)", section) == ["1", "2"]
    assert list(from_readme()) == list(RIGHT)


@pytest.mark.parametrize(("goal", "name"), [(1, "answer"), (2, "mixed")])
def test_unfilled_it_says_what_is_open_before_anything_is_loaded(goal, name):
    module = filled(**{name: "..."})
    module.load_diffusion = None
    with pytest.raises(UserError, match=rf"^TODO {goal} \(.*\) is still open: .*\.$"):
        module.main(["--goal", str(goal)])
    with pytest.raises(UserError, match=rf"^TODO {goal} "):
        module.main([])


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        ("answer", "with_label + weight * (without - with_label)", "swap the two"),
        ("answer", "without + weight * (without - with_label)", "goes away from the label"),
        ("answer", "with_label + weight * (with_label - without)", "begins at `with_label`"),
        ("answer", "weight * (with_label - without)", "gives the way alone"),
        ("answer", "without + weight * with_label", "adds the whole answer"),
        ("answer", "weight * with_label", "forgets the answer without"),
        ("answer", "without", "does not hear the label"),
        ("answer", "with_label", "whatever the weight"),
        ("answer", "2 * with_label - without", "goes twice the way"),
        ("answer", "without + with_label", "without with 1.00 and with_label with 1.00; right is -2.00 and 3.00, where weight is 3"),
        ("answer", "without.add_(weight * (with_label - without))", "changes what it is handed"),
        ("answer", "weight", "gives a float"),
        ("answer", "without + wait * with_label", "stops with NameError"),
        ("mixed", "mask * drawn + (1 - mask) * known", "swap the two"),
        ("mixed", "mask * known", "leaves the holes empty"),
        ("mixed", "(1 - mask) * drawn", "leaves out what is known"),
        ("mixed", "mask * known + drawn", "has `drawn` everywhere"),
        ("mixed", "known + (1 - mask) * drawn", "has `known` everywhere"),
        ("mixed", "known + drawn", "does not look at the mask"),
        ("mixed", "drawn", "keeps nothing"),
        ("mixed", "known", "in the holes, too"),
        ("mixed", "mask * known + 1 - mask * drawn", "lacks brackets"),
        ("mixed", "mask * known + (mask - 1) * drawn", "takes `drawn` away"),
        ("mixed", "mask * known + (1 - mask) * drawn / 2", r"gives \S+ in place of \S+ at a pixel where mask is 0"),
        ("mixed", "mask * known * 0.5 + (1 - mask) * drawn", "at a pixel where mask is 1"),
        ("mixed", "drawn.mul_(1 - mask).add_(mask * known)", "changes what it is handed"),
        ("mixed", "mask", r"gives shape \(8, 8\)"),
        ("mixed", "None", "gives nothing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_what_it_does(name, line, sentence):
    module = filled(**{name: line})
    module.load_diffusion = None
    goal = list(RIGHT).index(name) + 1
    with pytest.raises(UserError, match=rf"^TODO {goal} .*{sentence}") as caught:
        module.main(["--goal", str(goal)])
    assert re.fullmatch(
        r"TODO \d \(exercise4_steer.py, from line \d+\) [^\n]+", str(caught.value)
    )


@pytest.mark.parametrize(
    "lines",
    [
        from_readme(),
        {"answer": "(1 - weight) * without + weight * with_label"},
        {"answer": "torch.lerp(without, with_label, weight)"},
        {"mixed": "torch.where(mask > 0.5, known, drawn)"},
        {"mixed": "drawn + mask * (known - drawn)"},
    ],
)
def test_right_code_is_right_whatever_it_looks_like(lines):
    module = filled(**lines)
    steer_todos.check_guide(module.guide)
    steer_todos.check_put_back(module.put_back)
    a, b, mask = draw_noise([1]), draw_noise([2]), (draw_noise([3]) > 0).float()
    torch.testing.assert_close(module.guide(a, b, 1.5), extrapolate(a, b, 1.5))
    torch.testing.assert_close(module.put_back(a, b, mask), put_back(a, b, mask))


# --- The goals --------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    diffusion = build(TORUS | {"families": ("kente", "kuba")})
    torch.nn.init.normal_(diffusion.model.time_mlp.rows.weight)
    return lit(diffusion).eval()


@pytest.fixture
def go(model, monkeypatch):
    """Run main with few steps; the pictures that each figure shows, by file name."""
    small = {
        "load_diffusion": lambda *_: model,
        "INVERSION_STEPS": [2, 5],
        "NUM_FRAMES": 3,
        "DRAWN_AS": ["kuba", "kente"],
        "RESAMPLINGS": 2,
        "POSTER": 256,
    }
    for name, value in small.items():
        monkeypatch.setattr(exercise4_steer, name, value)
    shown, draw = {}, exercise4_steer.draw_rows

    def recording(rows, titles, labels, path, narrow):
        shown[path.name] = rows, titles, labels
        draw(rows, titles, labels, path, narrow)

    monkeypatch.setattr(exercise4_steer, "draw_rows", recording)

    def run(*flags, guide=extrapolate, put_back=put_back):
        shown.clear()
        exercise4_steer.main([*flags, "--steps", "3"], guide, put_back)
        return dict(shown)

    return run


def test_all_goals_write_their_files(go, tmp_path, capsys):
    go("--out", "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == set().union(*NAMES.values())
    said = capsys.readouterr().out
    assert all(name in said for name in written)


def test_goal_1_asks_by_the_line_that_is_handed_in(go, model):
    weights = []

    def guide(without, with_label, weight):
        weights.append(weight)
        return extrapolate(without, with_label, weight)

    rows, titles, labels = go("--goal", "1", "--seed", "5", guide=guide)[
        "exercise4_ask.png"
    ]
    assert titles == ["kente", "kuba"] and {1, 2, 4} <= set(weights)
    assert labels[0] == "seed 5\nw = 1" and labels[3] == "seed 6\nw = 2"
    label = model.model.one_hot(["kente", "kuba"])
    for row, seed, weight in zip(rows, (5, 5, 5, 6), (1, 2, 4, 2), strict=True):
        noise = draw_noise([seed]).repeat(2, 1, 1, 1)
        wanted = denoise(model, noise, 3, "dpmpp", label=label, guidance=weight)
        torch.testing.assert_close(row, wanted, atol=1e-4, rtol=0)


def test_goal_1_needs_families(go, tiny, monkeypatch):
    monkeypatch.setattr(exercise4_steer, "load_diffusion", lambda *_: tiny)
    with pytest.raises(
        UserError, match=r"trained without names.*--checkpoint .*embedded\.pt"
    ):
        go("--goal", "1")
    others = set().union(*(NAMES[goal] for goal in (2, 3, 4, 5)))
    assert set(go("--out", "out")) <= others
    assert {path.name for path in Path("out").iterdir()} == others


def test_goal_3_draws_what_a_model_of_your_own_folders_knows(go, monkeypatch):
    own = build(TORUS | {"families": ("curtains", "bags")}).eval()
    monkeypatch.setattr(exercise4_steer, "load_diffusion", lambda *_: own)
    _, _, labels = go("--goal", "3")["exercise4_draw.png"]
    assert labels == ["curtains", "bags"]


def picture(path, size=(90, 64), colour="teal"):
    Image.effect_noise(size, 80).convert("RGB").save(path)
    return path


def test_goal_2_keeps_what_is_known_and_fills_the_hole(go):
    rows, titles, _ = go("--goal", "2", "--seed", "3")["exercise4_mend.png"]
    assert titles[-1] == "mended, each\nstep 2 times"
    left, top, right, bottom = exercise4_steer.HOLE
    hole = torch.zeros(64, 64, dtype=torch.bool)
    hole[top:bottom, left:right] = True
    for k, (cloth, torn, once, again) in enumerate(rows):
        ours = (
            torch.from_numpy(textiles.pattern(HELD_OUT + 3 + k)).permute(2, 0, 1) / 255
        )
        torch.testing.assert_close(cloth, ours)
        assert (torn[:, hole] == 0.5).all()
        for x in (torn, once, again):
            torch.testing.assert_close(x[:, ~hole], cloth[:, ~hole], atol=1e-4, rtol=0)
        assert (once - again)[:, hole].abs().mean() > 1e-3
        assert (once - cloth)[:, hole].abs().mean() > 1e-3


def test_goal_2_takes_any_picture_and_a_mask_of_another_size(go, tmp_path):
    picture(tmp_path / "cloth.jpg")
    mask = Image.new("RGBA", (180, 128), (0, 0, 0, 0))  # transparent: kept
    mask.paste((10, 0, 0, 255), (90, 0, 180, 128))  # the right half is torn
    mask.save(tmp_path / "mask.png")
    flags = "--picture", "cloth.jpg", "--mask", "mask.png"
    rows, *_ = go("--goal", "2", *flags)["exercise4_mend.png"]
    assert torch.equal(rows[0][0], rows[1][0])  # one picture, three noises
    assert not torch.equal(rows[0][2], rows[1][2])
    assert (rows[0][1][:, :, 34:] == 0.5).all()
    torch.testing.assert_close(rows[0][1][:, :, :30], rows[0][0][:, :, :30])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--mask", "white.png"],
            r"mask white\.png has no hole\. Give one that is black",
        ),
        (["--mask", "black.png"], r"mask black\.png keeps nothing\. Give one"),
        (["--mask", "none.png"], r"none\.png does not exist\. Give a picture file"),
        (["--mask", "text.txt"], r"text\.txt cannot be read as a picture"),
        (["--picture", "none.png"], r"none\.png does not exist"),
        (["--picture", "text.txt"], r"text\.txt cannot be read as a picture"),
        (["--family", "tartan"], r"knows no family 'tartan' \(kente, kuba\)"),
    ],
)
def test_files_that_do_not_do_get_a_sentence(go, tmp_path, flags, sentence):
    Image.new("L", (9, 9), 255).save(tmp_path / "white.png")
    Image.new("L", (9, 9), 0).save(tmp_path / "black.png")
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(UserError, match=sentence):
        go("--goal", "2", *flags)
    assert not list(tmp_path.glob("exercise4*"))


def test_goal_3_begins_with_the_drawing_and_keeps_its_colours(go, monkeypatch):
    rows, titles, labels = go("--goal", "3")["exercise4_draw.png"]
    assert labels == ["kuba", "kente"] and titles[1] == "from t = 400"

    def patches(x):
        return torch.nn.functional.avg_pool2d(x, 16)

    def apart(rows):
        return np.mean(
            [
                (patches(x) - patches(row[0])).abs().mean()
                for row in rows
                for x in row[1:]
            ]
        )

    monkeypatch.setattr(exercise4_steer, "PATCH", 0)
    plain, *_ = go("--goal", "3")["exercise4_draw.png"]
    assert torch.equal(plain[0][0], rows[0][0])
    assert apart(rows) < 0.12 and apart(rows) < apart(plain) / 2


def test_goal_3_draws_your_picture_as_the_family_asked_for(go, tmp_path):
    picture(tmp_path / "mine.webp", (40, 100))
    rows, _, labels = go("--goal", "3", "--picture", "mine.webp", "--family", "kuba")[
        "exercise4_draw.png"
    ]
    assert labels == ["kuba"] and len(rows) == 1 and len(rows[0]) == 5


def test_goal_4_goes_there_and_back(go, capsys):
    rows, titles, _ = go("--goal", "4", "--seed", "2")["exercise4_return.png"]
    said = re.findall(
        r"(\d) steps there and back, .*: (A (\S+), B (\S+))\.\n",
        capsys.readouterr().out,
    )
    assert [steps for steps, *_ in said] == ["2", "5"]
    for k, (steps, errors, *each) in enumerate(said):
        assert titles[2 + k] == f"{steps} steps, error\n{errors}"
        apart = (rows[:, 2 + k] - rows[:, 0]).square().mean(dim=(1, 2, 3)).sqrt()
        assert [float(error) / 2 for error in each] == pytest.approx(
            apart.tolist(), abs=3e-3
        )
    with Image.open("exercise4_return.gif") as gif:
        assert gif.size == (256, 256) and gif.n_frames == 3


def test_goal_5_makes_a_repeat_of_your_drawing(go, tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))  # black to white
    Image.fromarray(ramp).save(tmp_path / "mine.png")
    go("--goal", "5", "--picture", "mine.png", "--family", "kuba")
    with Image.open("exercise4_repeat.png") as repeat:
        columns = np.asarray(repeat.convert("L"), float).mean(axis=0)
    left, right = columns[60:240].mean(), columns[-240:-60].mean()
    assert right - left > 40  # the drawing's
    assert abs(columns[0] - columns[-1]) <= 1.5 * np.abs(np.diff(columns)).max()


def test_goal_5_tells_the_size_in_print(go, monkeypatch, capsys):
    monkeypatch.setattr(exercise4_steer, "REPEATS", (2, 1))
    go("--goal", "5")
    said = capsys.readouterr().out
    assert "exercise4_yardage.png: 256 x 128 pixels, 4.3 x 2.2 cm at 150 dpi." in said
    assert "exercise4_repeat.png: 591 x 591 pixels, 10.0 x 10.0 cm at 150 dpi." in said
    with Image.open("exercise4_yardage.png") as poster:
        assert round(poster.info["dpi"][0]) == 150


def test_pictures_are_looked_at_before_anything_is_drawn(go, monkeypatch):
    monkeypatch.setattr(exercise4_steer, "load_diffusion", None)
    for flag in ("--picture", "--picture-b", "--mask"):
        with pytest.raises(UserError, match=r"none\.png does not exist"):
            go(flag, "none.png")


def test_a_name_that_no_textile_has_is_told_from_those_of_another_model(
    go, monkeypatch
):
    monkeypatch.setattr(exercise4_steer, "DRAWN_AS", ["tartan"])
    with pytest.raises(UserError, match=r"knows no family 'tartan' \(kente, kuba\)"):
        go("--goal", "3")


def test_goal_4_ends_at_another_picture_of_yours(go, tmp_path):
    picture(tmp_path / "mine.jpg")
    rows, *_ = go("--goal", "4", "--picture-b", "mine.jpg")["exercise4_return.png"]
    mine = torch.from_numpy(load_picture("mine.jpg").copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(rows[1][0], mine)


def test_goal_5_repeats_one_cloth_without_a_jump(go, model, monkeypatch):
    monkeypatch.setattr(exercise4_steer, "REPEATS", (2, 1))
    monkeypatch.setattr(exercise4_steer, "REPEAT_CM", 2.54)
    go("--goal", "5", "--seed", "4", "--family", "kuba")
    with Image.open("exercise4_yardage.png") as poster:
        assert poster.size == (256, 128)
        pixels = np.asarray(poster, int)
    assert np.array_equal(pixels[:, :128], pixels[:, 128:])
    inside = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
    assert (
        np.abs(pixels[:, 0] - pixels[:, -1]).mean() <= inside.max()
    )  # hung side by side
    with Image.open("exercise4_repeat.png") as repeat:
        assert repeat.size == (150, 150) and round(repeat.info["dpi"][0]) == 150
        tile = np.asarray(repeat, float)
    wrapped = np.abs(tile[:, 0] - tile[:, -1]).mean(), np.abs(tile[0] - tile[-1]).mean()
    inside = np.abs(np.diff(tile, axis=1)).mean(), np.abs(np.diff(tile, axis=0)).mean()
    assert np.less(wrapped, np.multiply(1.5, inside)).all()
    label = model.model.one_hot(["kuba"])
    cloth = denoise(model, draw_noise([4]), 3, "dpmpp", label=label, guidance=2)[0]
    assert abs(tile.mean() / 255 - cloth.mean().item()) < 0.02


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GUIDANCE_WEIGHTS", [1, 21], "GUIDANCE_WEIGHTS: 21 is not a number"),
        ("HOLE", (1, 2, 3), "HOLE: .* has 3 numbers: give it 4"),
        ("HOLE", (1, 2, 3, 65), "HOLE: 65 is not a whole number"),
        ("REPEATS", 4, "REPEATS: 4 is not a list"),
        ("REPEATS", (4,), "REPEATS: .* has 1 numbers: give it 2"),
        ("RESAMPLINGS", 0, "RESAMPLINGS: 0 is not"),
        ("START_TIMESTEPS", [1000], "START_TIMESTEPS: 1000 is not"),
        ("INVERSION_STEPS", [], "INVERSION_STEPS is empty"),
        ("PATCH", 5, "PATCH: 5 is none of 0, 2, 4"),
        ("NUM_FRAMES", 1, "NUM_FRAMES: 1 is not"),
        ("FPS", 60, "FPS: 60 is not"),
        ("REPEAT_CM", 0.5, "REPEAT_CM: 0.5 is not"),
        ("POSTER", "large", "POSTER: 'large' is not"),
        ("DPI", 0, "DPI: 0 is not"),
        ("DRAWN_AS", "kuba", "DRAWN_AS: 'kuba' is not a list"),
        ("DRAWN_AS", [5], "DRAWN_AS: 5 is no text"),
        ("FAMILY", None, "FAMILY: None is no text"),
    ],
)
def test_impossible_config_is_refused_by_name(
    go, monkeypatch, capsys, name, value, sentence
):
    monkeypatch.setattr(exercise4_steer, name, value)
    with pytest.raises(SystemExit) as caught:
        go("--goal", "5")
    assert caught.value.code == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_a_repeat_too_large_for_memory_is_refused(go, monkeypatch, capsys):
    monkeypatch.setattr(exercise4_steer, "REPEAT_CM", 40)
    monkeypatch.setattr(exercise4_steer, "DPI", 1200)
    with pytest.raises(SystemExit):
        go("--goal", "5")
    said = capsys.readouterr().err
    assert "REPEAT_CM / 2.54 * DPI: 18898 is not a whole number from 32 to 6000" in said


def test_a_hole_that_is_none_is_named(go, monkeypatch):
    for hole, word in (
        ((9, 9, 9, 20), "has no hole"),
        ((0, 0, 64, 64), "keeps nothing"),
    ):
        monkeypatch.setattr(exercise4_steer, "HOLE", hole)
        with pytest.raises(UserError, match=rf"mask of HOLE = \(.*\) {word}"):
            go("--goal", "2")


@pytest.mark.parametrize("goal", [2, 3, 4, 5])
def test_a_model_without_families_can_be_steered_too(go, tiny, monkeypatch, goal):
    monkeypatch.setattr(exercise4_steer, "load_diffusion", lambda *_: lit(tiny))
    go("--goal", str(goal))
