"""Break it: each mistake fails a check that the right code passes; page and command."""

import functools
import importlib
import inspect
import json
import math
import re
from pathlib import Path

import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from PIL import Image

from from_scratch import diffusion
from from_scratch.datasets import draw
from from_scratch.denoisers import mixture_eps
from from_scratch.diffusion import ddpm_step, guided, loss
from from_scratch.noise_schedule import NoiseSchedule, linear_beta
from from_scratch.pages import break_it, experiments
from from_scratch.pages.break_it import MISTAKES, loss_of_v, walk
from from_scratch.pages.experiments import LINEAR, OUT, exact_blobs, generate, noise

PAGE = (OUT.parent / "break_it.rst").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
MEASURED = json.loads((OUT / "broken_measured.json").read_text())


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditional(x, t, y=None):
    """Stands for a network."""
    return x if y is None else x + y[:, None]


# --- The seven checks of the page, one a mistake -----------------------------


def normal_samples(schedule, step):
    """What is sampled if data are standard normal and the network is perfect."""

    def eps_theta(x, t):  # E[eps | x_t]: x_t is standard normal, too
        return (1 - schedule.alpha_bar[t].to(x)).sqrt()[:, None] * x

    rng = torch.Generator().manual_seed(1)
    walk = diffusion.sample(schedule, eps_theta, randn(5000, 2), step, generator=rng)
    return list(walk)


def spread_is_kept(step=ddpm_step):
    return abs(normal_samples(LINEAR, step)[-1][1].std().item() - 1) < 0.03


def last_step_adds_nothing(step=ddpm_step):
    x_0, x_t = randn(2, 5, 2)
    return torch.equal(step(LINEAR, x_0, x_t, 49, -1, torch.tensor(1e9)), x_0)


def weight_1_is_the_conditional_network(guided=guided):
    x, t, y = randn(3, 2), torch.zeros(3).long(), torch.tensor([1, 2, 4])
    return torch.allclose(guided(conditional, y, 1)(x, t), conditional(x, t, y))


def one_alone_is_answered_as_in_a_batch(mixture_eps=mixture_eps):
    eps_theta, x, t = exact_blobs(mixture_eps), randn(50, 2), torch.full((50,), 300)
    return torch.allclose(eps_theta(x[:1], t[:1]), eps_theta(x, t)[:1], atol=1e-5)


def knowing_the_noise_is_rewarded(objective=loss):
    """The loss of the best network at the last timestep, where x_t is all noise."""
    x_0, _ = draw("blobs", 2000, 1)
    at_T = LINEAR, exact_blobs(), x_0, torch.full((2000,), 999)
    return objective(*at_T, randn(2000, 2)).mean().item() < 0.01


def twice_is_the_same(noise=noise):
    model = (exact_blobs(), 2.0)
    one, two = (generate(model, noise(), sampler="ddim", steps=2) for _ in range(2))
    return torch.equal(one, two)


def the_knob_is_read(generate=generate):
    model = (exact_blobs(), 2.0)
    few, more = (generate(model, noise(), sampler="ddim", steps=n) for n in (10, 20))
    return not torch.equal(few, more)


