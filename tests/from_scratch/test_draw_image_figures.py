"""The page on images: its numbers, commands and figures; exercises and notebook."""

import json
import re

import numpy as np
import pytest
import torch
from notebook_checks import run_quickly, stored
from scipy.optimize import brentq

from from_scratch import image_model, train_images
from from_scratch.datasets import PICTURES, pictures
from from_scratch.diffusion import timestep_pairs
from from_scratch.noise_schedule import (
    SCHEDULES,
    NoiseSchedule,
    cosine_beta,
    linear_beta,
)
from from_scratch.pages import draw_image_figures, solution_schedules, solution_steps
from from_scratch.pages.draw_image_figures import FIGURES, OUT, WEIGHTS
from from_scratch.pages.solution_steps import fewest
from from_scratch.unet import UNet

FOLDER = OUT.parent.parent
PAGE = (FOLDER / "images.rst").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
MEASURED = json.loads((OUT / "measured.json").read_text())
FREE, BY_CLASSIFIER = MEASURED["guidance_weights"].values()
STEPS = MEASURED["few_steps"]


def percent(share):
    return f"{share:.0%}".replace("%", " %")


def stated():
    """Fragments of the page, each with its numbers computed or as measured."""
    yield f"a model on {len(pictures('digits')[0]):,} handwritten digits of 8 x 8 pixels"
    variance = pictures("digits")[0].var().item()
    yield f"digits have a variance of {variance:.2f}, the noise has 1"
    yield f"makes up {percent(variance / (variance + 1))} of the variance"
    ema = MEASURED["moving_average"]
    yield (
        f"falls from {ema['last step']['Frechet distance']:.2f} to "
        f"{ema['mean']['Frechet distance']:.2f} through the mean"
    )
    yield (
        f"recall falls, from {FREE['1']['recall']:.2f} at weight 1 to "
        f"{FREE['10']['recall']:.2f} at 10"
    )
    yield f"At weight 1 only {percent(BY_CLASSIFIER['1']['read as asked'])} are read"
    frechet = {weight: row["Frechet distance"] for weight, row in FREE.items()}
    assert min(frechet, key=frechet.get) == "1.5"
    yield f"has its best value, {frechet['1.5']:.2f}, at weight 1.5"
    yield f"grows to {frechet['10']:.2f} at 10"
    for name, real in MEASURED["default_run"]["real"].items():
        yield f"{name} {MEASURED['default_run']['generated'][name]:.3f} {real:.3f}"
    yield f"for {train_images.SAMPLES:,} generated pictures"
    yield from stated_in_the_exercises()
    for name in ("mnist", "fashion_mnist", "cifar10"):
        settings = image_model.SETTINGS[name]
        colour, side = (3, 32) if name == "cifar10" else (1, 28)
        network = UNet(1000, colour, settings.widths, len(PICTURES[name]))
        count = sum(p.numel() for p in network.parameters()) / 1e6
        yield f"{name} {side} x {side}"
        yield f"{count:.1f} million {settings.epochs} "


def stated_in_the_exercises():
    for name, beta in (("linear", linear_beta), ("cosine", cosine_beta)):
        alpha_bar = NoiseSchedule(beta(1000)).alpha_bar
        row = MEASURED["schedules"]["schedules"][name]
        assert row["half gone at t"] == np.abs(alpha_bar.numpy() - 0.5).argmin()
    half = [MEASURED["schedules"]["schedules"][n]["half gone at t"] for n in SCHEDULES]
    yield f"#. At t = {half[0]} and t = {half[1]}."
    low, high = MEASURED["schedules"]["low"], MEASURED["schedules"]["high"]
    yield f"#. Between {low:.2f} and {high:.2f}. With more"
    rows = MEASURED["schedules"]["schedules"]
    yield f"linear schedule spends {percent(rows['linear']['decisive'])} of its"
    yield f"cosine schedule spends {percent(rows['cosine']['decisive'])} there"
    yield f"It spends {percent(rows['straight']['decisive'])} in the decisive range"
    for name, row in rows.items():
        yield (
            f"{name} {row['read as asked']:.3f} "
            f"{row['Frechet distance']:.3f} {row['recall']:.3f}"
        )
    for sampler in ("ddim", "ddpm"):
        for steps, row in STEPS[sampler].items():
            yield (
                f"{sampler.upper()} {steps} {row['read as asked']:.3f} "
                f"{row['recall']:.3f} {row['grey levels off']:.2f}"
            )
    off = {n: row["grey levels off"] for n, row in STEPS["ddim"].items()}
    yield f"there they differ by {off['25']:.2f}, with 10 steps still by {off['10']:.2f}"
    yield f"picture, {STEPS['ddpm']['100']['grey levels off']:.0f} grey levels away"
    needed = [
        fewest({int(n): row for n, row in STEPS[s].items()}) for s in ("ddim", "ddpm")
    ]
    assert needed[0] < needed[1]
    yield f"says {needed[0]} steps for DDIM, and {needed[1]} for DDPM."
    two = STEPS["weight 2, 2 steps"]
    yield f"{percent(two['read as asked'])} are read as asked, in two steps, and recall"
    yield f"recall is {two['recall']:.2f}. Clear"


