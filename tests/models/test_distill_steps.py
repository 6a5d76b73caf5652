"""Few steps: the teacher's way against Gaussians whose way is known, and the student."""

import dataclasses

import pytest
import torch
from conftest import TORUS

from ddpm.checkpoints import load_diffusion, save_weights
from ddpm.files import UserError
from ddpm.network import FabricUnet
from ddpm.sampling import FAST, ddim_step, denoise, draw_noise
from models import distill_guidance, distill_steps
from models.distill_steps import (
    FEW_STEPS,
    SETTINGS,
    Distillation,
    angle,
    distill,
    lead,
    turn,
    way,
    widened,
)

BETA = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
ALPHA_BAR = torch.cumprod(1 - BETA, dim=0)
SPREAD = 0.4  # of Gaussian data around 0


def variance(t):
    alpha_bar = torch.cat([torch.ones(1).double(), ALPHA_BAR])[t + 1]
    return 1 + alpha_bar * (SPREAD**2 - 1)


def velocity(x, t):
    """v of Gaussian data: x_0 and eps are what regression on x_t gives."""
    alpha_bar = ALPHA_BAR[t]
    part = (alpha_bar * (1 - alpha_bar)).sqrt() * (1 - SPREAD**2) / variance(t)
    return part[:, None, None, None] * x


def exact(x, t, s):
    """Each x stays as many standard deviations from the mean (Song et al. 2021)."""
    return x * (variance(s) / variance(t)).sqrt()[:, None, None, None]


def test_a_turn_is_a_ddim_step():
    x, v = draw_noise([1, 2], 8), draw_noise([3, 4], 8)
    t, s = torch.tensor([700, 700]), torch.tensor([300, 300])
    a, a_next = ALPHA_BAR[700].item(), ALPHA_BAR[300].item()
    x_0, eps = a**0.5 * x - (1 - a) ** 0.5 * v, (1 - a) ** 0.5 * x + a**0.5 * v
    ours = turn(x, v, angle(ALPHA_BAR, t) - angle(ALPHA_BAR, s))
    theirs = ddim_step(x_0=x_0, eps=eps, a_next=a_next)
    torch.testing.assert_close(ours.float(), theirs)
    assert angle(ALPHA_BAR, torch.tensor([-1])).item() == 0


def test_lead_is_of_second_order():
    """Half the step makes a quarter of the error, or less; a turn's is halved."""
    x, start = draw_noise([1], 8).double(), 600

    def error(step, count):
        at, x_t = start, x
        for k in range(1, count + 1):
            stop = start - k * 300 // count
            t, s = torch.tensor([at]), torch.tensor([stop])
            if step is lead:
                x_t = lead(velocity, ALPHA_BAR, x_t, t, s)
            else:
                by = angle(ALPHA_BAR, t) - angle(ALPHA_BAR, s)
                x_t = turn(x_t, velocity(x_t, t), by)
            at = stop
        return (x_t - exact(x, torch.tensor([start]), torch.tensor([at]))).norm()

    assert error(lead, 4) < 0.3 * error(lead, 2) < 0.1 * error(turn, 2)
    assert 0.4 < error(turn, 4) / error(turn, 2) < 0.6


class Gaussian(torch.nn.Module):
    """A network of that data; it keeps what it was asked."""

    def __init__(self):
        super().__init__()
        self.few_steps, self.asked = FEW_STEPS, []

    in_steps = FabricUnet.in_steps

    def forward(self, x, t, label):
        self.asked.append(label)
        return velocity(x.double(), t)


@pytest.fixture
def gaussian(monkeypatch):
    monkeypatch.setattr("models.train_embedded.precision", lambda _: "no")
    diffusion = torch.nn.Module()
    diffusion.model, diffusion.alphas_cumprod = Gaussian(), ALPHA_BAR.float()
    return diffusion


@pytest.mark.parametrize("steps, within", [(8, 0.01), (4, 0.02)])
def test_the_target_leads_where_the_teachers_way_leads(gaussian, steps, within):
    d = Distillation(gaussian, gaussian)
    rng = torch.Generator().manual_seed(0)
    t, s = way(steps, 32, 1000, rng)
    x, label = draw_noise(range(32), 8), torch.zeros(32, 4)
    v = d.target(x, t, s, label, steps)
    x_s = turn(x, v, angle(ALPHA_BAR, t) - angle(ALPHA_BAR, s))
    assert (x_s - exact(x, t, s)).square().mean().sqrt() < within