CHECKS = {
    "shards": spread_is_kept,
    "fuzz": last_step_adds_nothing,
    "swap": weight_1_is_the_conditional_network,
    "square": one_alone_is_answered_as_in_a_batch,
    "gap": knowing_the_noise_is_rewarded,
    "shuffle": twice_is_the_same,
    "frozen": the_knob_is_read,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_check_tells_the_mistake_from_the_right_code(name):
    assert CHECKS[name]()
    assert not CHECKS[name](**MISTAKES[name].wrong)
    assert CHECKS[name]()  # nothing of it is left


# --- The mistakes are those that the page says, and spoil the result ---------


def test_without_the_root_the_spread_is_that_of_the_recursion():
    """x_s = sqrt(alpha) x_t + variance z, for normal data and the exact noise."""
    beta, alpha_bar, square = linear_beta(1000).tolist(), LINEAR.alpha_bar.tolist(), 1.0
    for t in reversed(range(1000)):
        before = alpha_bar[t - 1] if t else 1.0
        variance = (1 - before) / (1 - alpha_bar[t]) * beta[t]
        square = (1 - beta[t]) * square + variance**2
    spread = normal_samples(LINEAR, break_it.spread_without_root)[-1][1].std().item()
    assert spread == pytest.approx(math.sqrt(square), rel=0.05)
    assert f"With this line they have {math.sqrt(square):.2f}." in WORDS


@pytest.mark.parametrize(("t", "steps"), [(49, 20), (0, 1000)])
def test_the_noise_of_the_last_step(t, steps):
    assert diffusion.timestep_pairs(1000, steps)[-1] == (t, -1)
    added = break_it.noise_to_the_last(
        LINEAR, torch.zeros(20_000, 2), torch.zeros(20_000, 2), t, -1, randn(20_000, 2)
    )
    spread = math.sqrt(
        1 - math.prod(1 - b for b in linear_beta(1000)[: t + 1].tolist())
    )
    assert added.std().item() == pytest.approx(spread, rel=0.02)
    assert re.search(f"In {steps} .*?{spread:.2f}", WORDS)


def test_guidance_away_is_that_of_the_opposite_weight():
    x, t, y = randn(3, 2), torch.zeros(3).long(), torch.tensor([1, 2, 4])
    for weight in (0, 1, 2.5):
        away = break_it.guided_away(conditional, y, weight)(x, t)
        torch.testing.assert_close(
            away, diffusion.guided(conditional, y, -weight)(x, t)
        )


class Stub(torch.nn.Module):
    """What the library asks of a network before it is used."""

    channels = out_dim = 3
    self_condition = False


def test_the_gap_is_left_by_networks_that_answer_v():
    library = GaussianDiffusion(
        Stub(), image_size=8, timesteps=1000, beta_schedule="linear", objective="pred_v"
    )
    x_0, eps = randn(2, 500, 2)
    for t in (0, 300, 999):
        at = torch.full((500,), t)
        v = library.predict_v(x_0, at, eps)
        losses = loss_of_v(LINEAR, lambda x, t, v=v: v, x_0, at, eps)
        assert losses.max() < 1e-6
    # The best answer to "which v?" is no answer to "which noise?" where all is noise.
    best = exact_blobs()

    def v_theta(x_t, t):
        x_0 = diffusion.predict_x_0(LINEAR, x_t, 999, best(x_t, t))
        return library.predict_v(x_0, t, best(x_t, t))

    x_0, _ = draw("blobs", 500, 1)
    of_v = loss(LINEAR, v_theta, x_0, at, eps).mean().item()
    assert of_v == pytest.approx(1, abs=0.1)


EXACT = {"square": ("ratio", 10), "shards": ("ratio", 2), "fuzz": ("grain", 1.8)}


@pytest.mark.parametrize("name", EXACT)
def test_samples_are_spoilt_even_with_the_exact_noise(name):
    steps = 20 if name == "fuzz" else 100

    def measured(step=ddpm_step, mixture_eps=mixture_eps):
        return walk("blobs", (exact_blobs(mixture_eps), 2.2), step, steps)[1]

    (number, margin), right = EXACT[name], measured()
    wrong = measured(**MISTAKES[name].wrong)
    assert right[number] < 1.1
    assert wrong[number] > margin * right[number]


def test_it_is_the_last_step_that_makes_the_fuzz():
    """Elsewhere noise of variance beta does no harm, and in few steps some good."""
    exact = (exact_blobs(), 2.2)
    right = walk("blobs", exact, steps=20)[1]

    def guarded(schedule, x_0, x_t, t, s, z):
        z = z if s >= 0 else 0 * z
        return break_it.noise_to_the_last(schedule, x_0, x_t, t, s, z)

    allowed = walk("blobs", exact, guarded, steps=20)[1]
    assert allowed["ratio"] < right["ratio"]
    assert allowed["grain"] < 1.4 * right["grain"]


# --- The page ---------------------------------------------------------------


def stated():
    """Fragments of the page, with numbers as measured."""
    for name in ("shards", "square"):
        right, wrong = (MEASURED[name][row]["ratio"] for row in ("right", "wrong"))
        yield f"Ratio {right:.1f} and {wrong:.1f}."
    for name in ("fuzz", "gap"):
        right, wrong = MEASURED[name]["right"], MEASURED[name]["wrong"]
        ratios = f"Ratio {right['ratio']:.1f} and {wrong['ratio']:.1f}"
        yield f"{ratios}, grain {right['grain']:.1f} and {wrong['grain']:.1f}."
    right, wrong = MEASURED["swap"]["right"], MEASURED["swap"]["wrong"]
    asked = f"{right['as_asked']:.0%} and {wrong['as_asked']:.0%}.".replace("%", " %")
    yield f"As asked end {asked}"
    yield f"The ratio is {right['ratio']:.1f} and {wrong['ratio']:.1f}."
    ten, fifty, zero = MEASURED["shuffle"]["right"].values()
    assert zero == 0
    yield f"points move by {ten:.2f} on the way from 10 steps to 1000, and by {fifty:.2f}"
    ten, fifty, _ = MEASURED["shuffle"]["wrong"].values()
    yield f"From different noises it is {ten:.2f} and {fifty:.2f},"


@pytest.mark.parametrize("fragment", list(stated()))
def test_stated_numbers(fragment):
    assert fragment in WORDS


def test_the_right_runs_are_those_of_part_1():
    part_1 = json.loads((OUT / "measured.json").read_text())
    moons = part_1["data_sets"]["moons"]["ratio"]
    asked = part_1["guidance"]["weight 1"]["ratio"]
    for name, expected in (("shards", moons), ("gap", moons), ("swap", asked)):
        assert MEASURED[name]["right"]["ratio"] == pytest.approx(expected, rel=1e-6)


def test_measured_numbers_bear_out_what_the_page_says():
    assert set(MEASURED) == set(MISTAKES) == set(CHECKS)
    for name in ("shards", "swap", "square", "gap"):
        right, wrong = MEASURED[name]["right"], MEASURED[name]["wrong"]
        assert right["ratio"] < 1
        assert wrong["ratio"] > 8
    assert MEASURED["fuzz"]["wrong"]["ratio"] < MEASURED["fuzz"]["right"]["ratio"]
    assert set(MEASURED["frozen"]["wrong"].values()) == {0.0}
    assert MEASURED["frozen"]["right"] == MEASURED["shuffle"]["right"]
    x, other = (draw("moons", 2000, seed)[0] for seed in (1, 2))
    at_random = (x - other).norm(dim=1).mean().item()
    mixed = [v for v in MEASURED["shuffle"]["wrong"].values() if v]
    assert mixed == pytest.approx([at_random] * 2, rel=0.12)


def test_the_page_shows_each_mistake_beside_the_right_function():
    sections = re.split(r"\n(\w+)\n-+\n", PAGE)
    assert sections[1::2] == list(MISTAKES)
    for name, text in zip(sections[1::2], sections[2::2], strict=True):
        assert f"figures/broken_{name}.png" in text
        wrong, right = re.findall(
            r"literalinclude:: ([\w/]+)\.py\n +:pyobject: (\w+)\n.*: (\d+)\n", text
        )
        assert wrong[0] == "pages/break_it"
        replaced = re.search(r"In place of (\w+)\.(\w+)", lines(*wrong[:2])[1]).groups()
        assert replaced == (right[0].removeprefix("pages/"), right[1])
        # What is marked is what differs.
        assert lines(*wrong[:2])[int(wrong[2]) - 1] not in lines(*right[:2])
        assert lines(*right[:2])[int(right[2]) - 1] not in lines(*wrong[:2])


def lines(module, function):
    """Of a function, as Sphinx includes it."""
    module = importlib.import_module(f"from_scratch.{module.replace('/', '.')}")
    code = getattr(module, function)
    return inspect.getsource(code).splitlines()


def test_the_figures_are_small_and_all_on_the_page():
    figures = {path.name for path in OUT.glob("broken_*.png")}
    assert figures == {f"broken_{name}.png" for name in [*MISTAKES, "all"]}
    assert figures == set(re.findall(r"figures/([\w.]+)", PAGE))
    assert sum((OUT / name).stat().st_size for name in figures) < 600_000
    for name in figures:
        with Image.open(OUT / name) as image:
            assert image.size[0] == 1120


# --- The command ------------------------------------------------------------


def test_the_list_does_not_give_the_answers_away(capsys):
    break_it.main(["--list"])
    out = capsys.readouterr().out
    assert re.findall(r"^(\w+) ", out, re.M) == list(MISTAKES)
    assert not re.search("softmax|root|sign|seed|variance|loss", out)
    assert not Path("outputs").exists()


BAD = {
    "": "one of the arguments --list --mistake --all is required",
    "--mistake shard": "--mistake: shard is none of shards, fuzz, .*frozen",
    "--all --mistake fuzz": "--mistake: not allowed with argument --all",
    "--all --out file/folder": "--out: file/folder: Not a directory",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_gets_one_sentence(command, capsys):
    Path("file").touch()
    with pytest.raises(SystemExit) as caught:
        break_it.main(command.split())
    assert caught.value.code == 2
    assert re.search(BAD[command], capsys.readouterr().err.splitlines()[-1])
    assert not Path("outputs").exists()


@pytest.fixture
def small(monkeypatch):
    """A chain of 20 steps, 200 points, and a training of one epoch."""
    fit, trained = experiments.fit, experiments.trained.__wrapped__
    objectives = []

    def quick_fit(*args, objective=loss, **options):
        objectives.append(objective)
        return fit(*args, objective=objective, epochs=1, count=1000, **options)

    monkeypatch.setattr(experiments, "fit", quick_fit)
    monkeypatch.setattr(break_it, "trained", functools.cache(trained))
    monkeypatch.setattr(break_it, "STEPS", (1, 2, 3))
    monkeypatch.setattr(break_it, "LINEAR", NoiseSchedule(linear_beta(20)))
    for module in (break_it, experiments):
        monkeypatch.setattr(module, "POINTS", 200)
    experiments.real_draws.cache_clear()
    yield objectives
    experiments.real_draws.cache_clear()


def test_all_figures_and_their_numbers(small, capsys):
    break_it.main(["--all", "--out", "figures"])
    names = {f"broken_{name}.png" for name in [*MISTAKES, "all"]}
    assert {p.name for p in Path("figures").iterdir()} == names | {
        "broken_measured.json"
    }
    measured = json.loads(Path("figures/broken_measured.json").read_text())
    assert set(measured) == set(MISTAKES)
    for rows in measured.values():
        assert rows["right"].keys() == rows["wrong"].keys()
        assert rows["right"] != rows["wrong"]
    assert measured["shards"]["right"] == measured["gap"]["right"]
    # Trained once for all that only sample, once with labels, once with the wrong loss.
    assert small == [loss, loss, loss_of_v]
    assert capsys.readouterr().out.count("Wrote ") == len(MISTAKES)


def test_one_mistake_writes_one_picture(small, capsys):
    break_it.main(["--mistake", "square"])
    assert [p.name for p in Path("outputs").iterdir()] == ["broken_square.png"]
    assert re.match(r"right: ratio .*\nwrong: ratio .*\nWrote", capsys.readouterr().out)
