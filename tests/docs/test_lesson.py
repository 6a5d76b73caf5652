"""What the lesson page says is true: its numbers, snippets, names and commands."""

import ast
import csv
import functools
import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from denoising_diffusion_pytorch import Unet
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import (
    SinusoidalPosEmb,
    cosine_beta_schedule,
    linear_beta_schedule,
)

import exercise1_generate
import exercise2_explore
import exercise3_train
from checks.folder import BEYOND, GOALS
from comparison import dcgan
from ddpm import copying
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, read_checkpoint
from ddpm.dataset import textiles
from ddpm.files import ROOT
from ddpm.pictures import lerp, make_grid, slerp, upscale
from ddpm.sampling import SAMPLERS, denoise, draw_noise, predictor, timestep_pairs
from exercise4_steer import known_pixels
from models.train_embedded import Settings
from visuals import style

PAGE = (ROOT / "README.rst").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.rst").read_text("utf-8")
PAGES = {
    "lesson": PAGE,
    "instructors": (ROOT / "docs" / "instructors.rst").read_text("utf-8"),
}
ORDINALS = {2: "second", 4: "fourth", 5: "fifth", 10: "tenth"}


def alpha_bar(schedule, t):
    return torch.cumprod(1 - schedule(1000), dim=0)[t].item()


def parameters(model):
    return f"{sum(p.numel() for p in model.parameters()):,}"


def written(name):
    text = (ROOT / "benchmarks" / "generation_speed.csv").read_text("utf-8")
    return dict(csv.reader(text.splitlines()))[name]


def measured(name):
    """Seconds as the benchmark has written them down, rounded to 5."""
    return str(5 * round(float(written(name)) / 5))


def lerp_std():
    a, b = torch.randn(2, 4_000_000, generator=torch.Generator().manual_seed(0))
    return f"{lerp(0.5, a, b).std():.3f}"


@functools.cache
def textile_moments():
    """Variance, and mean square, of the pixels of 1,059 textiles in [-1, 1]."""
    pixels = np.stack([textiles.pattern(seed) for seed in range(1059)]) / 127.5 - 1
    return pixels.var(), np.square(pixels).mean()


def share(alpha_bar):
    signal = alpha_bar * textile_moments()[0]
    return f"{signal / (signal + 1 - alpha_bar):.0%}".replace("%", " %")


def loss_of_zero():
    """Mean of v^2, where v = sqrt(a) eps - sqrt(1 - a) x_0, as the small preset draws t:
    half of the batch from all timesteps, half from 3 to 45 % of them."""
    a = torch.cumprod(1 - linear_beta_schedule(1000), dim=0)
    square = a + (1 - a) * textile_moments()[1]
    return f"{(square.mean() + square[30:450].mean()) / 2:.2f}"


@functools.cache
def logged_losses():
    path = ROOT / "training_results" / "embedded" / "log.csv"
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return [f"{float(row['loss']):.3f}" for row in rows]


def largest_step():
    text = (ROOT / "comparison" / "results" / "smoothness.txt").read_text("utf-8")
    median = re.search(r"largest step / mean step +(\S+)", text)[1]
    return f"{float(median):.1f}"


def spacing():
    pairs = timestep_pairs(load_diffusion(EMBEDDED_WEIGHTS, "cpu").num_timesteps, 250)
    (gap,) = {t - t_next for t, t_next in pairs}
    return ORDINALS[gap]


