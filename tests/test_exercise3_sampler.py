import re
import textwrap
import types

import numpy as np
import pytest
import torch
from conftest import lit
from PIL import Image

from checks import sampler_todos
from ddpm.files import ROOT, UserError
from ddpm.sampling import ddim_step, denoise, draw_noise

SOURCE = (ROOT / "exercise3_sampler.py").read_text("utf-8")
README = (ROOT / "README.rst").read_text("utf-8")
RIGHT = {
    "x_t": "alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps",
    "x_0": "(x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()",
    "x_next": "alpha_bar_next.sqrt() * x_0 + (1 - alpha_bar_next).sqrt() * eps",
}


def filled(path, **lines):
    """The script as a module, with lines in place of the dots; None takes one out."""
    text = SOURCE
    for name, line in lines.items():
        new = "" if line is None else f"    {name} = {line}\n"
        text = text.replace(f"    {name} = ...\n", new)
    path.write_text(text, "utf-8")
    module = types.ModuleType("student")
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


@pytest.fixture
def student(tmp_path):
    """A student's copy, with these lines, and right ones in place of the others."""
    return lambda **lines: filled(tmp_path / "exercise3_sampler.py", **(RIGHT | lines))


def from_readme():
    """The lines of the README's solution, {name: line}."""
    block = re.search(
        r"   \.\. sampler solution\n\n   \.\. code-block:: python\n\n((?:      .*\n|\n)+)",
        README,
    )
    lines = textwrap.dedent(block[1]).strip().splitlines()
    return dict(line.split("  #")[0].split(" = ", 1) for line in lines)


def test_there_are_exactly_three_todos():
    assert re.findall(r"# TODO \d", SOURCE) == [f"# TODO {n}" for n in (1, 2, 3)]
    assert re.findall(r"    (\w+) = \.\.\.$", SOURCE, flags=re.M) == list(RIGHT)


def test_each_todo_has_its_hint_in_the_readme():
    section = README[README.index("Write the sampler\n~~~") :]
    section = section[: section.index("Exercise 4: steer")]
    assert re.findall(r"dropdown:: Hint for TODO (\d)", section) == ["1", "2", "3"]
    assert list(from_readme()) == list(RIGHT)