@pytest.mark.parametrize("steps", [2, 1])
def test_the_fewest_steps_learn_from_twice_as_many_of_the_students_own(gaussian, steps):
    d = Distillation(gaussian, gaussian)
    t, s = way(steps, 4, 1000, torch.Generator().manual_seed(0))
    x, label = draw_noise(range(4), 8), torch.zeros(4, 4)
    v = d.target(x, t, s, label, steps)
    x_s = turn(x, v, angle(ALPHA_BAR, t) - angle(ALPHA_BAR, s))
    middle = (t + s) // 2
    here, half, there = (angle(ALPHA_BAR, k) for k in (t, middle, s))
    x_middle = turn(x, velocity(x, t), here - half)
    wanted = turn(x_middle, velocity(x_middle, middle), half - there)
    torch.testing.assert_close(x_s.float(), wanted.float(), atol=1e-4, rtol=0)
    row = d.ema.model.asked[-1][0, 4:]  # which says: in twice as many steps
    assert row.tolist() == [float(few == 2 * steps) for few in FEW_STEPS]


def test_each_step_sets_out_where_the_last_arrived():
    t, s = way(4, 200, 1000, torch.Generator().manual_seed(0))
    assert {*zip(t.tolist(), s.tolist(), strict=True)} == {
        (999, 749),
        (749, 499),
        (499, 249),
        (249, -1),
    }


@pytest.fixture
def small(teacher, monkeypatch):
    names = dict.fromkeys(teacher.model.families)
    monkeypatch.setattr("models.train_embedded.textiles.FAMILIES", names)
    return dataclasses.replace(
        SETTINGS, batch_size=8, optimizer="Adam", learning_rate=2e-3
    )


def test_the_student_comes_nearer_and_forgets_nothing(teacher, images, small):
    """Its loss on noise and pictures that it never saw, where it learns from the teacher."""
    images = images[..., :16, :16]
    before = widened(teacher, TORUS)
    after = distill(teacher, widened(teacher, TORUS), images[:16], 120, small)

    def loss(student, steps):
        d, rng = Distillation(teacher, student), torch.Generator().manual_seed(0)
        x_0, t = images[16:] / 127.5 - 1, torch.tensor([50, 200, 400, 500] * 2)
        noise = draw_noise(range(8), 16)
        label = teacher.model.one_hot(["kente", "adire", "kuba", None] * 2)
        with torch.no_grad():
            return d.loss(x_0, t, noise, label, torch.full((8,), 2.0), steps, rng)

    assert loss(after, 4) < 0.95 * loss(before, 4)
    assert loss(after, 0) < loss(before, 4) / 4


def test_the_command_writes_a_file_that_walks_in_few_steps(
    teacher, images, tmp_path, monkeypatch
):
    save_weights(teacher, TORUS, 4_000, tmp_path / "teacher.pt")
    monkeypatch.setattr(distill_steps, "draw_all", lambda count: images)
    monkeypatch.setattr(distill_steps, "distill", lambda _, student, *__: student)
    out = tmp_path / "student.pt"
    distill_steps.main([str(tmp_path / "teacher.pt"), "--out", str(out)])
    loaded = load_diffusion(out)
    assert loaded.model.few_steps == FEW_STEPS
    with pytest.raises(UserError, match="1, 2, 4, 8 steps"):
        denoise(loaded, draw_noise([1]), 3, FAST, label=loaded.model.one_hot([None]))


@pytest.mark.parametrize("script", [distill_steps, distill_guidance])
@pytest.mark.parametrize(
    ("out", "change", "sentence"),
    [
        ("file/student.pt", {}, "Give another folder"),
        (".", {}, "is a folder. Name a file in it"),
        ("student.pt", {"step": None}, "does not tell its step"),
    ],
)
def test_what_is_wrong_is_said_before_hours_pass(
    script, out, change, sentence, teacher, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "draw_all", None)  # it is not come to
    path = tmp_path / "teacher.pt"
    save_weights(teacher, TORUS, 4_000, path)
    torch.save(torch.load(path) | change, path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=sentence):
        script.main([str(path), "--out", str(tmp_path / out)])


def test_it_goes_on_with_a_student_alone(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(distill_steps, "draw_all", None)
    path = str(tmp_path / "teacher.pt")
    save_weights(teacher, TORUS, 4_000, path)
    with pytest.raises(UserError, match="was not taught to walk in few"):
        distill_steps.main([path, "--out", "x.pt", "--start", path])


def test_before_training_the_student_is_the_teacher(teacher):
    student = widened(teacher, TORUS)
    x, t = draw_noise([1, 2]), torch.tensor([100, 900])
    label = teacher.model.one_hot(["kente", None])
    with torch.inference_mode():
        torch.testing.assert_close(
            student.model(x, t, label), teacher.model(x, t, label)
        )


def test_a_model_that_was_not_taught_says_so(teacher):
    label = teacher.model.one_hot(["kente"])
    with pytest.raises(UserError, match="not taught to walk in few steps"):
        denoise(teacher, draw_noise([1]), 4, FAST, label=label)