# How each number of the page is computed, as it is written there.
NUMBERS = {
    "exercise1_seconds": lambda: measured("Exercise 1, 250 steps of DDIM, s"),
    "exercise1_fast_seconds": lambda: measured(
        "Exercise 1, 20 steps of DPM-Solver++, s"
    ),
    "exercise2_seconds": lambda: measured("Exercise 2, all five goals, s"),
    "morph_seconds": lambda: measured("generate_ddpm_morph.py, s"),
    "data_variance": lambda: f"{textile_moments()[0]:.2f}",
    "share_at_half": lambda: share(0.5),
    "loss_zero": loss_of_zero,
    "loss_first": lambda: logged_losses()[0],
    "loss_last": lambda: logged_losses()[-1],
    "copies": lambda: f"{copying.COPIES:g}",
    "own_minutes": lambda: f"{exercise3_train.OWN.minutes:g}",
    "embedded_parameters": lambda: parameters(load_diffusion(EMBEDDED_WEIGHTS, "cpu")),
    "label_width": lambda: str(
        load_diffusion(EMBEDDED_WEIGHTS, "cpu").model.time_mlp.rows.out_features
    ),
    "gan_pictures": lambda: f"{dcgan.STEPS * dcgan.BATCH:,}",
    "ddpm_pictures": lambda: (
        f"{read_checkpoint(EMBEDDED_WEIGHTS)['step'] * Settings().batch_size:,}"
    ),
    "first_seed": lambda: str(exercise1_generate.RANDOM_SEED),
    "lesson_parameters": lambda: parameters(Unet(64, dim_mults=(1, 2, 4, 8))),
    "alpha_bar_100_linear": lambda: f"{alpha_bar(linear_beta_schedule, 100):.3f}",
    "alpha_bar_250_linear": lambda: f"{alpha_bar(linear_beta_schedule, 250):.3f}",
    "alpha_bar_250_cosine": lambda: f"{alpha_bar(cosine_beta_schedule, 250):.3f}",
    "alpha_bar_500_linear": lambda: f"{alpha_bar(linear_beta_schedule, 500):.3f}",
    "alpha_bar_500_cosine": lambda: f"{alpha_bar(cosine_beta_schedule, 500):.3f}",
    "alpha_bar_999_linear": lambda: f"{alpha_bar(linear_beta_schedule, 999):.5f}",
    "noise_over_signal_999": lambda: (
        f"{math.sqrt(1 / alpha_bar(linear_beta_schedule, 999) - 1):.0f}"
    ),
    "amplification_600": lambda: (
        f"{1 / math.sqrt(alpha_bar(linear_beta_schedule, 600)):.0f}"
    ),
    "amplification_900": lambda: (
        f"{1 / math.sqrt(alpha_bar(linear_beta_schedule, 900)):.0f}"
    ),
    "ddim_spacing": spacing,
    "lerp_std": lerp_std,
    "largest_step": largest_step,
}


def replaced(page):
    return dict(re.findall(r"^\.\. \|(\w+)\| replace:: (.*)$", page, re.M))


@pytest.mark.parametrize(
    ("title", "name"),
    [(title, name) for title, page in PAGES.items() for name in replaced(page)],
)
def test_number(title, name):
    page = PAGES[title]
    assert f"|{name}|" in page.replace(f".. |{name}|", ""), "nobody reads this number"
    assert replaced(page)[name] == NUMBERS[name]()


def test_figures_know_the_variance_of_the_textiles():
    assert round(textile_moments()[0], 2) == style.VARIANCE
    assert f"{style.share_of_signal(0.5):.0%}".replace("%", " %") == share(0.5)
    assert style.share_of_signal(0) == 0
    assert style.share_of_signal(1) == pytest.approx(1)


def blocks(language, page=PAGE):
    """Code blocks of a language on a page, without their indentation."""
    found = re.findall(
        rf"^( *)\.\. code-block:: {language}\n\n((?:\1   .*\n|\n)+)", page, re.M
    )
    return [re.sub(rf"^{indent}   ", "", text, flags=re.M) for indent, text in found]


def test_snippets_run():
    ran = 0
    for snippet in blocks("python"):
        # These go into Exercises 3 and 4, and are run by their own tests.
        if any(word in snippet for word in ("noise_a", "alpha_bar_next", "with_label")):
            continue
        snippet = snippet.replace("T = 1000", "T = 20")
        exec(compile(snippet, "README.rst", "exec"), {})
        ran += 1
    assert ran == 4


def test_small_unet_keeps_the_size_and_is_told_the_timestep():
    (listing,) = (text for text in blocks("python") if "SmallUnet" in text)
    names = {}
    exec(listing, names)
    t = torch.tensor([0, 5, 999])
    expected = SinusoidalPosEmb(32)(t)
    torch.testing.assert_close(names["embedding"](t), expected, atol=1e-4, rtol=0)
    torch.manual_seed(0)
    x = torch.randn(3, 3, 64, 64)
    unet = names["SmallUnet"]()
    assert unet(x, t).shape == x.shape
    assert (unet(x, t) - unet(x, t.flip(0))).abs().max() > 1e-3


