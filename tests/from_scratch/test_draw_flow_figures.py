"""The page on flow matching: its numbers, commands and figures; and the notebook."""

import json
import math
import re

import pytest
import torch
from notebook_checks import run_quickly, stored

from from_scratch import distill_toy2d, train_images, train_toy2d
from from_scratch.denoisers import MLP
from from_scratch.flow import EVALUATIONS, STRAIGHT, couple, sample
from from_scratch.pages import draw_flow_figures, solution_flow
from from_scratch.pages.draw_flow_figures import ASKED, DIGITS_ASKED, FIGURES, OUT
from from_scratch.training import TRAINING_POINTS

FOLDER = OUT.parents[1]
PAGE = (FOLDER / "flow.rst").read_text("utf-8")
WORDS = " ".join(PAGE.split())
MEASURED = json.loads((OUT / "measured.json").read_text())
FEW, BENDS = MEASURED["few_steps"], MEASURED["pairs_and_flow"]
OFF, ONE_STEP = MEASURED["solution"]["rows"], MEASURED["one_step"]
# Part 2 has measured DDIM on digits, with the same judge, noises and labels.
PART_2 = json.loads((OUT.parent / "images" / "measured.json").read_text())["few_steps"]


def stated():
    """Fragments of the page, each with its numbers as measured."""
    cosine, straight, reflowed = BENDS.values()
    yield f"measures is {cosine:.2f} on the cosine path and {straight:.2f} on the"
    yield f"After one reflow the bend is {reflowed:.5f}"
    euler, heun = (FEW[f"flow, {name}"] for name in ("Euler", "Heun"))
    yield f"In eight evaluations Euler has a ratio of {euler['8']:.1f}, Heun of {heun['8']:.1f}"
    again = FEW["reflowed, Euler"]
    yield f"a ratio of {euler['1']:.0f} without, and of {again['1']:.1f} with reflow"
    for name, row in FEW.items():
        cells = [f"{row[str(n)]:.1f}" if str(n) in row else r"\-" for n in ASKED]
        yield f"{name} {' '.join(cells)} "
    for name, row in ONE_STEP.items():
        cells = f"{row['to real']:.3f} {row['ratio']:.2f} {row['off']:.2%}"
        end = f"{row['stretch']:.0f}" if "stretch" in row else r"\-"
        yield f"{name} {cells} {end} "
    ends = (ONE_STEP[name] for name in ("teacher, 32 steps", "student, 1 step"))
    steep, gentle = (row["stretch"] for row in ends)
    yield f"neighbours end {steep:.0f} times as far"
    yield f"does not learn a slope so steep: {gentle:.0f} in one step"
    yield f"further than {distill_toy2d.OFF} from each of the {TRAINING_POINTS:,} points"
    rows = {"DDIM": PART_2["ddim"]}
    rows |= {name: MEASURED["digits"][name.lower()] for name in ("Euler", "Heun")}
    for name, row in rows.items():
        for asked in (n for n in map(str, DIGITS_ASKED) if n in row):
            numbers = row[asked]
            yield (
                f"{name} {asked} {numbers['read as asked']:.3f} "
                f"{numbers['Frechet distance']:.3f} {numbers['recall']:.3f}"
            )
    ends = MEASURED["solution"]["ends"]
    yield f"off by {ends['t = 1']:.2f} at t = 1 and by {ends['t = 0']:.2f} at t = 0"
    for name, row in (
        ("Euler", "euler"),
        ("Heun", "heun"),
        ("Adams-Bashforth", "adams_bashforth"),
    ):
        cells = " ".join(f"{OFF[row][str(n)]:.4f}" for n in solution_flow.ASKED)
        yield f"{name} {cells}"


@pytest.mark.parametrize("fragment", list(stated()))
def test_stated_numbers(fragment):
    assert fragment in WORDS


def test_what_the_page_concludes_from_its_tables():
    ddim, at_times, euler, heun = (
        FEW[name]
        for name in ("DDIM", "DDIM at a flow's times", "flow, Euler", "flow, Heun")
    )
    assert at_times["2"] < euler["2"]
    gained = {n: (ddim[n] - at_times[n]) / (ddim[n] - euler[n]) for n in euler}
    assert gained["4"] > 0.7 and 0.4 < gained["8"] < 0.6
    assert max(gained["16"], gained["32"]) < 0.25
    assert ddim["2"] > ddim["1"]  # worse than a square as wide as the data
    assert heun["8"] < min(
        row["8"]
        for name, row in FEW.items()
        if name not in ("flow, Heun", "reflowed, Euler")
    )
    (steps,) = couple.__defaults__
    assert TRAINING_POINTS * steps * EVALUATIONS["heun"] == 800_000

    halvings = math.log2(distill_toy2d.STEPS)
    lessons = TRAINING_POINTS * distill_toy2d.EPOCHS * halvings
    assert 2 * lessons == 2_000_000  # the teacher is asked twice for each
    assert (
        distill_toy2d.STEPS == 32 and 3 * distill_toy2d.EPOCHS == solution_flow.EPOCHS
    )

    part_2, digits = PART_2["ddim"], MEASURED["digits"]
    for n, row in digits["euler"].items():
        assert row["read as asked"] > part_2[n]["read as asked"]
        assert row["recall"] < part_2[n]["recall"]
        distances = [row["Frechet distance"], part_2[n]["Frechet distance"]]
        assert (distances[0] < distances[1]) == (int(n) >= 10)
    first, *others = digits["heun"]
    assert all(digits["heun"][n]["recall"] < part_2[n]["recall"] for n in others)
    recalls = [row["recall"] for row in (*part_2.values(), *digits["euler"].values())]
    assert digits["heun"][first]["recall"] > max(recalls)


