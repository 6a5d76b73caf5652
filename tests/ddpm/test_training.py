import io
import itertools
import math
import os
import random
import shutil
import signal
import socket
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import TINY
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
from PIL import Image
from torch.multiprocessing import start_processes

from ddpm import copying, training
from ddpm.checkpoints import load_diffusion, save_weights
from ddpm.copying import Album
from ddpm.dataset import load_folder
from ddpm.files import UserError
from ddpm.network import build
from ddpm.steering import draw
from ddpm.training import FROM_START, MANY, Preset, draw_batch, learning_rate

PRESET = Preset(
    name="tiny",
    config=TINY | {"image_size": 16, "timesteps": 50},
    batch_size=4,
    gradient_accumulate=1,
    learning_rate=1e-3,
    steps=6,
    ema_decay=0.9,
    save_every=2,
    num_samples=16,
    warm_up=2,
    decays=True,
)


def with_pictures(folder):
    """`folder`, with 13 small pictures to train on."""
    (folder / "pictures").mkdir()
    for i in range(13):
        image = Image.new("RGB", (16, 16), (20 * i, 255 - 20 * i, 90))
        image.save(folder / "pictures" / f"{i:02d}.png")
    return folder


@pytest.fixture
def lab(tmp_path):
    """A folder to train in."""
    return with_pictures(tmp_path)


@pytest.fixture(autouse=True)
def hasty_pictures(monkeypatch):
    """The pictures of milestones in 2 steps: what they look like is not the matter."""

    def hasty(diffusion, seeds, steps, sampler):
        return draw(diffusion, seeds, 2, sampler)

    monkeypatch.setattr(training, "draw", hasty)


def train(lab, out, preset=PRESET, **more):
    training.train(preset, lab / out, lab / "pictures", device="cpu", enough=6, **more)


def weights(path):
    return torch.load(path, weights_only=True)


def assert_same_weights(a, b):
    for kind in ("model", "ema"):
        for name, tensor in a[kind].items():
            assert torch.equal(tensor, b[kind][name]), name


def test_a_run_leaves_milestones_pictures_and_a_model_to_draw_with(lab, capsys):
    train(lab, "run")
    results = lab / "run" / "training_results"
    for n in (1, 2, 3):
        assert Image.open(results / f"sample-{n}.png").size[0] > 64
        assert weights(results / f"model-{n}.pt")["step"] == 2 * n
    lines = (results / "loss.csv").read_text().split()
    assert lines[0] == "step,loss" and [x.split(",")[0] for x in lines[1:]] == list(
        "246"
    )
    assert (results / "loss_curve.png").exists()
    assert "Found 13 images in dataset" in capsys.readouterr().out
    final = lab / "run" / "models" / "ddpm_african_fabrics.pt"
    drawn = load_diffusion(final, "cpu").state_dict()
    last = weights(results / "model-3.pt")
    assert weights(final)["config"] == PRESET.config
    assert weights(final)["looks"] == last["looks"] == (0, 0)  # each of one colour
    for name, tensor in drawn.items():
        assert torch.equal(tensor, last["ema"][f"ema_model.{name}"])


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(lab):
    train(lab, "whole")
    train(lab, "stopped")
    results = lab / "stopped" / "training_results"
    (results / "model-3.pt").unlink()
    (results / "model-2.pt").unlink()
    train(lab, "stopped")
    a, b = (
        weights(lab / run / "training_results" / "model-3.pt")
        for run in ("whole", "stopped")
    )
    assert_same_weights(a, b)
    texts = [
        (lab / r / "training_results" / "loss.csv").read_text()
        for r in ("whole", "stopped")
    ]
    assert texts[0] == texts[1]


def test_ema_is_the_average_it_claims_to_be(lab):
    """Replayed by hand from the weights that each step left behind."""
    train(lab, "run", replace(PRESET, save_every=1))
    files = [
        weights(lab / "run" / "training_results" / f"model-{n}.pt") for n in range(1, 7)
    ]
    name = "model.init_conv.weight"
    average = files[0]["ema"][f"ema_model.{name}"].clone()
    for step, file in enumerate(files[1:], start=2):
        decay = min(0.9, step / (step + 9))
        average = decay * average + (1 - decay) * file["model"][name]
    torch.testing.assert_close(files[-1]["ema"][f"ema_model.{name}"], average)


def test_training_lowers_the_loss(lab):
    train(lab, "run", replace(PRESET, steps=60, save_every=20, learning_rate=5e-3))
    text = (lab / "run" / "training_results" / "loss.csv").read_text().split()[1:]
    losses = [float(line.split(",")[1]) for line in text]
    assert losses[-1] < 0.9 * losses[0]


