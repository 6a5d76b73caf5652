"""from_scratch's data sets, its command line, and what a run writes."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import from_scratch
from from_scratch import draw_figures, plots, train_toy2d
from from_scratch.datasets import BLOB_CENTRES, BLOB_STD, DATASETS, draw, parts
from from_scratch.metrics import against_real
from from_scratch.noise_schedule import NoiseSchedule, linear_beta

PACKAGE = Path(from_scratch.__file__).parent
PICTURES = {
    "training_curve.png",
    "forward_process.png",
    "reverse_process.png",
    "sampling_animation.gif",
    "noise_schedule.png",
    "real_vs_generated.png",
    "marginal_distributions.png",
}
QUICK = ["--epochs", "1", "--batch-size", "2000", "--timesteps", "10"]


# --- Data -------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_data_have_the_spread_of_noise(name):
    x_0, part = draw(name, 20_000, 5)
    assert x_0.shape == (20_000, 2)
    assert x_0.dtype == torch.float32
    assert x_0.mean(0).abs().max() < 0.03
    assert x_0.square().sum(1).mean() / 2 == pytest.approx(1, abs=0.02)
    assert x_0.abs().max() < plots.SIDE
    assert part.unique().tolist() == list(range(parts(name)))


@pytest.mark.parametrize("name", DATASETS)
def test_draws_are_independent_and_repeatable(name):
    one, _ = draw(name, 500, 5)
    assert torch.equal(one, draw(name, 500, 5)[0])
    assert not torch.isin(one, draw(name, 500, 6)[0]).any()
    # Counts of a part scatter like those of independent draws, not like quotas.
    counts = [(draw(name, 500, seed)[1] == 1).sum().item() for seed in range(30)]
    share = np.mean(counts) / 500
    expected = np.sqrt(500 * share * (1 - share))
    assert 0.6 * expected < np.std(counts) < 1.5 * expected


def test_points_lie_on_their_shapes():
    def shape(name):
        x, part = draw(name, 2000, 1)
        _, centre, scale = DATASETS[name]
        return x.numpy() * scale + centre, part.numpy()

    x, part = shape("circles")
    radius = np.hypot(*x.T)
    assert np.abs(radius - np.where(part == 0, 1, 0.5)).max() < 5 * 0.04
    x, part = shape("blobs")
    assert np.hypot(*(x - BLOB_CENTRES[part]).T).max() < 5 * BLOB_STD
    x, part = shape("checkerboard")
    square = np.floor(x)
    assert (square.sum(axis=1) % 2 == 0).all()
    assert {tuple(s) for s in square} == {
        (i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0
    }
    x, part = shape("roundel")
    radius = np.hypot(*x.T)
    assert radius[part == 0].max() < 0.161
    assert 0.32 < radius[part == 1].min() < radius[part == 1].max() < 0.74
    assert 0.849 < radius[part == 2].min() < radius[part == 2].max() < 1.001
    angles = np.angle(np.exp(6j * np.arctan2(*x[part == 1].T[::-1]))) / 6
    assert np.abs(angles).max() < np.arcsin(0.14 / 0.4)  # six petals, gaps between


def test_an_unknown_data_set_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"No data set 'moon'\. Known: moons, circles"):
        draw("moon", 10, 0)


# --- A run ------------------------------------------------------------------


def test_generated_points_are_as_near_to_real_ones_as_real_ones_are(capsys, tmp_path):
    """Even after 5 epochs of training, and in 100 steps."""
    flags = ["--dataset", "blobs", "--epochs", "5", "--timesteps", "100"]
    train_toy2d.main([*flags, "--out", "pictures"])
    out = capsys.readouterr().out
    to_real, among_real, ratio = map(
        float,
        re.search(r"to real ([\d.]+), real to real ([\d.]+); ratio ([\d.]+)\.", out)
        .groups(),
    )  # fmt: skip
    assert ratio == pytest.approx(to_real / among_real, abs=0.01)
    assert ratio <= 2
    pairs = [draw("blobs", 2000, seed)[0] for seed in range(40, 46)]
    expected = against_real(draw("blobs", 2000, 50)[0], pairs)[0]
    assert among_real == pytest.approx(expected, rel=0.5)
    assert f"to {tmp_path / 'pictures'} in " in out
    assert {path.name for path in Path("pictures").iterdir()} == PICTURES
    for name in PICTURES:
        with Image.open(Path("pictures", name)) as image:
            assert image.size[0] == (360 if name.endswith("gif") else 1120)
            assert getattr(image, "n_frames", 1) == (30 if name.endswith("gif") else 1)
            assert len(image.convert("RGB").getcolors(100_000)) > 8


GUIDED = ["--dataset", "s_curve", "--conditional", "--guidance-weight", "2.5"]
FLAGS = [
    [*GUIDED, "--schedule", "cosine", "--sampler", "ddim", "--sampling-steps", "4"],
    ["--no-time-embedding", "--unscaled-betas", "--timesteps", "2"],
]


@pytest.fixture
def small(monkeypatch):
    for name, value in (("TRAINING_POINTS", 2000), ("POINTS", 200), ("REAL_DRAWS", 2)):
        monkeypatch.setattr(train_toy2d, name, value)


@pytest.mark.parametrize("flags", FLAGS)
def test_flags(flags, small, capsys):
    train_toy2d.main(QUICK + flags)
    assert {path.name for path in Path("outputs").iterdir()} == PICTURES
    assert "ratio" in capsys.readouterr().out


def test_a_seed_names_a_run(small, monkeypatch, capsys):
    monkeypatch.setattr(train_toy2d, "draw_all", lambda *_: ["nothing"])
    lines = []
    for seed in ("3", "3", "4"):
        train_toy2d.main([*QUICK, "--seed", seed])
        lines.append(capsys.readouterr().out.splitlines()[0])
    assert lines[0] == lines[1] != lines[2]


def test_conditional_networks_draw_what_they_are_asked_for():
    network, clip = draw_figures.trained("blobs", epochs=3, conditional=True)
    asked = torch.arange(6).repeat(draw_figures.POINTS)[: draw_figures.POINTS]
    schedule = draw_figures.LINEAR
    guided = draw_figures.guided(network, asked, 1.0)
    x = draw_figures.generate((guided, clip), schedule, "ddpm", 50)
    x_0, part = draw("blobs", 2000, 1)
    assert (plots.nearest_part(x, x_0, part) == asked).float().mean() > 0.95


BAD = {
    "--dataset moon": "--dataset: moon is none of moons, circles, .*roundel",
    "--schedule sigmoid": "--schedule: sigmoid is none of linear, cosine",
    "--sampler euler": "--sampler: euler is none of ddpm, ddim",
    "--timesteps 1": "1 is not a whole number from 2 to 10000",
    "--timesteps 2.5": "2.5 is not a whole number from 2 to 10000",
    "--sampling-steps 0": "0 is not a whole number from 1 to 10000",
    "--sampling-steps 51 --timesteps 50": "51 is not a whole number from 1 to 50",
    "--epochs 0": "0 is not a whole number from 1",
    "--batch-size 20001": "20001 is not a whole number from 1 to 20000",
    "--seed -1": "-1 is not a whole number from 0",
    "--conditional --guidance-weight nan": "nan is not a number from 0 to 20",
    "--guidance-weight 2": "--guidance-weight: allowed only with --conditional",
    "--unscaled-betas --schedule cosine": "allowed only with --schedule linear",
    "--out file/folder": "file/folder: Not a directory",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_gets_one_sentence(command, capsys):
    Path("file").touch()
    with pytest.raises(SystemExit) as caught:
        train_toy2d.main(command.split())
    assert caught.value.code == 2
    assert re.search(BAD[command], capsys.readouterr().err.splitlines()[-1])
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("DATASET", "moon"), ("TIMESTEPS", 1), ("SAMPLER", "euler")]
)
def test_a_bad_config_gets_one_sentence(name, value, monkeypatch, capsys):
    monkeypatch.setattr(train_toy2d, name, value)
    with pytest.raises(SystemExit):
        train_toy2d.main([])
    assert re.search(f"--{name.lower()}: {value} is n", capsys.readouterr().err)


def test_an_unknown_figure_is_told_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        draw_figures.main(["--out", ".", "data_set"])
    assert re.search("no figure 'data_set'.*data_sets", capsys.readouterr().err)


# --- Pictures ---------------------------------------------------------------


def test_an_interrupted_write_leaves_the_old_picture():
    path = Path("picture.png")
    path.write_text("old")

    def write(temporary):
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plots.replace(path, write)
    assert path.read_text() == "old"
    assert [p.name for p in Path().iterdir()] == ["picture.png"]
    with pytest.raises(SystemExit, match=r"Cannot write nowhere/picture.png: No such"):
        plots.replace(Path("nowhere/picture.png"), lambda at: at.write_text("new"))


def test_panels_are_shown_where_the_signal_is_what_they_say():
    schedule = NoiseSchedule(linear_beta(1000))
    times = plots.timesteps_of(schedule)
    assert times[0] == -1
    assert times[-1] == 999
    shown = [schedule.alpha_bar_at(t) for t in times]
    assert shown == pytest.approx([1, 0.9, 0.5, 0.1, 0], abs=0.003)


def test_colours_say_where_points_belong():
    x_0, part = draw("moons", 1000, 0)
    assert torch.equal(plots.nearest_part(x_0 + 1e-4, x_0, part), part)
    x_T = torch.tensor([[0.5, 0.0], [-2.0, 1.0], [3.0, -1.0]])
    brightness = plots.origin_colours(x_T)[:, :3].mean(axis=1)
    assert brightness.argsort().tolist() == [1, 0, 2]


# --- The package ------------------------------------------------------------


def imported(path):
    """The names of the modules that a file imports, as written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_run_one_way():
    listed = re.findall(r"^    (\w+) ", from_scratch.__doc__, re.MULTILINE)
    files = {path.stem: path for path in PACKAGE.glob("*.py")}
    assert set(listed) == set(files) - {"__init__"}
    above = {path.stem for path in PACKAGE.parent.glob("*.py")}
    for i, name in enumerate(listed):
        names = set(imported(files[name]))
        assert not {n.split(".")[0] for n in names} & above
        own = {n.split(".")[1] for n in names if n.startswith("from_scratch.")}
        assert own <= set(listed[:i])
    for path in PACKAGE.parent.glob("*.py"):
        assert not any(n.startswith("from_scratch") for n in imported(path))
