"""The page of from_scratch: its numbers, commands and figures; and the notebook."""

import json
import re

import pytest
from notebook_checks import run_quickly, stored

from from_scratch import train_toy2d
from from_scratch.datasets import DATASETS, draw
from from_scratch.pages import draw_figures, experiments, plots
from from_scratch.pages.draw_figures import FIGURES
from from_scratch.pages.experiments import COSINE, LINEAR, OUT

FOLDER = OUT.parent
PAGE = (FOLDER / "README.rst").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
MEASURED = json.loads((OUT / "measured.json").read_text())


def ratio(figure, name):
    return MEASURED[figure][name]["ratio"]


def stated():
    """Fragments of the page, each with its numbers computed or as measured."""
    half = plots.timesteps_of(LINEAR, [0.5])[0]
    yield f"At the end :math:`\\bar\\alpha` is {LINEAR.alpha_bar[-1]:.5f}"
    at_500 = f"{LINEAR.alpha_bar[500]:.2f}"
    yield f"It is 0.5 at t = {half}, and at t = 500 it is {at_500}:"
    left = MEASURED["short_chain"]["unscaled"]["alpha_bar"]
    yield f"Fifty unscaled steps leave {left:.2f}:"
    yield f"is {ratio('short_chain', 'unscaled'):.1f} times that of a real draw"
    yield f"T it is {ratio('short_chain', 'rescaled'):.1f} times"
    yield f"points are {ratio('no_time_embedding', 'blind to t'):.1f} times as far"
    yield f"after t = 500, on an alpha-bar below {at_500}."
    losses = MEASURED["loss_by_timestep"]
    yield f"Its loss is {losses['the best possible']:.3f}"
    yield f"our network's is {losses['our network']:.3f}:"
    yield f"multiplies it by {LINEAR.alpha_bar[-1] ** -0.5:.0f}."
    yield f"the factor is about {round(COSINE.alpha_bar[-1].item() ** -0.5, -3):,.0f}"
    linear, cosine = (ratio("linear_vs_cosine", name) for name in ("linear", "cosine"))
    yield f"The ratios, {linear:.2f} and {cosine:.2f}, of one training each, cannot be told apart"
    ddpm, ddim = (MEASURED["ddpm_vs_ddim"][name] for name in ("ddpm 10", "ddim 10"))
    yield f"DDIM is ahead, with a ratio of {ddim:.1f} against {ddpm:.1f}"
    three, eight = (ratio("guidance", f"weight {w}") for w in (3, 8))
    yield f"rises to {three:.1f} at weight 3, and to {eight:.1f} at 8"
    for name in DATASETS:
        row = MEASURED["data_sets"][name]
        yield f"{name} {row['to_real']:.4f} {row['among_real']:.4f} {row['ratio']:.2f}"


@pytest.mark.parametrize("fragment", list(stated()))
def test_stated_numbers(fragment):
    assert fragment in WORDS


def test_measured_numbers_bear_out_what_the_page_says():
    for name in DATASETS:
        assert ratio("data_sets", name) <= 2
    steps = MEASURED["ddpm_vs_ddim"]
    assert steps["ddim 10"] < steps["ddpm 10"]
    for many in (50, 1000):  # "from 50 on they are equal"
        assert steps[f"ddim {many}"] == pytest.approx(steps[f"ddpm {many}"], rel=0.2)
    # "Another noise gives a little above": the mean of the other two of three.
    one, three = ratio("data_sets", "moons"), steps["ddpm 1000"]
    assert one < 1 < (3 * three - one) / 2 < 1.5
    losses = MEASURED["loss_by_timestep"]
    assert 0 < losses["our network"] - losses["the best possible"] < 0.005


def test_commands_on_the_page_are_accepted(capsys):
    commands = re.findall(r"python -m from_scratch\.([\w.]+)([^\n`]*)", PAGE)
    assert len(commands) > 8
    for module, flags in commands:
        if module == "train_toy2d":
            train_toy2d.parse_args(flags.split())
        else:
            assert module == "pages.draw_figures"
            assert not flags


def test_each_figure_on_the_page_is_one_that_a_script_draws():
    shown = set(re.findall(r"figures/([\w.]+)", PAGE))
    drawn = {f"{name}.png" for name in FIGURES}
    # Beside them lie those of the page "Break it", and a folder with those of part 2.
    files = [p for p in OUT.iterdir() if p.is_file() and "broken_" not in p.name]
    run = {path.name for path in files} - drawn - {"measured.json"}
    assert shown == drawn | run
    assert set(MEASURED) == set(FIGURES)
    assert sum(path.stat().st_size for path in files) < 3_000_000


def test_a_figure_and_its_numbers(monkeypatch, tmp_path):
    """The quickest of them, with fewer points and a network of one epoch."""
    fit = experiments.fit
    monkeypatch.setattr(draw_figures, "draw", lambda name, n, seed: draw(name, 1000, 1))
    monkeypatch.setattr(experiments, "fit", lambda *a, **k: fit(*a, epochs=1, **k))
    experiments.trained.cache_clear()
    draw_figures.main(["--out", str(tmp_path), "loss_by_timestep"])
    experiments.trained.cache_clear()
    assert {p.name for p in tmp_path.iterdir()} == {
        "loss_by_timestep.png",
        "measured.json",
    }
    measured = json.loads((tmp_path / "measured.json").read_text())
    losses = measured["loss_by_timestep"]
    # The exact answer is that of the page; one epoch is not enough to reach it.
    assert losses["the best possible"] == pytest.approx(
        MEASURED["loss_by_timestep"]["the best possible"], abs=0.015
    )
    assert losses["our network"] > losses["the best possible"] + 0.005


def test_an_unknown_figure_is_told_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        draw_figures.main(["--out", ".", "data_set"])
    assert re.search("no figure 'data_set'.*data_sets", capsys.readouterr().err)


# --- The notebook -----------------------------------------------------------

NOTEBOOK = FOLDER / "toy2d.ipynb"


def test_the_notebook_is_stored_with_its_outputs():
    assert len(stored(NOTEBOOK)) == 10
    assert NOTEBOOK.stat().st_size < 1_500_000


def test_the_notebook_runs(monkeypatch):
    quick = {"T = 1000": "T = 20", "EPOCHS = 70": "EPOCHS = 1"}
    cells = run_quickly(NOTEBOOK, quick, monkeypatch)
    assert "20,000" in "".join(c.source for c in cells)
    assert any("generated to real" in str(c.get("outputs")) for c in cells)