def test_a_number_is_used_once_and_the_newest_told_by_its_step(lab):
    train(lab, "run", steps=4)
    results = lab / "run" / "training_results"
    before = {path: path.read_bytes() for path in results.glob("model-*.pt")}
    train(lab, "run", replace(PRESET, save_every=5, steps=10))
    assert all(path.read_bytes() == content for path, content in before.items())
    steps = {p.name: weights(p)["step"] for p in results.glob("model-*.pt")}
    assert steps == {
        "model-1.pt": 2,
        "model-2.pt": 4,
        "model-3.pt": 5,
        "model-4.pt": 10,
    }
    (results / "model-4.pt").rename(results / "model-0.pt")
    with pytest.raises(UserError, match="at step 10 already"):
        train(lab, "run")


@pytest.mark.parametrize("done", [0, 4])
def test_whether_to_compile_is_decided_for_the_whole_run(done, lab, monkeypatch):
    """A part that runs uncompiled would not end with the same bits."""
    if done:
        train(lab, "run", steps=done)
    totals = []
    monkeypatch.setattr(training, "compile_for", lambda _, steps: totals.append(steps))
    train(lab, "run", steps=6)
    assert totals == [6]


def test_another_preset_does_not_overwrite(lab):
    train(lab, "run")
    before = (lab / "run" / "training_results" / "model-1.pt").read_bytes()
    other = replace(PRESET, config=PRESET.config | {"dim": 16})
    with pytest.raises(UserError, match=r"another model .* --fresh"):
        train(lab, "run", other)
    assert (lab / "run" / "training_results" / "model-1.pt").read_bytes() == before
    train(lab, "run", other, fresh=True)
    kept = lab / "run" / "training_results" / "old-1"
    assert {"sample-3.png", "loss.csv", "loss_curve.png"} < {
        p.name for p in kept.iterdir()
    }
    assert (kept / "model-1.pt").read_bytes() == before
    assert len((kept.parent / "loss.csv").read_text().split()) == 4  # a new curve


