import re
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from denoising_diffusion_pytorch import GaussianDiffusion

from checks import diagnose
from checks.diagnose import RIGHT_RANGE, SCHEDULES, drawn, fits, hypotheses, main
from ddpm.checkpoints import EMBEDDED_WEIGHTS, from_checkpoint, read_checkpoint
from ddpm.dataset import textiles
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, build
from ddpm.sampling import draw_noise


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(diagnose, "PICTURES", 1)


def alpha_bar_of(schedule):
    return torch.cumprod(1 - SCHEDULES[schedule](1000), dim=0)


def answer(objective, a, x_0, noise):
    v = a.sqrt() * noise - (1 - a).sqrt() * x_0  # Salimans and Ho 2022, section 4
    return {"pred_noise": noise, "pred_v": v, "pred_x0": x_0}[objective]


class BestNetwork(torch.nn.Module):
    """The network that no training can beat, where the data are twelve textiles.

    The mean of all that might hide in the noise is Bayes' rule, in closed form.
    """

    def __init__(self, objective, schedule, value_range):
        super().__init__()
        images = np.stack([textiles.pattern(1_000_000 + i) for i in range(12)])
        low, high = value_range
        x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
        self.data = x * (high - low) + low  # (12, 3, 64, 64)
        self.alpha_bar, self.objective = alpha_bar_of(schedule), objective

    def forward(self, x, t):
        a = self.alpha_bar[t].reshape(-1, 1, 1, 1)
        apart = (x[:, None] - a.sqrt()[:, None] * self.data).square().sum((2, 3, 4))
        share = F.softmax(-apart / (2 * (1 - a).flatten(1)), dim=1)  # (B, 12)
        x_0 = torch.einsum("bk,kchw->bchw", share, self.data)
        noise = (x - a.sqrt() * x_0) / (1 - a).sqrt()
        return answer(self.objective, a, x_0, noise).float()


class Retrained(torch.nn.Module):
    """The embedded network as if it had been trained on pixels of another range.

    With m and c the half-width and middle of that range, its mixture is, up to c and a
    factor, one of ours with another share of signal: the question is put into our terms
    and the answer back into theirs.
    """

    def __init__(self, diffusion, low, high):
        super().__init__()
        self.model, self.alpha_bar = diffusion.model, diffusion.alphas_cumprod
        self.m, self.c = (high - low) / 2, (high + low) / 2

    def forward(self, x, t):
        a = self.alpha_bar[t].reshape(-1, 1, 1, 1)
        scale = (a * self.m**2 + 1 - a).sqrt()
        x = (x - a.sqrt() * self.c) / scale
        ours = (a * self.m**2 / scale**2).flatten()
        t = (self.alpha_bar[None] - ours[:, None]).abs().argmin(1)
        b = self.alpha_bar[t].reshape(-1, 1, 1, 1)
        v = self.model(x, t)
        x_0, noise = (
            b.sqrt() * x - (1 - b).sqrt() * v,
            (1 - b).sqrt() * x + b.sqrt() * v,
        )
        return answer("pred_v", a, self.m * x_0 + self.c, noise)


@pytest.mark.parametrize(
    ("objective", "schedule", "value_range", "names"),
    [
        ("pred_v", "linear", (-1, 1), []),
        ("pred_noise", "linear", (-1, 1), ["objective"]),
        ("pred_x0", "linear", (-1, 1), ["objective"]),
        ("pred_v", "cosine", (-1, 1), ["schedule"]),
        ("pred_v", "sigmoid", (-1, 1), ["schedule"]),
        ("pred_noise", "cosine", (-1, 1), ["objective", "schedule"]),
        ("pred_v", "linear", (0, 1), ["value range"]),
        ("pred_v", "linear", (-3, 1), ["value range"]),
        ("pred_v", "linear", (0, 255), ["value range"]),
        ("pred_v", "linear", (-1, 509), ["value range"]),
        ("pred_noise", "linear", (0, 1), ["objective", "value range"]),
    ],
)
def test_the_best_network_shows_what_it_was_trained_for(
    tiny, objective, schedule, value_range, names
):
    tiny.model = BestNetwork(objective, schedule, value_range)
    found = fits(hypotheses(tiny), "pred_v")
    assert [name for name, *_ in found] == names
    text = " ".join(sentence for finding in found for sentence in finding)
    low, high = value_range
    for name, value in (
        ("objective", f"answers {objective} "),
        ("schedule", f"='{schedule}'"),
        ("value range", f"from {low} to {high} "),
    ):
        assert (value in text) == (name in names)


def test_what_is_claimed_decides(tiny):
    tiny.model = BestNetwork("pred_noise", "linear", RIGHT_RANGE)
    table = hypotheses(tiny)
    assert fits(table, "pred_noise") == []
    assert [name for name, *_ in fits(table, "pred_x0")] == ["objective"]


# --- Files ------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded():
    return read_checkpoint(EMBEDDED_WEIGHTS)


@pytest.fixture
def diagnosis(tmp_path, capsys):
    """Diagnose a checkpoint dict: (names of what was found, all that was printed)."""

    def run(checkpoint):
        torch.save(checkpoint, tmp_path / "ill.pt")
        with pytest.raises(SystemExit) as caught:
            main([str(tmp_path / "ill.pt"), "--device", "cpu"])
        out = capsys.readouterr().out
        names = re.findall(r"^([A-Za-z ]+): .*\n  ", out, re.M)
        assert caught.value.code == bool(names)
        return [name.lower() for name in names], out

    return run