def test_listed_step_is_algorithm_2():
    """With the true noise its mean is the posterior's, as `ddpm_step` computes it."""
    beta = linear_beta_schedule(1000)
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    x_0, eps = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    t, (a, a_next) = 500, alpha_bar[[500, 499]].tolist()
    x = a**0.5 * x_0 + (1 - a) ** 0.5 * eps
    (line,) = (line for line in PAGE.splitlines() if line.strip().startswith("mean = "))
    names = {"x": x, "eps": eps, "beta": beta, "alpha_bar": alpha_bar, "t": t}
    exec(line.strip(), names)
    fresh = iter([torch.zeros_like(x)])
    ours = SAMPLERS["ddpm"](x_0=x_0, eps=eps, a=a, a_next=a_next, fresh=fresh)
    torch.testing.assert_close(names["mean"], ours)


def examples():
    """(expression, result) of the tables of functions."""
    tables = PAGE.split(".. functions\n")[1:]
    assert len(tables) == 6
    for table in tables:
        rows = re.split(r"\n(?=\S)", table)[0].split("* - ")[2:]
        for row in rows:
            (found,) = re.findall(r"``([^`]+)``\s+gives\s+``([^`]+)``", row)
            yield found


NAMES = {
    "np": np,
    "torch": torch,
    "F": torch.nn.functional,
    "known_pixels": known_pixels,
    "textiles": textiles,
    "load_diffusion": lambda: load_diffusion(EMBEDDED_WEIGHTS, "cpu"),
    **{f.__name__: f for f in (draw_noise, denoise, make_grid, predictor)},
    **{f.__name__: f for f in (slerp, upscale, timestep_pairs)},
}


@pytest.mark.parametrize(("expression", "result"), list(examples()))
def test_example_of_a_function(expression, result):
    assert eval(expression, dict(NAMES)) == ast.literal_eval(result)


def test_goals_cost_as_many_calls_as_the_table_says(tiny, monkeypatch):
    table = PAGE.split(".. calls")[1].split(".. dropdown")[0]
    said = {int(a): int(b) for a, b in re.findall(r"^(\d) +(\d+) ", table, re.M)}
    calls = []

    def predictions(x, *_, **__):
        calls.append(1)
        return torch.zeros_like(x), torch.zeros_like(x)

    monkeypatch.setattr(tiny, "model_predictions", predictions)
    monkeypatch.setattr(exercise2_explore, "load_diffusion", lambda *_: tiny)
    monkeypatch.setattr(exercise2_explore, "draw_rows", lambda *_: None)
    for goal, count in said.items():
        calls.clear()
        exercise2_explore.main(["--goal", str(goal), "--out", "."])
        assert len(calls) == count, goal


def commands():
    shown = blocks("bash") + blocks("bash", REFERENCE)
    lines = "\n".join(shown).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.split("#")[0].split("&&")]
    return sorted({part.strip() for part in parts if part.strip()})


@pytest.mark.parametrize("command", commands())
def test_command_names_files_and_flags_that_exist(command, capsys):
    words = command.split()
    if words[0] in ("pip", "sphinx-build", "pytest", "gh"):
        files = [w for w in words if w.endswith(".txt")]
        assert all((ROOT / name).is_file() for name in files)
        return
    assert words[0] in ("python", "accelerate")
    is_module = words[1] == "-m"
    script = words[2] if is_module else next(w for w in words if w.endswith(".py"))
    args = words[words.index(script) + 1 :]
    name = script if is_module else script.removesuffix(".py")
    package = (ROOT / name / "__main__.py").exists()
    module = importlib.import_module(f"{name}.__main__" if package else name)
    with pytest.raises(SystemExit) as caught:
        module.main(["--help"])
    assert not caught.value.code
    helped = capsys.readouterr().out
    for flag in (w for w in args if w.startswith("--")):
        assert flag in helped, f"{flag} is no flag of {script}"
    assert '__name__ == "__main__"' in Path(module.__file__).read_text("utf-8")


