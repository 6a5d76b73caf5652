"""The recipe of the embedded weights, and the short runs: small, against the library."""

import copy
import csv
import dataclasses
import itertools
import math
import re
import time

import numpy as np
import pytest
import torch
from conftest import TINY

from ddpm import checkpoints
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, save_weights
from ddpm.dataset import draw_all
from ddpm.files import ROOT, UserError
from ddpm.network import build
from ddpm.sampling import denoise
from ddpm.textiles import FAMILIES, pattern
from models import short_runs, train_embedded
from models.train_embedded import Settings, Training, batch_of, loss_of

CONFIG = TINY | {
    "families": tuple(FAMILIES),
    "padding": "circular",
    "objective": "pred_v",
    "full_attn": (True, True),
}
SMALL = Settings(
    config=CONFIG,
    textiles=16,
    pictures=40,
    batch_size=4,
    warm_up=2,
    emas=(0.5, 0.9),
    optimizer="Adam",
    start=None,
)


@pytest.fixture(scope="module")
def images():
    stack = np.stack([pattern(seed) for seed in range(16)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2)


def test_textiles_are_drawn_once_in_the_order_of_their_seeds(tmp_path, images):
    drawn = draw_all(8, first=4, data=tmp_path)
    assert torch.equal(drawn, images[4:12])
    (path,) = tmp_path.glob("*.npy")
    stamp = path.stat().st_mtime_ns
    assert torch.equal(draw_all(8, first=4, data=tmp_path), drawn)
    assert path.stat().st_mtime_ns == stamp


def test_a_batch_shows_cloth_with_its_name_and_noise_by_its_step(images):
    settings = dataclasses.replace(SMALL, batch_size=400, no_label=0.25)
    x_0, t, noise, label = batch_of(images, 7, settings)
    again = batch_of(images, 7, settings)
    assert all(
        torch.equal(*pair) for pair in zip((x_0, t, noise, label), again, strict=True)
    )
    assert not torch.equal(batch_of(images, 8, settings)[0], x_0)
    assert x_0.min() >= -1 and x_0.max() <= 1 and x_0.shape == (400, 3, 64, 64)
    assert noise.mean().abs() < 0.01 and noise.std() == pytest.approx(1, abs=0.01)
    assert (label.sum(dim=1) == 1).all()
    assert (label[:, 8] == 1).float().mean() == pytest.approx(0.25, abs=0.07)
    # A cloth and its name belong together.
    cloths = images / 127.5 - 1
    index = torch.cdist(x_0.flatten(1), cloths.flatten(1)).argmin(dim=1)
    torch.testing.assert_close(x_0, cloths[index])
    named = label[:, 8] == 0
    assert torch.equal(label.argmax(dim=1)[named], (index % 8)[named])


def test_timesteps_are_spread_as_the_settings_say(images):
    settings = dataclasses.replace(
        SMALL, batch_size=1000, spread=((0, 0), (0.5, 100), (1, 1000))
    )
    _, t, _, _ = batch_of(images[:, :, :8, :8], 3, settings)
    assert (t < 100).float().mean() == pytest.approx(0.5, abs=0.002)
    assert t.min() == 0 and 990 <= t.max() <= 999
    counts = torch.histc(t[t >= 100].float(), 9, 100, 1000)
    assert counts.max() - counts.min() <= 2  # evenly


def test_loss_is_the_librarys_without_its_weight():
    torch.manual_seed(0)
    diffusion = build(TINY | {"objective": "pred_v"})
    torch.nn.init.normal_(diffusion.model.final_conv.weight, std=0.3)
    x_0, noise = torch.rand(3, 3, 64, 64) * 2 - 1, torch.randn(3, 3, 64, 64)
    t = torch.tensor([5, 300, 990])
    theirs = diffusion((x_0 + 1) / 2, times=t, noise=noise, loss_reduction="none")
    theirs = (theirs / diffusion.loss_weight[t]).mean()
    ours = loss_of(diffusion, x_0, t, noise, None)
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0)  # bf16 where there is


@pytest.mark.parametrize("optimizer", ["Adam", "Muon", "SOAP"])
def test_stopped_and_resumed_is_as_if_it_had_not_been(images, optimizer):
    settings = dataclasses.replace(SMALL, optimizer=optimizer)
    whole, first = Training(settings), Training(settings)
    for _ in range(3):
        first.take_step(images)
    state = first.state_dict()
    second = Training(settings)
    second.load_state_dict(state)
    for _ in range(2):
        second.take_step(images)
    before = copy.deepcopy(whole.diffusion)
    for _ in range(5):
        whole.take_step(images)
    moved = zip(before.parameters(), whole.diffusion.parameters(), strict=True)
    assert sum(not torch.equal(a, b) for a, b in moved) > 100
    assert second.step == whole.step == 5
    for one, two in zip(
        (*second.emas, second.diffusion), (*whole.emas, whole.diffusion), strict=True
    ):
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_rate_warms_up_stays_and_falls_to_zero():
    settings = dataclasses.replace(SMALL, pictures=400, cooldown=0.25)
    training = Training(settings)
    rates = []
    for step in range(100):
        training.step = step
        rates.append(training.rate())
    assert rates[:3] == [0.5, 1, 1] and rates[49] == rates[74] == 1
    np.testing.assert_allclose(rates[75:], np.linspace(1, 0.04, 25))


