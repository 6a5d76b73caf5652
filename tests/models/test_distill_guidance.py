"""Guidance in one pass: the targets against arithmetic, the student against both."""

import dataclasses

import pytest
import torch
from conftest import TORUS

from ddpm.checkpoints import load_diffusion, save_weights
from ddpm.files import UserError
from ddpm.sampling import draw_noise, guided
from models import distill_guidance
from models.distill_guidance import SETTINGS, distill, targets


def test_targets_are_what_guidance_makes_of_two_answers(teacher):
    x, t = draw_noise([1, 2]), torch.tensor([100, 900])
    label, w = teacher.model.one_hot(["kente", None]), torch.tensor([3.0, 2.0])
    asked = teacher.model(x, t, label)
    free = teacher.model(x, t, teacher.model.one_hot([None, None]))
    wanted = targets(teacher, x, t, label, w)
    torch.testing.assert_close(wanted[0], 3 * asked[0] - 2 * free[0])
    torch.testing.assert_close(wanted[1], free[1])


def test_the_student_comes_nearer_to_two_passes(teacher, images, monkeypatch):
    names = teacher.model.families
    monkeypatch.setattr("models.train_embedded.textiles.FAMILIES", dict.fromkeys(names))
    settings = dataclasses.replace(
        SETTINGS, batch_size=8, optimizer="Adam", learning_rate=5e-3
    )
    x, label = draw_noise([3, 4, 5]), teacher.model.one_hot(names)
    wanted, _ = guided(teacher, label, 3)(x, 800)
    student = distill(teacher, images, 80, settings)
    student.model.guidance = "one pass"
    ours, _ = guided(student, label, 3)(x, 800)
    before, _ = guided(teacher, label, 1)(x, 800)
    assert (ours - wanted).square().mean() < 0.6 * (before - wanted).square().mean()


def test_the_command_writes_a_file_that_says_so(teacher, images, tmp_path, monkeypatch):
    save_weights(teacher, TORUS, 4_000, tmp_path / "teacher.pt")
    monkeypatch.setattr(distill_guidance, "draw_all", lambda count: images)
    monkeypatch.setattr(distill_guidance, "distill", lambda teacher, *_: teacher)
    out = tmp_path / "student.pt"
    distill_guidance.main([str(tmp_path / "teacher.pt"), "--out", str(out)])
    assert load_diffusion(out).model.guidance == "one pass"


def test_a_model_without_names_is_refused(tiny, tmp_path):
    from conftest import TINY

    save_weights(tiny, TINY, 5, tmp_path / "tiny.pt")
    with pytest.raises(UserError, match="knows no families"):
        distill_guidance.main([str(tmp_path / "tiny.pt"), "--out", "x.pt"])


def test_older_files_take_two_passes(teacher, tmp_path):
    older = {key: value for key, value in TORUS.items() if key != "guidance"}
    save_weights(teacher, older, 5, tmp_path / "older.pt")
    assert load_diffusion(tmp_path / "older.pt").model.guidance == "two passes"