def inline_commands():
    """Commands in the text of all pages of ours, with the page they stand on."""
    pages = [p for place in ("*.rst", "*/*.rst") for p in ROOT.glob(place)]
    found = set()
    for page in pages:
        if page.parent.name == "from_scratch":  # has tests of its own
            continue
        text = page.read_text("utf-8")
        inline = re.findall(r"``(python [^`]+)``", text)
        shown = re.findall(r"^ {3,}(python (?!-c).+)$", text, re.M)
        found |= {
            (page.name, " ".join(c.split("#")[0].split())) for c in inline + shown
        }
    return sorted(found)


@pytest.mark.parametrize(("page", "command"), inline_commands())
def test_command_of_any_page_has_its_script_and_flags(page, command):
    words = command.replace("\\", "").split()
    module = words[2].replace(".", "/") if words[1] == "-m" else words[1][:-3]
    path = ROOT / f"{module}.py"
    if (ROOT / module).is_dir():
        path = ROOT / module / "__main__.py"
    text = path.read_text("utf-8")
    assert '__name__ == "__main__"' in text
    text += (ROOT / "ddpm" / "command_line.py").read_text("utf-8")
    for flag in (word for word in words if word.startswith("--")):
        spelt = (f'"{flag}"', f'"{flag[2:]}"', f"{flag[2:]}=")
        assert any(words in text for words in spelt), flag


def sources():
    return {
        path: path.read_text("utf-8")
        for folder in ("*.py", "*/*.py")
        for path in ROOT.glob(folder)
    }


# Names on the page that no file of the clone has: made by a script, or another's.
MADE = {
    "models/ddpm_african_fabrics.pt",
    "training_results/model-N.pt",
    "model-1.pt",
    "docs/_build/index.html",
    "data/",
    "generated_samples/",
    "my_morph.gif",
}


def literals():
    both = PAGE + REFERENCE
    text = re.sub(r"\.\. code-block::.*\n\n((?: +.*\n|\n)+)", "", both)
    return sorted(set(re.findall(r"``([^`\n]+)``", text)))


@pytest.mark.parametrize(
    "name",
    [x for x in literals() if re.search(r"\.\w{2,4}$|/$", x) and x[:3] != "np."],
)
def test_file_exists_or_a_script_makes_it(name):
    last = name.rsplit("/", 1)[-1] if not name.endswith("/") else name
    made = name in MADE or any(last in source for source in sources().values())
    assert (ROOT / name).exists() or made or " " in name


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            re.match(r"[A-Z_]{4,}", x)[0]
            for x in literals()
            if re.match(r"[A-Z_]{4,}( =|$)", x)
        }
    ),
)
def test_constant_exists(name):
    assert any(re.search(rf"^{name} = ", text, re.M) for text in sources().values())


def test_flags_named_in_the_text_exist():
    named = {flag for text in literals() for flag in re.findall(r"--\w+", text)}
    everything = "".join(sources().values())
    assert len(named) > 5
    for flag in named - {"--help"}:
        assert f'"{flag}"' in everything or f"{flag[2:]}=" in everything, flag


def test_configuration_table_is_that_of_the_presets():
    table = PAGE.split(".. configuration table")[1].split("To save memory")[0]
    rows = re.findall(r"^([a-z_]{5,}) +(\S+) +(\S+) ", table, re.M)
    lesson, small = (exercise3_train.PRESETS[name] for name in ("lesson", "small"))
    assert len(rows) == 7
    for name, for_lesson, for_small in rows:
        assert float(for_lesson) == getattr(lesson, name), name
        assert float(for_small) == getattr(small, name), name
    for preset in (lesson, small):
        size = preset.config["image_size"]
        assert f"``IMAGE_SIZE``, {size} pixels" in table
    assert size == exercise3_train.IMAGE_SIZE


def test_every_picture_is_there_and_described():
    pictures = re.findall(r"\.\. (?:image|figure):: (\S+)\n((?: +\S.*\n)+)", PAGE)
    assert len(pictures) > 15
    for path, options in pictures:
        assert (ROOT / path).is_file(), path
        assert len(re.search(r":alt: (.+)", options)[1]) > 20, path


