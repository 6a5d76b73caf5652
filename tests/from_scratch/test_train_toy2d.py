"""A run on points: its command line, what it writes, and how good it is."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from from_scratch import train_toy2d
from from_scratch.datasets import draw
from from_scratch.diffusion import guided
from from_scratch.metrics import against_real
from from_scratch.pages import experiments, plots

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
    ["--width", "8", "--depth", "1", "--activation", "relu", "--last-beta", "0.005"],
]
# A flow has time, but no timesteps, and no schedule to be drawn.
FLOW = ["--process", "flow", "--epochs", "1", "--batch-size", "2000"]
FLOW_FLAGS = [
    ["--reflow", "2", "--sampler", "euler", "--sampling-steps", "1"],
    ["--path", "cosine", "--conditional", "--guidance-weight", "2"],
]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(train_toy2d, "POINTS", 200)
    few = partial(train_toy2d.reflow, count=500)
    monkeypatch.setattr(train_toy2d, "reflow", few)


@pytest.mark.parametrize("flags", FLAGS)
def test_flags(flags, small, capsys):
    train_toy2d.main(QUICK + flags)
    assert {path.name for path in Path("outputs").iterdir()} == PICTURES
    assert "ratio" in capsys.readouterr().out


@pytest.mark.parametrize("flags", FLOW_FLAGS)
def test_flags_of_a_flow(flags, small, capsys):
    train_toy2d.main(FLOW + flags)
    written = {path.name for path in Path("outputs").iterdir()}
    assert written == PICTURES - {"noise_schedule.png"}
    (bend,) = re.findall(r"Bend of the trajectories: ([\d.]+)", capsys.readouterr().out)
    assert (float(bend) == 0) == ("1" in flags)  # one step is always straight


def test_a_seed_names_a_run(small, monkeypatch, capsys):
    monkeypatch.setattr(train_toy2d, "draw_points_run", lambda *_: ["nothing"])
    lines = []
    for seed in ("3", "3", "4"):
        train_toy2d.main([*QUICK, "--seed", seed])
        lines.append(capsys.readouterr().out.splitlines()[0])
    assert lines[0] == lines[1] != lines[2]


def test_conditional_networks_draw_what_they_are_asked_for():
    network, clip = experiments.trained("blobs", epochs=3, conditional=True)
    asked = torch.arange(6).repeat(experiments.POINTS)[: experiments.POINTS]
    model = guided(network, asked, 1.0), clip
    x = experiments.generate(model, experiments.noise(), steps=50)
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
    "--last-beta 0.1 --schedule cosine": "allowed only with --schedule linear",
    "--first-beta 0": "0 is not a number from 1e-06 to 0.5",
    "--width 0": "0 is not a whole number from 1 to 2000",
    "--activation sine": "sine is none of gelu, relu, silu, tanh",
    "--out file/folder": "file/folder: Not a directory",
    "--process flows": "--process: flows is none of diffusion, flow",
    "--process flow --sampler ddim": "--sampler: ddim is none of euler, heun",
    "--process flow --timesteps 50": "--timesteps: allowed only with --process diff",
    "--process flow --unscaled-betas": "--unscaled-betas: allowed only with --process",
    "--process flow --path bent": "--path: bent is none of straight, cosine",
    "--path cosine": "--path: allowed only with --process flow",
    "--reflow 1": "--reflow: allowed only with --process flow",
    "--process flow --reflow 1 --conditional": "--reflow: not with --conditional",
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


def test_knobs_of_network_and_betas_are_read(small, monkeypatch):
    seen = []
    monkeypatch.setattr(
        train_toy2d,
        "draw_points_run",
        lambda args, schedules, network, *_: seen.append((schedules, network)) or ["x"],
    )
    knobs = ["--width", "24", "--depth", "2", "--activation", "tanh"]
    betas = ["--first-beta", "0.001", "--last-beta", "0.01", "--unscaled-betas"]
    train_toy2d.main([*QUICK, *knobs, *betas])
    ((schedules, network),) = seen
    assert [layer.out_features for layer in network.layers] == [24, 24]
    assert network.activation is torch.tanh
    expected = torch.linspace(0.001, 0.01, 10, dtype=torch.float64)
    torch.testing.assert_close(schedules["linear"].beta, expected)