def test_one_step_is_as_near_to_the_data_and_more_often_off_them():
    whole, one, *students, real = ONE_STEP.values()
    assert all(row["ratio"] < 1.1 * whole["ratio"] for row in students)
    assert one["ratio"] > 5 * whole["ratio"]
    assert whole["stretch"] > 2 * students[-1]["stretch"]
    stretches = [row["stretch"] for row in students]
    assert stretches == sorted(stretches, reverse=True)
    assert whole["off"] > real["off"]
    assert 2.5 < students[-1]["off"] / whole["off"] < 3.5  # "three times as many"


def test_commands_on_the_page_are_accepted():
    commands = re.findall(r"python -m from_scratch\.([\w.]+)([^\n`]*)", PAGE)
    assert len(commands) >= 11
    for module, flags in commands:
        if module == "pages.solution_flow":
            assert not flags
        else:
            scripts = (distill_toy2d, train_images, train_toy2d)
            named = {s.__name__.removeprefix("from_scratch."): s for s in scripts}
            named[module].parse_args(flags.split())


def test_each_figure_on_the_page_is_one_that_a_script_draws():
    shown = set(re.findall(r"figures/flow/([\w.]+)", PAGE))
    drawn = {f"{name}.png" for name in FIGURES}
    run = {path.name for path in OUT.iterdir()} - drawn - {"measured.json"}
    assert len(run) == 5
    assert shown == drawn | run
    assert set(MEASURED) >= set(FIGURES)
    assert sum(path.stat().st_size for path in OUT.iterdir()) < 2_000_000
    figures = re.findall(r"\.\. (?:figure|image):: .*\n((?: +.*\n)+)", PAGE)
    assert len(figures) == len(shown)
    assert all(":alt:" in options for options in figures)


# --- The figures and the exercises ------------------------------------------


def test_each_way_to_sample_asks_as_often_as_it_says(monkeypatch):
    """Counted by the network itself; None where a step costs more than is allowed."""
    count = []

    class Counting(MLP):
        def forward(self, x, t, y=None):
            count.append(len(x))
            return super().forward(x, t, y)

    monkeypatch.setattr(
        draw_flow_figures,
        "trained",
        lambda dataset, schedule: (Counting(schedule.T), 2),
    )
    monkeypatch.setattr(draw_flow_figures, "reflowed", lambda dataset: Counting(1))
    for name, method in draw_flow_figures.methods("moons").items():
        for asked in (1, 4):
            count.clear()
            x = method(torch.zeros(3, 2), asked)
            if (name, asked) == ("flow, Heun", 1):
                assert x is None
            else:
                assert x.shape == (3, 2) and len(count) == asked


def test_adams_bashforth_is_of_second_order_and_asks_once():
    def u(x, t):
        return -x * t  # x(0) = x(1) exp(1/2)

    x, off = torch.ones(1, 1, dtype=torch.float64), []
    for steps in (50, 100):
        *_, (_, found, _) = sample(
            STRAIGHT, u, x, solution_flow.adams_bashforth(), steps
        )
        off.append(abs(found.item() - math.exp(0.5)))
    assert off[0] / off[1] == pytest.approx(4, rel=0.15)


def test_the_solution_runs(monkeypatch, capsys):
    fit = solution_flow.fit
    monkeypatch.setattr(solution_flow, "fit", lambda *a, **k: fit(*a, count=500, **k))
    monkeypatch.setattr(solution_flow, "FINE", 100)
    ends, rows = solution_flow.main(["--epochs", "1"])
    assert set(ends) == {"t = 0", "t = 1"}
    for row in rows.values():
        off = list(row.values())
        assert off == sorted(off, reverse=True)  # ever nearer to where it should be
    assert len(capsys.readouterr().out.splitlines()) == 5


# --- The notebook -----------------------------------------------------------

NOTEBOOK = FOLDER / "flow.ipynb"


def test_the_notebook_is_stored_with_its_outputs():
    assert len(stored(NOTEBOOK)) == 7
    assert NOTEBOOK.stat().st_size < 1_000_000


def test_the_notebook_runs(monkeypatch):
    quick = {"EPOCHS = 30": "EPOCHS = 1", "10_000": "1_000"}
    cells = run_quickly(NOTEBOOK, quick, monkeypatch)
    assert any("generated to real" in str(c.get("outputs")) for c in cells)