def questions():
    """(name, choices, what is said of each) of the self-check questions."""
    found = re.split(r"^\.\. container:: question\n", PAGE, flags=re.M)[1:]
    for text in found:
        text = re.split(r"\n(?=\S)", text)[0]
        choices, says = text.split(".. dropdown:: Answer")
        name = re.search(r":name: (\S+)", choices)[1]
        items = (
            re.findall(r"^ +([a-d])\. (.+)$", part, re.M) for part in (choices, says)
        )
        yield name, *items


@pytest.mark.parametrize(("name", "choices", "says"), list(questions()))
def test_question_has_one_right_answer_and_a_word_for_each(name, choices, says):
    assert [letter for letter, _ in choices] == [letter for letter, _ in says]
    assert 3 <= len(choices) <= 4
    verdicts = [re.match(r"(Right|No)\. \S", words)[1] for _, words in says]
    assert verdicts.count("Right") == 1


def test_no_letter_is_mostly_right_and_no_name_is_used_twice():
    names, _, said = zip(*questions(), strict=True)
    assert len(set(names)) == len(names) >= 15
    right = [letter for says in said for letter, words in says if words[:5] == "Right"]
    assert max(map(right.count, "abc")) <= len(right) / 2


def test_instructors_are_led_to_every_question():
    linked = re.findall(r"README\.rst#(check-\S+)>", PAGES["instructors"])
    assert set(linked) == {name for name, *_ in questions()}


def test_weak_noise_times_the_root_of_two_is_slerp_in_the_middle():
    a, b = draw_noise([1]), draw_noise([2])
    b -= a * (a * b).sum() / a.square().sum()  # at right angles, and as long as a
    b *= a.norm() / b.norm()
    torch.testing.assert_close(2**0.5 * lerp(0.5, a, b), slerp(0.5, a, b))


def test_every_reference_is_cited_and_every_citation_listed():
    listed = set(re.findall(r"^\.\. \[(\w+)\]", PAGE, re.M))
    cited = set(re.findall(r"\[(\w+)\]_", PAGE))
    assert listed == cited


def test_comparison_table_is_what_was_measured():
    text = (ROOT / "comparison" / "results" / "comparison.csv").read_text("utf-8")
    rows = {row["set"]: row for row in csv.DictReader(text.splitlines())}
    columns = ("Frechet distance", "precision", "recall", "recognised", "seconds")
    table = PAGE.split(".. comparison table")[1].split("\n\nThe first row")[0]
    for name, row in rows.items():
        (line,) = re.findall(rf"^{name} +(.*)$", table, re.M)
        values = [float(row[column]) for column in columns if row[column]]
        for shown, value in zip(line.split(), values, strict=True):
            assert float(shown) == pytest.approx(value, rel=0.06, abs=0.006), name


def test_gan_is_faster_and_behind_in_every_other_column():
    text = (ROOT / "comparison" / "results" / "comparison.csv").read_text("utf-8")
    rows = {row["set"]: row for row in csv.DictReader(text.splitlines())}
    ours, gan = rows["DDPM"], rows["DCGAN"]
    assert float(gan["seconds"]) < float(ours["seconds"]) / 10
    assert float(gan["Frechet distance"]) > float(ours["Frechet distance"])
    for column in ("precision", "recall", "recognised", "smallest family"):
        assert float(gan[column]) < float(ours[column]), column


def measured_with(weight):
    """{row: what measure_model printed of (model, floor) for the first, then the second
    judge}: four numbers."""
    path = ROOT / "comparison" / "results" / f"guidance_{weight}.txt"
    _, table = path.read_text("utf-8").split(f", guidance {weight}, ")
    head, *rows = [line for line in table.splitlines()[1:] if line]
    assert [text.strip() for text in re.findall(r"[a-z]+, [a-z]+", head)] == [
        f"{who}, {judge}" for judge in ("first", "second") for who in ("model", "floor")
    ]
    return {row[:26].strip(): [*map(float, row[26:].split())] for row in rows}