def test_errors_are_root_mean_squares_by_noise_level(monkeypatch, images):
    monkeypatch.setattr(
        train_embedded, "draw_all", lambda count, first, draw: images[:count]
    )
    monkeypatch.setattr(train_embedded, "HELD_OUT", 0)
    diffusion = build(CONFIG).eval()
    # A network that answers v = noise * signal - x_0 * strength for x_0 = 0.
    diffusion.model.forward = lambda x, t, label: (
        x
        * (diffusion.alphas_cumprod[t] / (1 - diffusion.alphas_cumprod[t])).sqrt()[
            :, None, None, None
        ]
    )
    found = train_embedded.errors(diffusion, count=16)
    power = (images / 127.5 - 1).square().mean().sqrt().item()
    np.testing.assert_allclose(found, power, rtol=1e-3)


@pytest.fixture
def recipe(monkeypatch, images):
    """The recipe's train, on 16 textiles and without measuring."""

    def draw(count, first=0, draw=None):
        return images[:count]

    monkeypatch.setattr(train_embedded, "draw_all", draw)
    monkeypatch.setattr(train_embedded, "errors", lambda ema: [0.1] * 5)
    grid = torch.zeros(3, 8, 8)
    monkeypatch.setattr(train_embedded, "sixteen", lambda diffusion: grid)
    return train_embedded.train


def test_the_recipe_runs_stops_and_goes_on(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(train_embedded, "SAVE_EVERY", 0)
    recipe(dataclasses.replace(SMALL, pictures=12), tmp_path)
    recipe(SMALL, tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["pictures"]) for row in rows] == list(range(4, 44, 4))
    assert float(rows[0]["error at 0.02"]) == 0.1
    assert len(list(tmp_path.glob("samples_*.png"))) == len(rows)
    drawn = load_diffusion(tmp_path / "ema_0.9.pt", "cpu")
    assert drawn.model.families == tuple(FAMILIES)
    one, two = (load_diffusion(tmp_path / f"ema_{d}.pt", "cpu") for d in (0.5, 0.9))
    assert not torch.equal(one.model.init_conv.weight, two.model.init_conv.weight)


def test_it_is_saved_though_the_clock_is_set_back(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(train_embedded, "SAVE_EVERY", 0)
    days = itertools.count(0, -86_400)
    monkeypatch.setattr(time, "time", lambda: next(days))
    recipe(dataclasses.replace(SMALL, pictures=12), tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["pictures"] for row in rows] == ["4", "8", "12"]
    assert torch.load(tmp_path / "run.pt")["seconds"] >= 0


def test_a_diverged_run_leaves_the_state_from_before(recipe, tmp_path):
    recipe(dataclasses.replace(SMALL, pictures=8), tmp_path)
    before = (tmp_path / "run.pt").read_bytes()
    training = Training(SMALL)
    with torch.no_grad():
        training.emas[0].model.init_conv.weight[0] = math.nan
    with pytest.raises(UserError, match="would hold NaN"):
        train_embedded.save(training, tmp_path, 0.1)
    assert (tmp_path / "run.pt").read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: {"step": 3},
        lambda state: state | {"emas": state["emas"][:1]},
        lambda state: state | {"model": {}},
        lambda state: state | {"opt": 5},
        lambda state: state | {"settings": {"unheard of": 1}},
    ],
)
def test_what_is_no_run_is_named_and_left(spoil, recipe, tmp_path):
    recipe(dataclasses.replace(SMALL, pictures=8), tmp_path)
    path = tmp_path / "run.pt"
    torch.save(spoil(torch.load(path)), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"run\.pt is no run of this recipe"):
        recipe(SMALL, tmp_path)
    assert path.read_bytes() == before