def test_batches(lab):
    images = (
        torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1).expand(10, 3, 4, 4)
    )
    batches = [draw_batch(images, step, 3, 1000) for step in range(6)]
    for epoch in (batches[:3], batches[3:]):  # 10 // 3 = 3 batches an epoch
        seen = torch.cat([x_0[:, 0, 0, 0] for x_0, *_ in epoch]) * 255
        assert len(set(seen.round().tolist())) == 9  # no picture twice
    for _, t, noise, _ in batches:
        assert t.dtype == torch.int64 and t.min() >= 0 and t.max() < 1000
        assert len({int(third) for third in t * 3 // 1000}) == 3  # evenly spread
        assert noise.shape == (3, 3, 4, 4)
    t = torch.cat([draw_batch(images, s, 10, 1000, middle=True)[1] for s in range(99)])
    inside = ((t >= 30) & (t < 450)).float().mean()
    assert inside == pytest.approx(0.5 + 0.5 * 0.42, abs=0.02)
    again = draw_batch(images, 4, 3, 1000)
    assert all(map(torch.equal, again[:3], batches[4][:3]))


def test_mirrors_about_half_of_the_pictures():
    images = torch.arange(4, dtype=torch.uint8).expand(64, 3, 4, 4)
    x_0, *_ = draw_batch(images, 0, 64, 1000, ("mirror",), side=4)
    mirrored = x_0[:, 0, 0, 0] > 0
    assert 20 < mirrored.sum() < 44
    assert torch.equal(x_0[mirrored][0], x_0[~mirrored][0].flip(-1))


def test_learning_rate_warms_up_and_decays():
    falling = {"warm_up": 2, "decays": True}
    assert learning_rate(1e-3, 0, 0.0, **falling) == pytest.approx(0.5e-3)
    assert learning_rate(1e-3, 50, 0.5, **falling) == pytest.approx(0.5e-3)
    assert learning_rate(1e-3, 99, 0.99, **falling) == pytest.approx(1e-5)
    assert learning_rate(1e-3, 99, 0.99, warm_up=2, decays=False) == 1e-3


@pytest.mark.parametrize("out", [".", "run/deep"])
def test_what_it_writes_is_no_picture_to_train_on(out, lab):
    (lab / "a_link").symlink_to(lab)
    for data in (lab, lab / "a_link"):
        with pytest.raises(
            UserError, match=r"would be trained on\. Give an --out else"
        ):
            training.train(PRESET, lab / out, data, device="cpu")
    assert not list(lab.rglob("training_results"))


def test_too_few_pictures_say_what_to_do(lab):
    with pytest.raises(UserError, match=r"13 images are fewer than one batch of 14"):
        train(lab, "run", replace(PRESET, batch_size=14))


def test_too_few_steps_do_not_become_everybodys_model(lab, capsys):
    train(lab, "run", steps=5)
    assert "too few" in capsys.readouterr().out
    assert not (lab / "run" / "models").exists()
    load_diffusion(lab / "run" / "training_results" / "model-3.pt", "cpu")
    assert "is hardly trained: expect noise" in capsys.readouterr().out


def test_a_diverged_run_stops_and_keeps_the_last_milestone(lab, monkeypatch):
    train(lab, "run", steps=2)
    milestone = lab / "run" / "training_results" / "model-1.pt"
    before = milestone.read_bytes()
    monkeypatch.setattr(training, "learning_rate", lambda *_: float("nan"))
    with pytest.raises(UserError, match=r"loss is nan at step .* Lower the learning"):
        train(lab, "run")
    assert milestone.read_bytes() == before
    assert not list(milestone.parent.glob("model-2*"))


class Gone(io.StringIO):
    """What is printed to when `| tee` has died of the same Ctrl-C."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"]


@pytest.mark.parametrize("name", [s for s in SIGNALS if hasattr(signal, s)])
def test_a_signal_saves_and_says_how_to_go_on(name, lab, monkeypatch):
    name, draw = getattr(signal, name), training.draw_batch
    handler = lambda *_: None  # noqa: E731
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    before = signal.signal(name, handler)

    def interrupting(images, step, *rest, **more):
        if step == 2:
            sys.stdout = Gone()
            signal.raise_signal(name)
        return draw(images, step, *rest, **more)

    monkeypatch.setattr(training, "draw_batch", interrupting)
    how = r"saved at step 3 of 6\. The same command, without --fresh, goes on from"
    with pytest.raises(UserError, match=how):
        train(lab, "run")
    results = lab / "run" / "training_results"
    assert weights(results / "model-2.pt")["step"] == 3
    assert not (results / "sample-2.png").exists()  # no time for pictures now
    assert signal.getsignal(name) is handler
    signal.signal(name, before)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_a_run_under_nohup_outlives_its_terminal(lab, monkeypatch):
    draw = training.draw_batch

    def interrupting(images, step, *rest, **more):
        signal.raise_signal(signal.SIGHUP)
        return draw(images, step, *rest, **more)

    monkeypatch.setattr(training, "draw_batch", interrupting)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(lab, "run", steps=2)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_weights_that_are_not_numbers_are_not_saved(lab, monkeypatch):
    """The last step may spoil them after a loss that was finite."""
    update = training.ema_update

    def spoil(ema, model, step, decay):
        update(ema, model, step, decay)
        if step == 4:
            next(model.parameters()).data[0] = math.nan

    monkeypatch.setattr(training, "ema_update", spoil)
    with pytest.raises(UserError, match=r"loss is nan at step 4.*without --fresh"):
        train(lab, "run")
    assert [p.name for p in lab.rglob("model-*.pt")] == ["model-1.pt"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError(
            "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"),  # Windows
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_size_to_try(error, lab, monkeypatch):
    train(lab, "run", steps=2)
    draw = training.draw_batch

    def greedy(images, step, *rest, **more):
        if step == 3:
            raise error
        return draw(images, step, *rest, **more)

    monkeypatch.setattr(training, "draw_batch", greedy)
    with pytest.raises(UserError, match=r"4 pictures a step\. Set .* to 2;"):
        train(lab, "run")
    monkeypatch.setattr(training, "draw_batch", draw)
    train(lab, "run")
    results = lab / "run" / "training_results"
    assert weights(results / "model-3.pt")["step"] == 6


def test_a_new_run_can_begin_with_given_weights(lab):
    train(lab, "first")
    first = lab / "first" / "models" / "ddpm_african_fabrics.pt"
    train(lab, "second", replace(PRESET, learning_rate=0.0), start=first)
    second = weights(lab / "second" / "training_results" / "model-3.pt")
    for name, tensor in weights(first)["ema"].items():
        assert torch.equal(second["model"][name.removeprefix("ema_model.")], tensor)


def test_a_new_run_can_begin_with_weights_of_the_one_it_moves_aside(lab):
    train(lab, "run", steps=2)
    results = lab / "run" / "training_results"
    first, still = results / "model-1.pt", replace(PRESET, learning_rate=0.0)
    kept = first.read_bytes()
    with pytest.raises(UserError, match=r"typo\.pt does not exist"):
        train(lab, "run", start=results / "typo.pt", fresh=True)
    assert first.read_bytes() == kept  # the run is not moved aside for nothing
    train(lab, "run", still, steps=2, start=first, fresh=True)
    assert (results / "old-1" / "model-1.pt").read_bytes() == kept
    averaged = weights(results / "old-1" / "model-1.pt")["ema"]
    for name, tensor in weights(first)["model"].items():
        assert torch.equal(averaged[f"ema_model.{name}"], tensor)


def test_weights_to_begin_with_have_to_be_there(lab):
    with pytest.raises(UserError, match=r"nowhere\.pt does not exist"):
        train(lab, "run", start=lab / "nowhere.pt")


# --- Milestones that are broken, or none --------------------------------------


@pytest.fixture(scope="module")
def two_milestones(tmp_path_factory):
    """A folder with those of steps 2 and 4."""
    lab = with_pictures(tmp_path_factory.mktemp("two"))
    train(lab, "run", steps=4)
    return lab / "run" / "training_results"


def begin(results, preset=PRESET):
    return training.begin(preset, torch.device("cpu"), results)


def without(name):
    return lambda state: state.pop(name)


def given(name, value):
    return lambda state: state.update({name: value})


def spoil_adam(change):
    """change: of the optimiser's dict for the first parameter."""
    return lambda state: change(state["opt"]["state"][0])


WEIGHT = "model.init_conv.weight"
SPOILT = {
    **{f"no {name}": without(name) for name in ("opt", "step", "model")},
    **{f"step {v!r}": given("step", v) for v in ("4", 4.0, 0, None, math.nan, 2**70)},
    "step tensor": given("step", torch.tensor(4)),
    **{f"losses {v!r}": given("losses", v) for v in (5, None, [1], [(2, "y")])},
    **{f"opt {v!r}": given("opt", v) for v in (5, {}, {"state": 3}, {"state": {}})},
    **{f"model {v!r}": given("model", v) for v in (5, {}, None)},
    "adam without a moment": spoil_adam(lambda adam: adam.pop("exp_avg")),
    "adam of another shape": spoil_adam(given("exp_avg", torch.zeros(3))),
    "adam in whole numbers": spoil_adam(
        lambda adam: adam.update(exp_avg=adam["exp_avg"].int())
    ),
    "adam is nan": spoil_adam(lambda adam: adam["exp_avg_sq"].fill_(math.nan)),
    "adam with a square below 0": spoil_adam(
        lambda adam: adam["exp_avg_sq"].fill_(-1.0)
    ),
    "adam at a step below 0": spoil_adam(lambda adam: adam["step"].fill_(-4.0)),
    "adam is a number": lambda state: state["opt"]["state"].update({0: 5}),
    "adam cut": lambda state: state["opt"]["state"].popitem(),
    "no weight": lambda state: state["model"].pop(WEIGHT),
    "weight of another shape": lambda state: state["model"].update(
        {WEIGHT: torch.zeros(3)}
    ),
    "weight is text": lambda state: state["model"].update({WEIGHT: "x"}),
    "weight is nan": lambda state: state["model"][WEIGHT].fill_(math.nan),
    "averaged weight is nan": lambda state: state["ema"][f"ema_model.{WEIGHT}"].fill_(
        math.nan
    ),
    "averaged weights gone": given("ema", {}),
}


@pytest.mark.parametrize("kind", [*SPOILT, "cut", "empty"])
def test_a_broken_milestone_is_named_and_the_one_before_taken(
    kind, two_milestones, tmp_path, capsys
):
    results = tmp_path / "training_results"
    results.mkdir()
    path = results / "model-2.pt"
    shutil.copy(two_milestones / "model-2.pt", path)
    if kind in SPOILT:
        state = weights(path)
        SPOILT[kind](state)
        torch.save(state, path)
    else:
        path.write_bytes(path.read_bytes()[: 5_000 if kind == "cut" else 0])
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"No milestone in .* begin anew with --fresh"):
        begin(results)
    shutil.copy(two_milestones / "model-1.pt", results)
    capsys.readouterr()
    run = begin(results)
    out = capsys.readouterr().out
    assert out.count("Left out: ") == 1 and "model-2.pt" in out
    assert run.step == 2
    assert path.read_bytes() == before
    training.save_milestone(run, PRESET, tmp_path, 6, picture=False)
    assert path.read_bytes() == before  # nor is it overwritten
    assert weights(results / "model-3.pt")["step"] == 2


def test_the_optimiser_goes_on_with_the_rates_of_the_preset(two_milestones):
    run = begin(two_milestones, replace(PRESET, learning_rate=0.5))
    assert run.step == 4 and run.optimizer.param_groups[0]["lr"] == 0.5
    moments = weights(two_milestones / "model-2.pt")["opt"]["state"][0]["exp_avg"]
    parameter = run.optimizer.param_groups[0]["params"][0]
    assert torch.equal(run.optimizer.state[parameter]["exp_avg"], moments)


def test_weights_alone_are_a_start_and_it_says_so(two_milestones, tmp_path, capsys):
    state = weights(two_milestones / "model-2.pt")
    alone = {k: v for k, v in state.items() if k not in ("opt", "model")}
    torch.save(alone | {"step": 60_000}, tmp_path / "model-1.pt")
    run = begin(tmp_path)
    assert run.step == 0 and "holds weights alone" in capsys.readouterr().out
    kept = state["ema"][f"ema_model.{WEIGHT}"]
    assert torch.equal(run.diffusion.state_dict()[WEIGHT], kept)
    assert torch.equal(run.ema.state_dict()[WEIGHT], kept)
    shutil.copy(two_milestones / "model-2.pt", tmp_path)
    assert begin(tmp_path).step == 4  # a run comes before them


@pytest.mark.parametrize("name", ["first.pt", "nowhere.pt"])
def test_given_weights_do_not_take_the_place_of_a_run_that_lies_there(name, lab):
    train(lab, "run", steps=2)
    before = {path: path.stat().st_mtime_ns for path in (lab / "run").rglob("*")}
    with pytest.raises(UserError, match=r"one lies in .* add --fresh .*\.pt\."):
        train(lab, "run", start=lab / name)
    after = {path: path.stat().st_mtime_ns for path in (lab / "run").rglob("*")}
    assert after == before


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_that_is_there_already_says_so(steps, lab, capsys):
    train(lab, "run", steps=2)
    with pytest.raises(
        UserError, match=r"at step 2 already: nothing to do\. Give a lar"
    ):
        train(lab, "run", steps=steps)


def test_a_run_killed_before_it_wrote_its_result_writes_it_the_next_time(lab):
    train(lab, "run")
    result = lab / "run" / "models" / "ddpm_african_fabrics.pt"
    before = result.read_bytes()
    result.unlink()
    with pytest.raises(UserError, match="at step 6 already"):
        train(lab, "run")
    assert result.read_bytes() == before


def test_uniform_weight_is_the_mean_squared_error_of_v(lab):
    """The first loss of a run, computed again from the equations."""
    train(lab, "run", steps=1)
    torch.manual_seed(0)
    diffusion = build(PRESET.config)
    images, _ = load_folder(lab / "pictures", 16)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    x, t, noise, _ = draw_batch(images, 0, 4, 50, ("mirror",), side=16)
    a = diffusion.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    x = 2 * x - 1
    v = a.sqrt() * noise - (1 - a).sqrt() * x  # Salimans and Ho (2022), appendix D
    error = diffusion.model(a.sqrt() * x + (1 - a).sqrt() * noise, t) - v
    line = (lab / "run" / "training_results" / "loss.csv").read_text().split()[1]
    loss = error.square().mean().item()
    assert float(line.split(",")[1]) == pytest.approx(loss, rel=0.01)  # bf16


def call_counter(counts, at=None):
    """A profiler that counts calls, and kills this process at the one numbered `at`."""

    def count(frame, event, argument):
        counts[0] += event in ("call", "c_call")
        if counts[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


LONGER = replace(PRESET, steps=40, save_every=4)


def train_until_killed(lab, steps, calls):
    """Train on for some steps, then for some calls of whatever functions."""
    draw, drawn = training.draw_batch, []

    def counting(*args):
        drawn.append(args)
        if len(drawn) == steps:
            sys.setprofile(call_counter([0], calls))
        return draw(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "draw_batch", counting)
        train(lab, "killed", LONGER)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_killed_at_ten_random_moments_it_ends_as_if_it_had_not_been(lab):
    """Moments are counted in calls, so that no machine is too fast or too slow."""
    counts = [0]
    sys.setprofile(call_counter(counts))
    train(lab, "whole", LONGER)
    sys.setprofile(None)
    results = lab / "killed" / "training_results"
    moments = random.Random(0)
    progress = []
    for _ in range(10):
        steps = moments.randint(1, 5)
        calls = moments.randint(1, counts[0] // 10)  # as many as four steps take
        child = os.fork()
        if child == 0:
            train_until_killed(lab, steps, calls)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        for path in results.glob("*"):
            if path.suffix == ".pt" and not path.name.startswith("."):
                progress.append(weights(path)["step"])  # not one is cut short
            elif path.suffix == ".png" and not path.name.startswith("."):
                Image.open(path).load()
    assert len(set(progress)) > 3
    train(lab, "killed", LONGER)
    a, b = (
        weights(lab / run / "training_results" / "model-10.pt")
        for run in ("whole", "killed")
    )
    assert_same_weights(a, b)
    assert a["losses"] == b["losses"]


def train_as(rank, lab, processes, port):
    """Train in a process that finds what `accelerate launch` tells those it starts."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    train(lab, f"run{processes}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
def test_two_processes_train_as_one(lab, capfd, monkeypatch):
    monkeypatch.setattr(training, "precision", lambda device: "no")
    for processes in (1, 2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        start_processes(
            train_as, (lab, processes, port), processes, start_method="fork"
        )
        assert capfd.readouterr().out.count("Found 13 images") == 1  # one speaks
    one, two = (
        weights(lab / f"run{n}" / "training_results" / "model-3.pt") for n in (1, 2)
    )
    for kind in ("model", "ema"):
        for name, tensor in one[kind].items():
            torch.testing.assert_close(two[kind][name], tensor, atol=2e-5, rtol=1e-4)
    assert two["losses"][0][1] == pytest.approx(one["losses"][0][1], rel=1e-4)


def test_the_librarys_trainer_reads_ours_and_we_read_its(lab):
    for i in range(100):  # the Trainer wants no fewer
        Image.new("RGB", (16, 16), (i, i, 0)).save(lab / "pictures" / f"more{i}.png")
    config = PRESET.config | {"patch": 1, "dim_mults": (1, 2)}
    results = lab / "run" / "training_results"
    library = Trainer(
        GaussianDiffusion(
            Unet(8, dim_mults=(1, 2)),
            image_size=16,
            timesteps=50,
            objective="pred_v",
            beta_schedule="linear",
        ),
        str(lab / "pictures"),
        train_num_steps=2,
        calculate_fid=False,
        results_folder=str(results.parent),
    )
    library.results_folder = results
    results.mkdir()
    library.train()
    library.save(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    train(lab, "run", replace(PRESET, config=config), steps=4)  # from its step 2
    ours = weights(results / "model-2.pt")
    assert ours["step"] == 4
    library.load(2)
    assert library.step == 4
    for name, tensor in library.ema.ema_model.state_dict().items():
        assert torch.equal(tensor, ours["ema"][f"ema_model.{name}"])
    library.train_num_steps = 5
    library.train()
    assert library.step == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a forked process")
def test_a_full_disk_stops_it_with_the_last_milestone_intact(lab, capfd):
    import resource

    train(lab, "run", steps=2)
    milestone = lab / "run" / "training_results" / "model-1.pt"
    before = milestone.read_bytes()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))
        try:
            train(lab, "run")
        except UserError as error:
            os.write(2, str(error).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert "model-2.pt: " in (error := capfd.readouterr().err) and "Make room" in error
    assert milestone.read_bytes() == before
    assert not list(milestone.parent.glob("*model-2*"))
    train(lab, "run")  # with room again, it goes on
    assert weights(milestone.with_name("model-3.pt"))["step"] == 6


# --- Knobs ------------------------------------------------------------------


CHANGED = {
    "batch_size": 5,
    "gradient_accumulate": 2,
    "learning_rate": 2e-3,
    "steps": 8,
    "ema_decay": 0.1,
    "save_every": 3,
    "num_samples": 4,
    "warm_up": 5,
    "decays": False,
    "middle": True,
}


def left(folder):
    """What a run leaves behind: sizes of its pictures, averaged weights."""
    pictures = {p.name: Image.open(p).size for p in folder.rglob("sample-*.png")}
    newest = max(folder.rglob("model-*.pt"), key=lambda p: weights(p)["step"])
    return pictures, weights(newest)["ema"]["ema_model.model.init_conv.weight"]


@pytest.fixture(scope="module")
def left_as_it_is(tmp_path_factory):
    """What a run with the preset as it is leaves behind."""
    lab = with_pictures(tmp_path_factory.mktemp("plain"))
    train(lab, "run")
    return left(lab / "run")


@pytest.mark.parametrize("knob", CHANGED)
def test_every_knob_of_a_preset_is_read(knob, lab, left_as_it_is):
    """Each changes what a run leaves behind."""
    train(lab, "turned", replace(PRESET, **{knob: CHANGED[knob]}))
    (pictures, ema), (other_pictures, other_ema) = left_as_it_is, left(lab / "turned")
    assert pictures != other_pictures or not torch.equal(ema, other_ema)


def test_results_that_cannot_be_written_to_are_named_before_training(lab):
    (lab / "run").mkdir()
    (lab / "run" / "training_results").touch()
    with pytest.raises(UserError, match=r"training_results: .* Give another folder"):
        train(lab, "run")


# --- One's own pictures, from weights that can draw, within some minutes --------


OWN = replace(
    PRESET,
    config=FROM_START,
    steps=MANY,
    save_every=MANY,
    minutes=3,
    held_out=0.2,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is ten seconds further whenever somebody looks: 18 steps in all."""
    ticks = itertools.count(0, 10)
    monkeypatch.setattr(training, "monotonic", lambda: next(ticks))


@pytest.fixture
def numbers(monkeypatch):
    """Copying numbers in place of those that are measured."""
    given = [1.0] * 99
    monkeypatch.setattr(Album, "number", lambda self, samples: given.pop(0))
    return given


@pytest.fixture
def known(lab):
    """The file of a model that knows three families, and can be asked in one pass."""
    config = TINY | {"image_size": 16, "timesteps": 50, "padding": "circular"}
    config |= {"families": ("kente", "kuba", "adire"), "guidance": "one pass"}
    torch.manual_seed(5)
    diffusion = build(config)
    torch.nn.init.normal_(diffusion.model.time_mlp.rows.weight)
    save_weights(diffusion, config, 70, lab / "known.pt")
    return lab / "known.pt"


def own(lab, out, preset=OWN, **more):
    train(lab, out, preset, start=lab / "known.pt", **more)


def rate_of(milestone):
    return milestone["opt"]["param_groups"][0]["lr"]


def test_a_run_ends_with_its_minutes_and_keeps_one_milestone(
    lab, known, clock, numbers, capsys
):
    own(lab, "run")
    results = lab / "run" / "training_results"
    (last,) = results.glob("model-*.pt")
    state = weights(last)
    assert (state["step"], state["seconds"]) == (18, 180)
    assert [step for step, _ in state["losses"]] == [6, 12, 18]  # one a minute
    assert len(list(results.glob("sample-*.png"))) == 3
    assert (results / copying.PICTURE).exists()
    assert rate_of(state) == pytest.approx(1e-3 * (1 - 170 / 180))
    assert "These are new" in (out := capsys.readouterr().out) and "--back" in out
    final = weights(lab / "run" / "models" / "ddpm_african_fabrics.pt")
    assert final["step"] == 70 + 18
    for name, tensor in final["ema"].items():
        assert torch.equal(tensor, state["ema"][name])


def test_the_same_command_goes_on_and_uses_the_minutes_that_are_left(
    lab, known, clock, numbers, monkeypatch, capsys
):
    own(lab, "whole")
    draw_batch = training.draw_batch

    def interrupting(images, step, *rest):
        if step in (3, 14):
            signal.raise_signal(signal.SIGTERM)
        return draw_batch(images, step, *rest)

    monkeypatch.setattr(training, "draw_batch", interrupting)
    for minute in (1, 2):
        with pytest.raises(UserError, match=rf"minute {minute} of 3\. The same comm"):
            own(lab, "stopped")
    own(lab, "stopped")
    assert "from step 15 to 3 minutes" in capsys.readouterr().out
    a, b = (
        weights(next((lab / run / "training_results").glob("model-*.pt")))
        for run in ("whole", "stopped")
    )
    assert_same_weights(a, b)
    assert b["seconds"] == 180
    assert len(list((lab / "stopped").rglob("model-*.pt"))) == 1
    with pytest.raises(UserError, match=r"at step 18 already.*--fresh"):
        own(lab, "stopped")


def test_with_steps_the_time_plays_no_part(lab, known, numbers, monkeypatch):
    for run, pace in (("slow", 50), ("fast", 1)):
        ticks = itertools.count(0, pace)
        with monkeypatch.context() as patch:
            patch.setattr(training, "monotonic", lambda: next(ticks))  # noqa: B023
            own(lab, run, replace(OWN, save_every=2), steps=6)
    a, b = (
        weights(next((lab / run / "training_results").glob("model-*.pt")))
        for run in ("slow", "fast")
    )
    assert_same_weights(a, b)
    assert [step for step, *_ in a["copying"]] == [2, 4, 6]


def test_where_copying_begins_the_weights_from_before_are_kept(
    lab, known, clock, numbers, capsys
):
    numbers[:2] = [0.9, 0.2]
    own(lab, "run")
    out = capsys.readouterr().out
    assert "These are copies" in out and "weights of step 6 are kept" in out
    results = lab / "run" / "training_results"
    (last,) = results.glob("model-*.pt")
    assert weights(last)["step"] == 12  # it has stopped
    final = lab / "run" / "models" / "ddpm_african_fabrics.pt"
    assert weights(final)["step"] == 70 + 6
    with pytest.raises(UserError, match="at step 12 already"):
        own(lab, "run")
    assert "These are copies" in capsys.readouterr().out
    assert weights(final)["step"] == 70 + 6


def test_held_out_pictures_are_never_trained_on(lab, known, numbers, monkeypatch):
    seen, draw_batch = set(), training.draw_batch

    def watching(images, *rest):
        seen.update(int(image[0, 0, 0]) // 20 for image in images)
        return draw_batch(images, *rest)

    monkeypatch.setattr(training, "draw_batch", watching)
    own(lab, "run", steps=6)
    assert len(seen) == 13 - 3  # a fifth, rounded up
    train(lab, "all")
    assert len(seen) == 13


def test_the_first_weights_are_those_of_no_name(lab, known):
    """Whatever it was told, a network that forgets names draws as it did without."""
    train(lab, "run", replace(OWN, learning_rate=0.0), start=known, steps=1)
    mine = load_diffusion(
        next((lab / "run" / "training_results").glob("model-*.pt")), "cpu"
    )
    theirs = load_diffusion(known, "cpu")
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 40])
    assert mine.model.families == () and mine.model.guidance == "two passes"
    torch.testing.assert_close(mine.model(x, t), theirs.model(x, t))


def in_folders(lab):
    """The pictures, sorted into two folders; one name is known to the model."""
    for number, path in enumerate(sorted((lab / "pictures").glob("*.png"))):
        folder = lab / "pictures" / ("kuba" if number % 2 else "my curtains")
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)


def test_names_of_folders_can_be_asked_for(lab, known, numbers, capsys):
    in_folders(lab)
    train(lab, "run", OWN, start=known, steps=6, labels=True)
    assert "Names: kuba, my curtains" in capsys.readouterr().out
    final = lab / "run" / "models" / "ddpm_african_fabrics.pt"
    diffusion = load_diffusion(final, "cpu")
    assert diffusion.model.families == ("kuba", "my curtains")
    rows = [d.model.time_mlp.rows.weight for d in (diffusion, load_diffusion(known))]
    kuba, curtains, unnamed = rows[0].T
    before = dict(zip(("kente", "kuba", "adire", None), rows[1].T, strict=True))
    for row, begun in ((kuba, "kuba"), (curtains, None), (unnamed, None)):
        apart = {name: (row - old).norm().item() for name, old in before.items()}
        assert min(apart, key=apart.get) == begun  # a few steps from where it began
    assert not torch.equal(curtains, unnamed)
    assert draw(diffusion, range(3), 2, "dpmpp").shape == (3, 3, 16, 16)


def test_one_label_in_ten_is_left_out_and_the_others_are_right():
    images = torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1)
    rows = torch.eye(5)[torch.arange(100) % 4]
    unnamed = 0
    for step in range(20):
        x_0, *_, labels = draw_batch(
            images.expand(100, 3, 4, 4), step, 50, 1000, labels=rows
        )
        number = (x_0[:, 0, 0, 0] * 255).round().long() % 4
        named = labels[:, 4] == 0
        assert torch.equal(labels[named], torch.eye(5)[number[named]])
        unnamed += (~named).sum().item()
    assert unnamed / 1000 == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("name", ["any", "none"])