@pytest.mark.parametrize("missing", [["x_t", "x_0", "x_next"], ["x_0"], ["x_next"]])
def test_unfilled_it_says_what_is_open_before_anything_is_loaded(student, missing):
    module = student(**dict.fromkeys(missing, "..."))
    module.load_diffusion = None
    number = list(RIGHT).index(missing[0]) + 1
    with pytest.raises(UserError, match=rf"^TODO {number} .* is still open: .*\.$"):
        module.main([])


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        ("x_t", "alpha_bar * x_0 + (1 - alpha_bar) * eps", "takes no square root"),
        ("x_t", "alpha_bar * x_0 + (1 - alpha_bar) ** 0.5 * eps", "weighs x_0 with alpha_bar"),
        ("x_t", "alpha_bar.sqrt() * x_0 + (1 - alpha_bar) * eps", "weighs eps with 1 - alpha_bar"),
        ("x_t", "alpha_bar.sqrt() * x_0 + (1 - alpha_bar.sqrt()) * eps", "subtracts after the root"),
        ("x_t", "(1 - alpha_bar).sqrt() * x_0 + alpha_bar.sqrt() * eps", "weights swapped"),
        ("x_t", "alpha_bar.sqrt() * x_0", "leaves the noise out"),
        ("x_t", "(1 - alpha_bar).sqrt() * eps", "leaves the picture out"),
        ("x_t", "alpha_bar.sqrt() * x_0 - (1 - alpha_bar).sqrt() * eps", "takes the noise away"),
        ("x_t", "x_0 + (1 - alpha_bar).sqrt() * eps", "as strong as it was"),
        ("x_t", "alpha_bar.sqrt() * x_0 + eps", "adds eps in full"),
        ("x_t", "0.8 * x_0 + 0.6 * eps", "x_0 with 0.80 and eps with 0.60; right is 0.45 and 0.89, where alpha_bar is 0.2"),
        ("x_t", "x_0", "x_0 with 1.00 and eps with 0.00; right is 0.80 and 0.60"),
        ("x_t", "x_0.mul_(alpha_bar.sqrt()) + (1 - alpha_bar).sqrt() * eps", "changes what it is handed"),
        ("x_t", "alpha_bar.sqrt()", r"gives shape \(\); it should keep the noise's, \(2, 3, 8, 8\)"),
        ("x_t", "(alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps)[0]", r"gives shape \(3, 8, 8\)"),
        ("x_t", "math.sqrt(alpha_bar)", "gives a float; it should give a tensor"),
        ("x_t", "(alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps).numpy()", "gives a ndarray; it should give a tensor"),
        ("x_t", "None", "gives nothing: its last line should be `return x_t`"),
        ("x_t", "np.sqrt(alpha_bar) * x_0", "NameError: .*: a tensor has a root of its own"),
        ("x_t", "__import__('numpy').sqrt(alpha_bar) * x_0 + (1 - alpha_bar).sqrt() * eps", "hands a tensor to NumPy"),
        ("x_t", "alpha_bar.sqrt() * x_0 + 1 - alpha_bar.sqrt() * eps", "adds 1.00 to all values: put brackets around 1 - alpha_bar"),
        ("x_t", "alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * torch.randn_like(x_0)", "draws noise of its own: take the eps"),
        ("x_t", "alpha_bar.sqrt() * x_0 + (alpha_bar - 1).sqrt() * eps", "not numbers: is there a root of less than 0"),
        ("x_t", "alpha.sqrt() * x_0", "stops with NameError"),
        ("x_t", "math.sqrt(alpha_bar - 1) * eps", "stops with ValueError"),
        ("x_0", "(x_t + (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()", "adds the noise once more"),
        ("x_0", "x_t / alpha_bar.sqrt()", "leaves the noise in"),
        ("x_0", "x_t - (1 - alpha_bar).sqrt() * eps", "as weak as it is in x_t"),
        ("x_0", "x_t - (1 - alpha_bar).sqrt() * eps / alpha_bar.sqrt()", "divides the noise alone"),
        ("x_0", "(x_t - (1 - alpha_bar).sqrt() * eps) * alpha_bar.sqrt()", "multiplies by the root"),
        ("x_0", "(x_t - (1 - alpha_bar) * eps) / alpha_bar", "takes no square root"),
        ("x_0", "(x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar", "divides by alpha_bar"),
        ("x_0", "(x_t - (1 - alpha_bar) * eps) / alpha_bar.sqrt()", "takes no root of 1 - alpha_bar"),
        ("x_0", "(x_t - (1 - alpha_bar.sqrt()) * eps) / alpha_bar.sqrt()", "subtracts after the root"),
        ("x_0", "(x_t - alpha_bar.sqrt() * eps) / (1 - alpha_bar).sqrt()", "weights swapped"),
        ("x_0", "(x_t - 1 - alpha_bar.sqrt() * eps) / alpha_bar.sqrt()", "adds -1.25 to all values: put brackets"),
        ("x_0", "(x_t - (1 - alpha_bar).sqrt() * torch.randn_like(eps)) / alpha_bar.sqrt()", "draws noise of its own"),
        ("x_0", "(x_t - __import__('numpy').sqrt(1 - alpha_bar) * eps) / alpha_bar.sqrt()", "hands a tensor to NumPy"),
        ("x_0", "(x_t - eps) / alpha_bar.sqrt()", "takes eps away in full"),
        ("x_0", "x_t.sub_((1 - alpha_bar).sqrt() * eps).div_(alpha_bar.sqrt())", "changes what it is handed"),
        ("x_next", "alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps", "stays at t"),
        ("x_next", "alpha_bar.sqrt() * x_0 + (1 - alpha_bar_next).sqrt() * eps", "weighs x_0 as at t"),
        ("x_next", "alpha_bar_next.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps", "weighs eps as at t"),
        ("x_next", "alpha_bar_next * x_0 + (1 - alpha_bar_next) * eps", "takes no square root"),
        ("x_next", "(1 - alpha_bar_next).sqrt() * x_0 + alpha_bar_next.sqrt() * eps", "weights swapped"),
        ("x_next", "alpha_bar_next.sqrt() * x_0 - (1 - alpha_bar_next).sqrt() * eps", "takes the noise away"),
        ("x_next", "alpha_bar_next.sqrt() * x_0", "leaves the noise out"),
        ("x_next", "x_0", "gives x_0: that is no step"),
        ("x_next", "(1 - alpha_bar_next).sqrt() * eps", "leaves the picture out"),
        ("x_next", "mix(x_0, torch.randn_like(eps), alpha_bar_next)", "draws noise of its own: take the eps"),
        ("x_next", "0.5 * x_0 + 0.5 * eps", "weighs x_0 with 0.50 .*; right is 0.80 and 0.60, where alpha_bar is 0.2 and 0.64"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_what_it_does(student, name, line, sentence):
    module = student(**{name: line})
    module.load_diffusion = None
    number = list(RIGHT).index(name) + 1
    with pytest.raises(UserError, match=rf"^TODO {number} .*{sentence}") as caught:
        module.main([])
    assert re.fullmatch(
        r"TODO \d \(exercise3_sampler.py, from line \d+\) [^\n]+", str(caught.value)
    )


@pytest.mark.parametrize("name", RIGHT)
def test_a_line_that_is_gone_is_named(student, name):
    module = student(**{name: None})
    with pytest.raises(UserError, match=f"a line should begin with `{name} =`"):
        sampler_todos.check(module.mix, module.estimate, module.step)


@pytest.mark.parametrize(
    "lines",
    [
        {},
        from_readme(),
        {"x_t": "math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * eps"},
        {"x_t": "torch.sqrt(alpha_bar) * x_0 + (1 - alpha_bar) ** 0.5 * eps"},
        {"x_t": "torch.lerp(eps * (1 - alpha_bar) ** 0.5, x_0 * 0, 0) + x_0 * alpha_bar**0.5"},
        {"x_0": "((x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()).clamp(-1, 1)"},
        {"x_0": "x_t / alpha_bar.sqrt() - (1 / alpha_bar - 1).sqrt() * eps"},
        {"x_next": "mix(x_0, eps, alpha_bar_next)"},
        {"x_next": "mix(x_0, eps, alpha_bar_next).double()"},
    ],
)  # fmt: skip
def test_right_code_is_right_whatever_it_looks_like(student, lines):
    module = student(**lines)
    sampler_todos.check(module.mix, module.estimate, module.step)


def test_the_readmes_lines_are_those_of_the_library(student, tiny):
    module = student(**from_readme())
    x_0, eps = draw_noise([1, 2]).tanh(), draw_noise([3, 4])
    for t, t_next in ((999, 980), (500, 400), (20, 0)):
        a, b = (tiny.alphas_cumprod[i] for i in (t, t_next))
        times = torch.full((2,), t)
        x_t = tiny.q_sample(x_0, times, eps)
        assert torch.allclose(module.mix(x_0, eps, a), x_t, atol=1e-5)
        library = tiny.predict_start_from_noise(x_t, times, eps)
        assert torch.allclose(module.estimate(x_t, eps, a), library, atol=1e-3)
        ours = ddim_step(x_0=x_0, eps=eps, a_next=b.item())
        assert torch.allclose(module.step(x_0, eps, a, b), ours, atol=1e-6)


def test_filled_it_draws_what_the_library_draws(student, tiny, tiny_file, capsys):
    tiny = lit(tiny)
    module = student()
    module.load_diffusion = lambda *_: tiny
    module.NUM_SAMPLES, seen = 3, []
    draw = module.draw
    module.draw = lambda pictures, *a: seen.extend(pictures) or draw(pictures, *a)
    module.main(["--steps", "6", "--seed", "5"])

    apart = re.search(r"differ by (\S+) at most", capsys.readouterr().out)
    assert float(apart[1]) < 1e-4
    yours, below = seen
    noise = draw_noise([5, 6, 7])
    assert torch.allclose(yours, denoise(tiny, noise, 6), atol=1e-4)
    cloth, noisy, guess, walked = 2 * below - 1
    a = tiny.alphas_cumprod[500]
    assert torch.allclose(
        noisy, a.sqrt() * cloth + (1 - a).sqrt() * noise[0], atol=1e-5
    )
    times = torch.tensor([500])
    x_0 = tiny.model_predictions(noisy[None], times, clip_x_start=True).pred_x_start
    assert torch.allclose(guess, x_0[0], atol=1e-4) and not torch.equal(guess, walked)
    with Image.open("exercise3_sampler.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert picture.width == 1024 and pixels.std() > 40


def test_config_changes_what_it_names(student, tiny, capsys, monkeypatch):
    module = student()
    module.load_diffusion = lambda *_: tiny
    module.NUM_SAMPLES, module.NOISY_TIMESTEP = 5, 0
    seen = []
    module.draw = lambda pictures, *_: seen.extend(pictures)
    module.main(["--steps", "2"])
    assert len(seen[0]) == 5
    cloth, noisy, *_ = seen[1]
    assert (cloth - noisy).abs().max() < 0.05  # at t = 0 there is hardly any noise
    for name, value in (("NUM_SAMPLES", 33), ("NOISY_TIMESTEP", 1000)):
        spoilt = student()
        setattr(spoilt, name, value)
        with pytest.raises(SystemExit) as caught:
            spoilt.main([])
        assert caught.value.code == 2
        assert f"{name}: {value} is not a whole number" in capsys.readouterr().err