@pytest.mark.parametrize("title", ["README.rst", "models/README.rst"])
def test_guidance_table_is_what_was_measured(title):
    table = (ROOT / title).read_text("utf-8").split(".. guidance table")[1]
    rows = re.findall(r"^ *(\d) +(\S+)(?: %)? +(\S+) +(\S+)", table, re.M)[:3]
    assert [row[0] for row in rows] == ["1", "2", "4"]
    for weight, asked, precision, recall in rows:
        found = {row: numbers[2] for row, numbers in measured_with(weight).items()}
        assert float(asked) == pytest.approx(100 * found["as asked"], abs=0.06)
        assert float(precision) == pytest.approx(found["precision"], abs=0.006)
        assert float(recall) == pytest.approx(found["recall"], abs=0.006)


def test_what_the_card_says_falls_short_is_what_was_measured():
    found, card = (
        measured_with(2),
        " ".join((ROOT / "models" / "README.rst").read_text("utf-8").split()),
    )
    first, _, second, floor = found["recall"]
    assert (
        f"recall is {first:.2f} and {second:.2f} where new textiles reach {floor:.2f}"
        in card
    )
    distance = found["Frechet distance"]
    least, most = sorted(round(distance[i] / distance[i + 1]) for i in (0, 2))
    assert (
        f"the Fréchet distance is {least} to {most} times that of new textiles" in card
    )
    assert f"have {found['grain'][0] / found['grain'][1]:.2f} times their grain" in card
    wax = found["wax_print: as asked"][2]
    assert f"of wax prints the second judge calls {wax:.0%}".replace("%", " %") in card


def test_minutes_of_training_are_those_of_the_log():
    path = ROOT / "training_results" / "embedded" / "log.csv"
    *_, last = csv.DictReader(path.read_text("utf-8").splitlines())
    logged = round(float(last["minutes"]))
    card = " ".join((ROOT / "models" / "README.rst").read_text("utf-8").split())
    cost = (
        rf"{logged} minutes on one CPU core and (\d+) more for guidance, some (\d+) for"
    )
    ((guidance, few),) = re.findall(cost, card)
    words = " ".join(PAGE.split())
    assert (
        f"ours saw |ddpm_pictures|, in {logged + int(guidance) + int(few)}, and"
        in words
    )


def test_every_family_has_a_row_and_a_source():
    table = PAGE.split(".. list-table:: The eight families")[1].split("\n\nA study")[0]
    rows = table.split("   * - ")[2:]
    assert [row.split("\n")[0].replace(" ", "_") for row in rows] == list(
        textiles.FAMILIES
    )
    for row, reference in zip(rows, textiles.FAMILIES.values(), strict=True):
        (cited,) = re.findall(r"\[(\w+)\]_", row)
        year = re.search(r"\((\d{4})\)", reference)[1]
        assert cited.endswith(year)
        assert re.search(rf"^\.\. \[{cited}\].*\({year}\)", PAGE, re.M)


def test_minutes_of_the_path_add_up():
    table = PAGE.split("**The marked path.**")[1].split(".. image::")[0]
    minutes = re.findall(r"^(\d+) ", table, re.M)
    assert sum(map(int, minutes)) == 50
    marked = re.findall(r"^▶ \*On the path: (\d+) minutes", PAGE, re.M)
    assert sorted(marked) == sorted(minutes)


def test_goals_off_the_path_are_those_that_the_checker_calls_so():
    (goals,) = re.findall(r"On the path: \d+ minutes for Goals (.*?)\. All", PAGE)
    (early,) = re.findall(r"On the path: .* ``python exercise2.* --goal (\d)``", PAGE)
    on_path = {f"Goal {goal}" for goal in [*goals.split(" and "), early]}
    assert {f"Goal {goal}" for goal in GOALS} - on_path == set(BEYOND)


def test_four_learnt_steps_cost_no_more_than_the_lesson_lets_one_hope():
    text = (ROOT / "comparison" / "results" / "few_steps.csv").read_text("utf-8")
    rows = {row["Walk"]: row for row in csv.DictReader(text.splitlines())}
    many, few = rows["DPM-Solver++, 20 steps"], rows["fast, 4 steps"]
    distance, precision = "Fréchet / floor", "Precision"
    assert float(few[distance]) <= 1.5 * float(many[distance])
    assert float(few[precision]) >= float(many[precision]) - 0.05