@pytest.mark.parametrize("fragment", list(stated()))
def test_stated_numbers(fragment):
    assert fragment in WORDS


def test_figures_are_drawn_with_the_settings_of_the_default_run():
    assert draw_image_figures.WEIGHT == train_images.GUIDANCE_WEIGHT
    assert draw_image_figures.SAMPLES == train_images.SAMPLES
    assert train_images.SAMPLING_STEPS == 50


def test_the_default_run_draws_what_it_is_asked_for():
    """What a part of this kind must be able to do, as measured at its last drawing."""
    run = MEASURED["default_run"]
    assert run["real"]["read as asked"] >= 0.97  # the judge is worth listening to
    assert run["generated"]["read as asked"] >= 0.95
    assert run["25 steps"]["read as asked"] >= 0.93
    assert run["generated"]["to nearest"] > 0.9 * run["real"]["to nearest"]


def test_measured_numbers_bear_out_what_the_page_says():
    for row in (FREE[str(w)] for w in WEIGHTS if w >= 2):
        assert row["read as asked"] >= 0.995
    recalls = [FREE[str(w)]["recall"] for w in WEIGHTS if w >= 1]
    assert recalls == sorted(recalls, reverse=True)
    assert FREE["10"]["precision"] > FREE["1"]["precision"]
    for kind in (FREE, BY_CLASSIFIER):
        shares = [kind[str(w)]["read as asked"] for w in WEIGHTS]
        assert shares == sorted(shares)
    rows = MEASURED["schedules"]["schedules"]
    for name, best in (("decisive", 1), ("Frechet distance", -1)):  # as predicted
        values = [best * rows[n][name] for n in ("linear", "cosine", "straight")]
        assert values == sorted(values)
    recalls = [row["recall"] for row in rows.values()]
    assert min(recalls) == rows["straight"]["recall"]
    crossed = rows["straight"]["noise"] * 1000  # timesteps of most noise
    pairs = timestep_pairs(1000, solution_schedules.STEPS)
    assert sum(t >= 1000 - crossed for t, _ in pairs) == 2
    assert MEASURED["nearest_real"]["least"] > 0  # alike, but none is a copy
    for steps, row in STEPS["ddim"].items():  # "From 25 on, DDIM misses the 95 %"
        assert (row["read as asked"] < 0.95) == (int(steps) >= 25)
    off = {int(n): row["grey levels off"] for n, row in STEPS["ddim"].items()}
    assert all((value < 0.5) == (steps >= 25) for steps, value in off.items())
    for sampler in ("ddim", "ddpm"):
        assert STEPS[sampler]["2"]["read as asked"] > 0.95
        assert STEPS[sampler]["2"]["recall"] < STEPS[sampler]["100"]["recall"] - 0.05


def test_commands_on_the_page_are_accepted():
    text = PAGE.replace("\\\n", " ")
    commands = re.findall(r"python -m from_scratch\.([\w.]+)([^\n`]*)", text)
    assert len(commands) > 6
    for module, flags in commands:
        if module == "train_images":
            train_images.parse_args(flags.split())
        else:
            known = ("solution_schedules", "solution_steps", "draw_image_figures")
            assert module in {f"pages.{name}" for name in known}
            assert flags == ""


def test_each_figure_on_the_page_is_one_that_a_script_draws():
    shown = set(re.findall(r"figures/images/([\w.]+)", PAGE))
    drawn = {f"{name}.png" for name in FIGURES}
    run = {path.name for path in OUT.iterdir()} - drawn - {"measured.json"}
    assert len(run) == 6
    assert shown == drawn | run
    assert set(MEASURED) == {"default_run", *FIGURES}
    assert sum(path.stat().st_size for path in OUT.iterdir()) < 500_000
    figures = re.findall(r"\.\. (?:figure|image):: .*\n((?: +.*\n)+)", PAGE)
    assert len(figures) == len(shown)
    assert all(":alt:" in options for options in figures)


# --- The exercises ----------------------------------------------------------


def test_the_straight_schedule_is_straight():
    alpha_bar = NoiseSchedule(solution_schedules.straight_beta(100)).alpha_bar
    expected = torch.arange(100, 0, -1).double() / 101
    torch.testing.assert_close(alpha_bar, expected)


