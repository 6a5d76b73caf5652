"""The student versions of the notebooks, and what is said of the lines left blank."""

import ast
import copy
import json
import re

import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion

from from_scratch import diffusion
from from_scratch.noise_schedule import NoiseSchedule, linear_beta
from from_scratch.pages.student_notebooks import (
    FOLDER,
    NOTEBOOKS,
    main,
    student_version,
)
from from_scratch.training import ema_update

FUNCTIONS = {
    "toy2d": ["q_step", "q_sample", "loss", "predict_x_0", "ddim_step", "guided"],
    "images": ["some_labels", "ema", "guided", "classifier_guided"],
    "flow": ["mix", "flow_loss", "euler_step", "heun_step", "velocity_of"],
}


def code_of(name):
    """The code of a notebook's imports, blanks and checks: one text."""
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))
    cells = [
        "".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"
    ]
    wanted = re.compile(
        "^import torch|^from functools|# BLANK: |# TODO: |= blanks[.]", re.M
    )
    return "\n".join(cell for cell in cells if wanted.search(cell))


def run(code):
    scope = {"__name__": "__main__"}  # as in a notebook
    exec(code, scope)
    return scope


@pytest.fixture(scope="module")
def notebooks():
    """The scope and the code of each notebook's own functions, {name: ...}."""
    code = "\n".join(code_of(name) for name in NOTEBOOKS)
    return run(code), code


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_student_version_is_that_of_the_notebook(name):
    text = (FOLDER / f"{name}_student.ipynb").read_text("utf-8")
    assert text == student_version(name), (
        "run python -m from_scratch.pages.student_notebooks"
    )
    assert "BLANK" not in text and text.count("# TODO: ") == len(FUNCTIONS[name])
    assert f"**This is the student version.** {len(FUNCTIONS[name])} lines" in text
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))