def test_a_folder_whose_name_means_something_else_is_named(name, lab, known):
    (lab / "pictures" / name).mkdir()
    shutil.copy(lab / "pictures" / "00.png", lab / "pictures" / name)
    with pytest.raises(UserError, match=f"--family {name} means"):
        train(lab, "run", OWN, start=known, labels=True)


def test_other_pictures_or_another_start_are_another_run(lab, known, clock, numbers):
    own(lab, "run", steps=6)
    before = {p: p.stat().st_mtime_ns for p in (lab / "run").rglob("*")}
    shutil.copy(known, lab / "other.pt")
    with pytest.raises(UserError, match=r"one lies in .* add --fresh"):
        train(lab, "run", OWN, start=lab / "other.pt")
    (lab / "pictures" / "12.png").unlink()
    with pytest.raises(UserError, match=r"from other pictures.*--fresh"):
        own(lab, "run")
    assert before == {p: p.stat().st_mtime_ns for p in (lab / "run").rglob("*")}


def test_a_model_that_lies_there_is_not_lost(lab, known, clock, numbers):
    final = lab / "run" / "models" / "ddpm_african_fabrics.pt"
    final.parent.mkdir(parents=True)
    final.write_text("of a friend")
    own(lab, "run")
    kept = lab / "run" / "training_results" / "old-1" / final.name
    assert kept.read_text() == "of a friend" and weights(final)["step"] == 88


def test_a_network_that_draws_its_training_pictures_is_caught(
    lab, known, clock, monkeypatch, capsys
):
    """Noise at first, then more and more what it was trained on."""
    rng = np.random.default_rng(0)
    for path in (lab / "pictures").iterdir():
        checks = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1)))
        Image.fromarray(checks.astype(np.uint8)).save(path)
    images = load_folder(lab / "pictures", 16)[0]
    images = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    learnt = iter([0.0, 0.9])

    def draw(diffusion, seeds, steps, sampler):
        by_heart = next(learnt)
        return by_heart * images.flip(-1) + (1 - by_heart) * torch.rand(images.shape)

    monkeypatch.setattr(training, "draw", draw)
    own(lab, "run")
    assert "These are copies: at step 12" in capsys.readouterr().out
    assert weights(lab / "run" / "models" / "ddpm_african_fabrics.pt")["step"] == 76