def test_where_timesteps_lie_against_the_formula_of_the_cosine_schedule():
    """alpha_bar = cos^2((u + s) / (1 + s) pi / 2), solved for u = (t + 1) / T."""

    def u(signal):
        def gap(u):
            return np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2 - signal

        return brentq(gap, 0, 1)

    schedule = NoiseSchedule(cosine_beta(1000))
    found = solution_schedules.where_timesteps_lie(schedule, 0.1, 0.8)
    assert found["half gone at t"] == pytest.approx(1000 * u(0.5) - 1, abs=1)
    assert found["detail"] == pytest.approx(u(0.8), abs=0.002)
    assert found["decisive"] == pytest.approx(u(0.1) - u(0.8), abs=0.002)
    assert found["noise"] == pytest.approx(1 - u(0.1), abs=0.002)


def test_the_decisive_range_is_where_reading_becomes_possible():
    signals, shares = [0.9, 0.7, 0.5, 0.3, 0.1], [0.97, 0.89, 0.6, 0.2, 0.1]
    assert solution_schedules.decisive(signals, shares) == (0.3, 0.7)


def test_fewest_steps():
    rows = {n: {"recall": r} for n, r in ((2, 0.5), (10, 0.86), (50, 0.84), (100, 0.9))}
    assert fewest(rows) == 10


@pytest.fixture
def small(monkeypatch):
    """Smaller networks, one epoch, fewer pictures."""
    tiny = image_model.Settings((16, 16), 1, 1, 2e-3, 0.99)
    monkeypatch.setitem(image_model.SETTINGS, "digits", tiny)
    for module in (solution_schedules, solution_steps):
        monkeypatch.setattr(
            module,
            "pictures",
            lambda name, train=True: [part[:60] for part in pictures(name, train)],
        )


def test_the_solution_on_schedules_runs(small, monkeypatch, capsys):
    monkeypatch.setattr(solution_schedules, "STEPS", 2)
    # An untrained guide guesses: what it reads would not lie in any order.
    monkeypatch.setattr(solution_schedules, "LOW", 0.0)
    monkeypatch.setattr(solution_schedules, "HIGH", 1.1)
    (signals, shares), rows = solution_schedules.main(["--epochs", "1"])
    assert "straight" not in SCHEDULES
    assert len(signals) == len(shares) == 50
    assert set(rows) == {"linear", "cosine", "straight"}
    for row in rows.values():
        assert row["detail"] + row["decisive"] + row["noise"] == pytest.approx(1)
        assert set(row) == set(MEASURED["schedules"]["schedules"]["linear"])
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_solution_on_steps_runs(small, monkeypatch, capsys):
    monkeypatch.setattr(solution_steps, "STEPS", (2, 4, 8))
    monkeypatch.setattr(solution_steps, "MANY", 16)
    with pytest.raises(SystemExit, match=r"no outputs/digits/model.pt yet: train one"):
        solution_steps.main([])
    x_0, y = pictures("digits")
    model = image_model.new(image_model.config_of("digits", x_0, timesteps=50))
    image_model.train(model, x_0, y, 1, "model.pt")
    rows = solution_steps.main(["--model", "model.pt"])
    assert [list(by_steps) for by_steps in rows.values()] == [[2, 4, 8]] * 2
    off = [row["grey levels off"] for row in rows["ddim"].values()]
    assert off == sorted(off, reverse=True)  # ever nearer to the end of the path
    assert rows["ddpm"][8]["grey levels off"] > 2 * off[-1]
    assert "steps suffice" in capsys.readouterr().out


def test_an_unknown_figure_is_told_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        draw_image_figures.main(["--out", ".", "schedule"])
    assert re.search("no figure 'schedule'.*schedules", capsys.readouterr().err)


# --- The notebook -----------------------------------------------------------

NOTEBOOK = FOLDER / "images.ipynb"


def test_the_notebook_is_stored_with_its_outputs():
    assert len(stored(NOTEBOOK)) == 8
    assert NOTEBOOK.stat().st_size < 500_000


def test_the_notebook_runs(monkeypatch):
    quick = {
        "\nEPOCHS = 60": "\nEPOCHS = 1",
        "CLASSIFIER_EPOCHS = 25": "CLASSIFIER_EPOCHS = 1",
        "SAMPLES = 360": "SAMPLES = 10",
        "\nT = 1000": "\nT = 20",
        '= pictures("digits")': '= [part[:300] for part in pictures("digits")]',
        "STEPS = 50": "STEPS = 3",
    }
    cells = run_quickly(NOTEBOOK, quick, monkeypatch)
    assert "held-out digits read right" in str([c.get("outputs") for c in cells])