def test_the_command_writes_all(tmp_path, monkeypatch):
    for name in NOTEBOOKS:
        text = (FOLDER / f"{name}.ipynb").read_text("utf-8")
        (tmp_path / f"{name}.ipynb").write_text(text, "utf-8")
    monkeypatch.setattr("from_scratch.pages.student_notebooks.FOLDER", tmp_path)
    main()
    for name in NOTEBOOKS:
        written = (tmp_path / f"{name}_student.ipynb").read_bytes()
        assert written == (FOLDER / f"{name}_student.ipynb").read_bytes()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_unfilled_it_says_what_is_open_and_goes_on_with_ours(name, capsys):
    scope = run(code_of(f"{name}_student"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "still" in line]
    open_ = "{} is still open: put your code in place of the dots."
    assert lines == [open_.format(function) for function in FUNCTIONS[name]]
    for function in FUNCTIONS[name]:
        if hasattr(diffusion, function):
            assert scope[function] is getattr(diffusion, function)


def test_ours_is_not_taken_for_theirs_when_a_check_runs_again(notebooks, capsys):
    scope = copy.copy(notebooks[0])
    for name in ("q_sample", "ema"):
        exec(f"def {name}(*_): return ...\n{name} = blanks.{name}({name})", scope)
        capsys.readouterr()
        exec(f"{name} = blanks.{name}({name})", scope)
        assert capsys.readouterr().out.startswith(f"{name} is still ours: first run")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_with_the_lines_of_the_notebook_all_checks_pass(name, capsys):
    full, student = code_of(name), code_of(f"{name}_student")
    lines = iter(re.findall(r"^.*  # BLANK: .*$", full, re.M))
    filled = re.sub(r"^.*  # TODO: .*$", lambda _: next(lines), student, flags=re.M)
    assert filled == full
    scope = run(filled)
    said = [line for line in capsys.readouterr().out.splitlines() if " is " in line]
    assert said == [f"{function} is right." for function in FUNCTIONS[name]]
    for function in FUNCTIONS[name]:
        assert not scope[function].__module__.startswith("from_scratch")


MISTAKES = [
    ("q_step", "(1 - beta) * x + beta * eps", "takes no square root"),
    ("q_step", "x + beta**0.5 * eps", "leaves x as strong as it was"),
    ("q_step", "(1 - beta) ** 0.5 * x + eps", "adds eps in full"),
    ("q_step", "(1 - beta) ** 0.5 * x", "leaves the noise out"),
    ("q_step", "beta**0.5 * x + (1 - beta) ** 0.5 * eps", "weights swapped"),
    ("q_step", "schedule.alpha_bar[t] ** 0.5 * x + (1 - schedule.alpha_bar[t]) ** 0.5 * eps", "goes all the way"),
    ("q_sample", "a * x_0 + (1 - a) * eps", "takes no square root"),
    ("q_sample", "a.sqrt() * x_0 + (1 - a.sqrt()) * eps", "subtracts after the root"),
    ("q_sample", "(1 - a).sqrt() * x_0 + a.sqrt() * eps", "weights swapped"),
    ("q_sample", "a.sqrt() * x_0", "leaves the noise out"),
    ("q_sample", "a.sqrt() * x_0 - (1 - a).sqrt() * eps", "takes the noise away"),
    ("q_sample", "x_0 + (1 - a).sqrt() * eps", "leaves x_0 as strong"),
    ("q_sample", "2 * x_0", "is off by"),
    ("q_sample", "x_0.mul_(2)", "changes what it is handed"),
    ("q_sample", "x_0[0]", r"gives shape \(2,\); it should be \(3, 2\)"),
    ("q_sample", "x_0.numpy()", "gives a ndarray; it should give a tensor"),
    ("q_sample", "x", "stops with NameError"),
    ("loss", "(eps - guess).mean(dim=1)", "takes no square"),
    ("loss", "(eps - guess).abs().mean(dim=1)", "takes the size of the error"),
    ("loss", "(eps - guess).square().sum(dim=1)", "adds up the coordinates"),
    ("loss", "(eps - guess).square().mean(dim=1).sqrt()", "takes a root at the end"),
    ("loss", "(x_0 - guess).square().mean(dim=1)", "compares with x_0"),
    ("loss", "(q_sample(schedule, x_0, t, eps) - guess).square().mean(dim=1)", "compares with x_t"),
    ("loss", "(eps - guess).square().mean()", r"gives shape \(\); it should be \(4,\)"),
    ("predict_x_0", "(x_t + (1 - a) ** 0.5 * eps) / a**0.5", "adds the noise once more"),
    ("predict_x_0", "x_t - (1 - a) ** 0.5 * eps", "as weak as it is in x_t"),
    ("predict_x_0", "x_t - (1 - a) ** 0.5 * eps / a**0.5", "divides the noise alone"),
    ("predict_x_0", "(x_t - (1 - a) * eps) / a", "takes no square root"),
    ("predict_x_0", "(x_t - (1 - a) ** 0.5 * eps) / a", "divides by alpha_bar"),
    ("predict_x_0", "(x_t - eps) / a**0.5", "takes eps away in full"),
    ("predict_x_0", "x_t / a**0.5", "leaves the noise in"),
    ("ddim_step", "x_t", "stays at t"),
    ("ddim_step", "a_t**0.5 * x_0 + (1 - a_s) ** 0.5 * eps", "weighs x_0 as at t"),
    ("ddim_step", "a_s**0.5 * x_0 + (1 - a_t) ** 0.5 * eps", "weighs eps as at t"),
    ("ddim_step", "a_s * x_0 + (1 - a_s) * eps", "takes no square root"),
    ("ddim_step", "(1 - a_s) ** 0.5 * x_0 + a_s**0.5 * eps", "weights swapped"),
    ("ddim_step", "a_s**0.5 * x_0", "leaves the noise out"),
    ("ddim_step", "a_s**0.5 * x_0 - (1 - a_s) ** 0.5 * eps", "takes the noise away"),
    ("ddim_step", "x_0", "gives x_0"),
    ("guided", "asked + weight * (asked - free)", "goes too far"),
    ("guided", "free + weight * (free - asked)", "goes away from the label"),
    ("guided", "free + weight * asked", "adds all of the conditional"),
    ("guided", "weight * (asked - free)", "gives the difference alone"),
    ("guided", "asked", "forgets the weight"),
    ("guided", "free + (asked - free) / weight", "divides by the weight"),
    ("some_labels", "torch.where(dropped, y, -1)", "drops those to be kept"),
    ("some_labels", "torch.where(dropped, 0, y)", "makes them zeros"),
    ("some_labels", "y", "drops none"),
    ("some_labels", "torch.full_like(y, -1)", "drops all"),
    ("ema", "(1 - decay) * slow + decay * fast", "weights swapped"),
    ("ema", "decay * slow + fast", "grows and grows"),
    ("ema", "decay * slow", "forgets the new weights"),
    ("ema", "(slow + fast) / 2", "takes the mean of the two"),
    ("classifier_guided", "eps_theta(x_t, t) + weight * noise * push", "pushes away from y"),
    ("classifier_guided", "eps_theta(x_t, t) - weight * push", "forgets the root"),
    ("classifier_guided", "eps_theta(x_t, t) - noise * push", "forgets the weight"),
    ("classifier_guided", "-weight * noise * push", "gives the push alone"),
    ("classifier_guided", "eps_theta(x_t, t)", "does not push"),
    ("mix", "t * x_0 + (1 - t) * eps", "has time turned round"),
    ("mix", "(1 - t).sqrt() * x_0 + t.sqrt() * eps", "takes roots"),
    ("mix", "x_0 + t * eps", "leaves x_0 as strong"),
    ("mix", "(1 - t) * x_0 + eps", "adds eps in full"),
    ("flow_loss", "(eps - guess).square().mean(dim=1)", "compares with eps"),
    ("flow_loss", "(x_0 - eps - guess).square().mean(dim=1)", "has its sign turned"),
    ("flow_loss", "(eps + x_0 - guess).square().mean(dim=1)", "adds x_0"),
    ("flow_loss", "(eps - x_0 - guess).mean(dim=1)", "takes no square"),
    ("flow_loss", "(eps - x_0 - guess).square().sum(dim=1)", "adds up the coordinates"),
    ("euler_step", "x + (t - s) * u", "goes the wrong way"),
    ("euler_step", "x + u", "goes for a time of 1"),
    ("euler_step", "x + s * u", "goes for a time of s"),
    ("euler_step", "(s - t) * u", "gives the way alone"),
    ("heun_step", "x + (s - t) * u", "is Euler's"),
    ("heun_step", "x + (s - t) * ahead", "goes with the velocity ahead"),
    ("heun_step", "x + (s - t) * (u + ahead)", "goes with the sum of both"),
    ("heun_step", "x + (t - s) * (u + ahead) / 2", "goes the wrong way"),
    ("velocity_of", "(x_t - t * eps) / (1 - t)", "gives x_0"),
    ("velocity_of", "(x_t - eps) / (1 - t)", "has its sign turned"),
    ("velocity_of", "eps - x_t", "takes x_t for x_0"),
    ("velocity_of", "(eps - x_t) / t", "divides by t"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "sentence"), MISTAKES)
def test_a_mistake_is_told_by_what_it_does(notebooks, capsys, name, line, sentence):
    scope, code = copy.copy(notebooks[0]), notebooks[1]
    text = re.search(rf"^def {name}\(.*?(?=^\S)", code + "\nend", re.M | re.S)[0]
    exec(re.sub(r"return .*  # BLANK: .*", f"return {line}", text), scope)
    capsys.readouterr()
    exec(f"{name} = blanks.{name}({name})", scope)
    assert re.fullmatch(rf"{name} .*{sentence}.*\.\n", capsys.readouterr().out)


def test_their_formulas_are_those_of_the_library(notebooks):
    scope, schedule = notebooks[0], NoiseSchedule(linear_beta(1000))
    network = torch.nn.Identity()
    network.channels = network.out_dim = 3
    network.random_or_learned_sinusoidal_cond = network.self_condition = False
    library = GaussianDiffusion(network, image_size=4, beta_schedule="linear")
    x_0, eps = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([10, 400, 800])
    x_t = library.q_sample(x_0, t, eps)
    assert torch.allclose(scope["q_sample"](schedule, x_0, t, eps), x_t, atol=1e-5)
    for i in range(3):
        given = (x_t[i : i + 1], int(t[i]), eps[i : i + 1])
        found = scope["predict_x_0"](schedule, *given)
        right = library.predict_start_from_noise(given[0], t[i : i + 1], given[2])
        assert torch.allclose(found, right, atol=1e-3)
    mean = scope["loss"](schedule, lambda x, t: torch.zeros_like(x), x_0, t, eps)
    assert torch.allclose(mean, eps.square().sum(1) / 48)
    slow, fast = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = scope["ema"](slow.weight.detach(), fast.weight.detach(), 0.9)
    ema_update(slow, fast, 0.9)
    assert torch.allclose(slow.weight, expected)


def test_a_chain_of_their_steps_has_the_variance_of_the_shortcut(notebooks):
    scope, schedule = notebooks[0], NoiseSchedule(linear_beta(1000))
    weight, variance = torch.ones(1), torch.zeros(1)
    one, none = torch.ones(1), torch.zeros(1)
    for t in range(300):
        weight = scope["q_step"](schedule, weight, t, none)
        variance = (
            scope["q_step"](schedule, variance.sqrt(), t, none) ** 2
            + scope["q_step"](schedule, none, t, one) ** 2
        )
    a = schedule.alpha_bar_at(299)
    assert weight.item() == pytest.approx(a**0.5, rel=1e-4)
    assert variance.item() == pytest.approx(1 - a, rel=1e-4)
