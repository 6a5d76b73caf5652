"""Distillation in the plane: its target in closed form, its command, its picture."""

import copy
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy.spatial import KDTree

from from_scratch import distill_toy2d
from from_scratch.datasets import draw
from from_scratch.denoisers import MLP
from from_scratch.distill_toy2d import OFF, distill, halving_loss, off_data, stretch
from from_scratch.flow import STRAIGHT

MEAN, STD = torch.tensor([0.4, -0.3]), torch.tensor([0.5, 1.2])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def expected_x_0(x, t):
    """E[x_0 | x_t] of a normal distribution with MEAN and STD; t: (B,)."""
    t = t[:, None]
    gain = (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2)
    return MEAN + gain * (x - (1 - t) * MEAN)


def exact(x, t):
    """The exact velocity, E[eps - x_0 | x_t], for t above 0."""
    return (x - expected_x_0(x, t)) / t[:, None]


def ddim(x, t, s):
    """x_s by a DDIM step of the exact denoiser: predicted data and noise, mixed anew."""
    x_0 = expected_x_0(x, t)
    eps = (x - (1 - t)[:, None] * x_0) / t[:, None]
    return (1 - s)[:, None] * x_0 + s[:, None] * eps


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_one_step_at_the_least_loss_is_two_ddim_steps_of_the_exact_denoiser(steps):
    x_0 = MEAN + STD * torch.randn(200, 2, generator=rng())
    eps = torch.randn(200, 2, generator=rng(1))
    asked = []

    def two_in_one(x, t, off=0.0):
        asked.append(t)
        half, s = t - 1 / (2 * steps), t - 1 / steps
        x_s = ddim(ddim(x, t, half), half, s)
        return (x - x_s) * steps + off

    t = torch.rand(200, generator=rng(2))
    loss = partial(halving_loss, exact, steps, STRAIGHT)
    assert loss(two_in_one, x_0, t, eps).max() < 1e-9
    off = loss(partial(two_in_one, off=0.1), x_0, t, eps)
    torch.testing.assert_close(off, torch.full((200,), 0.01), atol=1e-4, rtol=0)
    times = asked[0].unique().tolist()  # those from which a walk of `steps` sets out
    assert times == pytest.approx([(i + 1) / steps for i in range(steps)])


def test_the_best_single_step_is_a_known_affine_map():
    """Noise tells nothing of the data, so the first of two steps goes half-way to MEAN;
    the second ends on E[x_0 | x_1/2]. Both are affine, and so least squares find it."""
    student = torch.nn.Linear(2, 2)
    optimizer = torch.optim.LBFGS(student.parameters(), max_iter=50)
    x_0 = MEAN + STD * torch.randn(500, 2, generator=rng())
    eps, t = torch.randn(500, 2, generator=rng(1)), torch.rand(500, generator=rng(2))

    def answer(x, t):
        return student(x)

    def closure():
        optimizer.zero_grad()
        loss = halving_loss(exact, 1, STRAIGHT, answer, x_0, t, eps).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    stretch = STD**2 / (1 + STD**2)  # of x_0 = x_1 - u, along each coordinate
    expected = torch.eye(2) - torch.diag(stretch)
    torch.testing.assert_close(student.weight, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(student.bias, -MEAN, atol=1e-3, rtol=0)


class Exact(torch.nn.Module):
    """The exact velocity, and what a student learns on top of it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.learnt = MLP(1, width=32, depth=1)
        torch.nn.init.zeros_(self.learnt.proj_out.weight)
        torch.nn.init.zeros_(self.learnt.proj_out.bias)

    def forward(self, x, t):
        return exact(x, t) + self.learnt(x, t)


def test_halving_again_and_again_ends_on_the_flow_in_one_step(monkeypatch):
    """Of a normal distribution it is known where the flow leads: to MEAN + STD noise."""
    monkeypatch.setattr(distill_toy2d, "STEPS", 16)
    x_0 = MEAN + STD * torch.randn(2000, 2, generator=rng())
    teacher, x = Exact(), torch.randn(500, 2, generator=rng(1))
    before = copy.deepcopy(teacher.state_dict())
    students = dict(distill(teacher, x_0, epochs=10))
    assert list(students) == [8, 4, 2, 1]
    end = MEAN + STD * x
    with torch.no_grad():
        t = torch.ones(500)
        off = (x - students[1](x, t) - end).norm(dim=1).mean()
        assert off < 0.15 < (x - teacher(x, t) - end).norm(dim=1).mean() / 3
    torch.testing.assert_close(teacher.state_dict(), before)


# --- The command ------------------------------------------------------------


def test_off_the_data_by_a_tree_of_neighbours():
    x_0, x = draw("moons", 2000, seed=0)[0], torch.randn(500, 2, generator=rng())
    distance, _ = KDTree(x_0.numpy()).query(x.numpy())
    assert off_data(x, x_0).tolist() == (distance > OFF).tolist()
    assert not off_data(x_0, x_0).any()


def test_the_stretch_of_a_line_that_is_bent_by_a_known_function():
    u = torch.linspace(0, 1, 2001)
    begin, end = torch.stack([0 * u, u], dim=1), torch.stack([u**3, 4 * u], dim=1)
    walk = torch.stack([begin, -begin, end])  # what lies between does not count
    assert stretch(walk) == pytest.approx(5, rel=1e-3)  # (3 u^2, 4), at u = 1


def test_a_run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(distill_toy2d, "STEPS", 16)
    monkeypatch.setattr(distill_toy2d, "POINTS", 300)
    monkeypatch.setattr(distill_toy2d, "TRAINING_POINTS", 1500)
    fit = partial(distill_toy2d.fit, count=1500)
    monkeypatch.setattr(distill_toy2d, "fit", fit)
    distill_toy2d.main(["--dataset", "blobs", "--epochs", "2", "--out", "pictures"])
    out = capsys.readouterr().out
    rows = re.findall(r"^(\w.+?)  +[\d.]+ +([\d.]+) ", out, re.MULTILINE)
    names = ["teacher, 16 steps", "teacher, 1 step"]
    names += [f"student, {n} steps" for n in (8, 4, 2)]
    assert [row[0] for row in rows] == [*names, "student, 1 step", "real points"]
    ratio = {name: float(ratio) for name, ratio in rows}
    assert ratio["real points"] < 2
    assert ratio["student, 1 step"] < ratio["teacher, 1 step"] / 2
    assert f"to {tmp_path / 'pictures'}." in out
    with Image.open(Path("pictures", "one_step.png")) as image:
        assert image.size[0] == 1120
        assert len(image.convert("RGB").getcolors(100_000)) > 8


BAD = {
    "--dataset moon": "--dataset: moon is none of moons, ",
    "--epochs 0": "--epochs: 0 is not a whole number from 1",
    "--seed one": "--seed: one is not a whole number from 0",
    "--out file/folder": "file/folder: Not a directory",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_gets_one_sentence(command, capsys):
    Path("file").touch()
    with pytest.raises(SystemExit) as caught:
        distill_toy2d.main(command.split())
    assert caught.value.code == 2
    assert BAD[command] in capsys.readouterr().err.splitlines()[-1]
    assert not Path("outputs").exists()