def test_the_embedded_weights_are_healthy(diagnosis, embedded):
    model = from_checkpoint(embedded).state_dict()  # an EMA that has followed them
    names, out = diagnosis(embedded | {"model": model})
    assert names == [] and "Healthy" in out
    python = ".".join(map(str, sys.version_info[:3]))
    for version in (python, torch.__version__, np.__version__, "Device: cpu"):
        assert version in out


def test_a_wrong_objective_is_found_and_its_remedy_works(diagnosis, embedded, tmp_path):
    config = embedded["config"] | {"objective": "pred_noise"}
    names, out = diagnosis(embedded | {"config": config})
    assert names[0] == "objective" and "schedule" not in names
    remedy = re.search(r"c = torch\.load.*torch\.save\(c, FILE\)", out)[0]
    exec(remedy, {"torch": torch, "FILE": tmp_path / "ill.pt"})
    assert read_checkpoint(tmp_path / "ill.pt")["config"] == embedded["config"]


def with_schedule(checkpoint, schedule):
    """The same network between the buffers of another schedule."""
    config = LESSON_CONFIG | checkpoint["config"] | {"beta_schedule": schedule}
    other = build(config).state_dict()
    ema = {
        name: tensor if name.startswith("ema_model.model.") else other[name[10:]]
        for name, tensor in checkpoint["ema"].items()
    }
    return checkpoint | {"ema": ema, "config": config}


def test_a_wrong_schedule_is_found(diagnosis, embedded):
    names, out = diagnosis(with_schedule(embedded, "cosine"))
    assert names[0] == "schedule" and "objective" not in names
    assert "beta_schedule='linear'" in out


def test_a_real_network_trained_on_0_to_1_is_found(embedded):
    diffusion = from_checkpoint(embedded)
    diffusion.model = Retrained(diffusion, 0, 1)
    found = fits(hypotheses(diffusion), "pred_v")
    assert [name for name, *_ in found] == ["value range"]
    assert "from 0 to 1 " in found[0][1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_found(diagnosis, tiny_file, bad):
    checkpoint = read_checkpoint(tiny_file)
    checkpoint["ema"]["ema_model.model.init_conv.bias"][1] = bad
    names, out = diagnosis(checkpoint)
    assert names == ["nan"] and "init_conv.bias" in out and "1 of" in out


def test_nan_in_the_weights_that_training_goes_on_with_is_found(diagnosis, tiny_file):
    checkpoint = read_checkpoint(tiny_file)
    model = {name[10:]: tensor.clone() for name, tensor in checkpoint["ema"].items()}
    model["model.final_conv.weight"].fill_(float("nan"))
    names, out = diagnosis(checkpoint | {"model": model})
    assert names == ["nan"] and "model.final_conv.weight" in out


def test_too_few_steps_and_untrained(diagnosis, tiny_file):
    names, _ = diagnosis(read_checkpoint(tiny_file))
    assert names[:2] == ["too few steps", "untrained"]


def initial(checkpoint):
    torch.manual_seed(0)
    return build(LESSON_CONFIG | checkpoint["config"]).state_dict()


@pytest.mark.parametrize(
    ("share", "words"), [(0, "are still the initial ones"), (0.5, "lag behind")]
)
def test_an_ema_that_did_not_follow_is_found(diagnosis, embedded, share, words):
    trained = from_checkpoint(embedded).state_dict()
    ema = {
        f"ema_model.{name}": start + share * (trained[name] - start)
        for name, start in initial(embedded).items()
    }
    names, out = diagnosis(embedded | {"model": trained, "ema": ema})
    assert names[0] == "ema" and words in out
    assert set(names[1:]) <= {"noise", "washed out"}  # of pictures drawn with it


@pytest.mark.parametrize(
    ("v", "word"),
    [
        (lambda x, a: a.sqrt() * x / (1 - a).sqrt() + 1e3, "black"),
        (lambda x, a: a.sqrt() * x / (1 - a).sqrt(), "of one colour"),
        (lambda x, a: torch.full_like(x, torch.nan), "not a number"),
        (lambda x, a: (a.sqrt() * x - draw_noise([9])) / (1 - a).sqrt(), "noise"),
    ],
)
def test_what_is_drawn_is_looked_at(tiny, v, word):
    class Network(torch.nn.Module):
        families = ()

        def forward(self, x, t, x_self_cond=None):
            return v(x, tiny.alphas_cumprod[t].reshape(-1, 1, 1, 1))

    tiny.model = Network()
    ((name, text, remedy),) = drawn(tiny, explained=False)
    assert name.startswith(word) and name in text and "above" not in remedy
    assert "above" in drawn(tiny, explained=True)[0][2]
    as_the_data = drawn(tiny, explained=False, usual=(0.0, 99.0))
    assert bool(as_the_data) == (word == "not a number")


def test_files_of_the_librarys_own_are_taken(diagnosis, tiny):
    library = GaussianDiffusion(
        build(TINY | {"patch": 1}).model, image_size=16, objective="pred_x0"
    )
    size = {"config": {"image_size": 16}}
    names, out = diagnosis({"step": 5, "model": library.state_dict()} | size)
    assert names[:2] == ["too few steps", "untrained"] and "Loaded as pred_x0" in out


def test_broken_files_end_in_a_sentence(tmp_path):
    (tmp_path / "no.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="cut short"):
        main([str(tmp_path / "no.pt")])
    with pytest.raises(UserError, match="does not exist"):
        main([str(tmp_path / "nothing.pt")])
    with pytest.raises(SystemExit) as caught:
        main(["--no-such-flag"])
    assert caught.value.code == 2