def test_a_short_run_leaves_a_row_and_a_sheet(tmp_path, monkeypatch, images):
    variant = short_runs.ADAM | {"config": CONFIG, "textiles": 16, "batch_size": 4}
    monkeypatch.setattr(short_runs, "VARIANTS", {"tiny": variant})
    monkeypatch.setattr(short_runs, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(short_runs, "ROOT", tmp_path)
    monkeypatch.setattr(short_runs, "draw_all", lambda count, draw: images)
    monkeypatch.setattr(short_runs, "errors", lambda ema, draw: [0.1] * 5)
    monkeypatch.setattr(short_runs, "compile_for", lambda model, steps: None)
    monkeypatch.setattr(
        short_runs,
        "denoise",
        lambda diffusion, noise, steps, sampler, label: denoise(
            diffusion, noise, 1, sampler, label=label
        ),
    )
    threads = torch.get_num_threads()
    short_runs.main(["tiny", "--minutes", "0"])
    torch.set_num_threads(threads)
    (row,) = csv.DictReader((tmp_path / "table.csv").open())
    assert row["run"] == "tiny" and row["pictures"] == "0" and row["0.9"] == "0.1000"
    assert (tmp_path / "outputs" / "short_runs" / "tiny.png").is_file()


def test_it_takes_over_what_fits(tmp_path):
    """From weights without names, and with the cheap attention at the finest level."""
    older = dict(SMALL.config) | {"families": (), "full_attn": (False, True)}
    assert SMALL.config["full_attn"] == (True, True)
    torch.manual_seed(7)
    weights = build(older)
    save_weights(weights, older, 5, tmp_path / "older.pt")
    mine = Training(dataclasses.replace(SMALL, start=tmp_path / "older.pt")).diffusion
    theirs = weights.model.state_dict()
    taken = {
        name
        for name, tensor in mine.model.state_dict().items()
        if name in theirs and torch.equal(tensor, theirs[name])
    }
    assert {"init_conv.weight", "mid_attn.to_out.weight", "final_conv.bias"} <= taken
    assert "downs.0.2.mem_kv" not in taken  # of another shape
    assert torch.count_nonzero(mine.model.time_mlp.rows.weight) == 0  # new


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", CONFIG | {"padding": "zeros"}),
        ("start", EMBEDDED_WEIGHTS),
        ("optimizer", "Muon"),
        ("spread", ((0, 0), (1, 1000))),
    ],
)
def test_a_run_goes_on_with_its_own_settings_alone(name, value, recipe, tmp_path):
    short = dataclasses.replace(SMALL, pictures=8)
    recipe(short, tmp_path)
    before = (tmp_path / "run.pt").read_bytes()
    training = Training(short)
    training.settings = dataclasses.replace(SMALL, **{name: value})
    with pytest.raises(UserError, match=f"^This run has {name} = "):
        training.load_state_dict(torch.load(tmp_path / "run.pt"))
    assert (tmp_path / "run.pt").read_bytes() == before


def test_a_run_may_become_longer_and_cool_down_otherwise(recipe, tmp_path):
    recipe(dataclasses.replace(SMALL, pictures=8), tmp_path)
    longer = {"pictures": 16, "cooldown": 0.1}
    recipe(dataclasses.replace(SMALL, **longer), tmp_path)
    assert torch.load(tmp_path / "run.pt")["step"] == 4


def test_a_run_of_before_settings_were_kept_goes_on(recipe, tmp_path):
    recipe(dataclasses.replace(SMALL, pictures=8), tmp_path)
    state = torch.load(tmp_path / "run.pt")
    del state["settings"], state["seconds"]
    torch.save(state, tmp_path / "run.pt")
    recipe(dataclasses.replace(SMALL, pictures=12, spread=((0, 0), (1, 9))), tmp_path)
    assert torch.load(tmp_path / "run.pt")["step"] == 3


def test_minutes_are_those_of_all_sittings(recipe, tmp_path):
    recipe(dataclasses.replace(SMALL, pictures=8), tmp_path)
    state = torch.load(tmp_path / "run.pt")
    assert state["seconds"] > 0
    torch.save(state | {"seconds": 600.0}, tmp_path / "run.pt")
    recipe(dataclasses.replace(SMALL, pictures=12), tmp_path)
    *_, last = csv.DictReader((tmp_path / "log.csv").open())
    assert 10 <= float(last["minutes"]) < 11


def test_a_missing_embedded_file_is_to_be_fetched_back(monkeypatch, tmp_path):
    missing = tmp_path / "models" / "ddpm_fabrics_embedded.pt"
    monkeypatch.setattr(checkpoints, "EMBEDDED_WEIGHTS", missing)
    monkeypatch.setattr(checkpoints, "ROOT", tmp_path)
    with pytest.raises(
        UserError, match=r"git checkout models/ddpm_fabrics_embedded\.pt"
    ):
        Training(dataclasses.replace(SMALL, start=missing))


def test_the_cards_table_is_that_of_the_short_runs():
    card = (ROOT / "models" / "README.rst").read_text("utf-8")
    card = card[card.index("What was tried") :]
    rows = list(csv.DictReader(short_runs.TABLE.open()))
    for row in rows:
        errors = [f"{float(row[str(a)]):.3f}" for a in train_embedded.ALPHA_BARS]
        line = f" {row['run']} +{int(row['pictures']):,} {' '.join(errors)}\n"
        assert re.search(line.replace(".", r"\."), card), line
