"""Which file is taken, what loads, and what does not."""

import io
import os
import pickle

import pytest
import torch
from conftest import TINY, TORUS, lit
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

from ddpm import checkpoints
from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    find_checkpoint,
    load_diffusion,
    milestones,
    save_weights,
)
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, build, pick_device
from ddpm.sampling import (
    denoise,
    draw_noise,
)


def test_newest_milestone_is_told_by_number(tmp_path):
    for name in ("model-9.pt", "model-20.pt", "model-best.pt", "sample-99.png"):
        (tmp_path / name).touch()
    assert [path.name for path in milestones(tmp_path)] == ["model-9.pt", "model-20.pt"]


def test_own_weights_before_milestones_before_embedded(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "OWN_WEIGHTS", tmp_path / "own.pt")
    monkeypatch.setattr(milestones, "__defaults__", (tmp_path,))
    assert find_checkpoint() == EMBEDDED_WEIGHTS
    (tmp_path / "model-3.pt").touch()
    assert find_checkpoint() == tmp_path / "model-3.pt"
    (tmp_path / "own.pt").touch()
    assert find_checkpoint() == tmp_path / "own.pt"
    assert find_checkpoint("named.pt").name == "named.pt"


def same_picture(path, expected):
    out = denoise(load_diffusion(path, "cpu"), draw_noise([3], 16), 4)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_our_own_file(tiny_file, tiny, capsys):
    same_picture(tiny_file, denoise(tiny, draw_noise([3], 16), 4))
    count = sum(p.numel() for p in tiny.parameters())
    line, warning = capsys.readouterr().out.splitlines()
    assert line == f"Model: tiny.pt, step 7, {count:,} parameters, on cpu"
    assert "hardly trained" in warning and str(EMBEDDED_WEIGHTS) in warning


@pytest.mark.parametrize("objective", ["pred_noise", "pred_v", "pred_x0"])
@pytest.mark.parametrize("min_snr", [False, True])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_file_of_the_librarys_trainer(tmp_path, objective, min_snr, schedule):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for i in range(100):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
    torch.manual_seed(0)
    diffusion = GaussianDiffusion(
        Unet(16, dim_mults=(1, 2, 3)),
        image_size=16,
        timesteps=300,
        objective=objective,
        beta_schedule=schedule,
        min_snr_loss_weight=min_snr,
    )
    trainer = Trainer(
        lit(diffusion),
        str(tmp_path / "pictures"),
        calculate_fid=False,
        results_folder=str(tmp_path / "results"),
    )
    trainer.save(1)
    diffusion.sampling_timesteps = 4
    torch.manual_seed(3)
    expected = diffusion.ddim_sample((1, 3, 16, 16))
    same_picture(tmp_path / "results" / "model-1.pt", expected)


def test_bare_state_dicts(tmp_path, capsys):
    changes = {"dim": 8, "dim_mults": (1, 2, 3, 4), "objective": "pred_v"}
    diffusion = lit(build(LESSON_CONFIG | changes).eval())
    expected = denoise(diffusion, draw_noise([3], 16), 4)
    torch.save(diffusion.state_dict(), tmp_path / "diffusion.pt")
    same_picture(tmp_path / "diffusion.pt", expected)
    assert "taken to predict" not in capsys.readouterr().out
    diffusion.objective = "pred_noise"  # the lesson's, which a bare U-Net is taken for
    expected = denoise(diffusion, draw_noise([3], 16), 4)
    torch.save(diffusion.model.state_dict(), tmp_path / "unet.pt")
    same_picture(tmp_path / "unet.pt", expected)
    assert "taken to predict the noise" in capsys.readouterr().out


def test_half_precision_weights_are_used_in_full(tiny, tmp_path):
    save_weights(lit(tiny), TINY, 2_000, tmp_path / "half.pt", half=True)
    save_weights(tiny, TINY, 2_000, tmp_path / "full.pt")
    assert (tmp_path / "half.pt").stat().st_size < (tmp_path / "full.pt").stat().st_size
    diffusion = load_diffusion(tmp_path / "half.pt", "cpu")
    assert torch.equal(diffusion.alphas_cumprod, tiny.alphas_cumprod)
    assert all(p.dtype == torch.float32 for p in diffusion.parameters())
    a, b = (denoise(d, draw_noise([3], 16), 4) for d in (diffusion, tiny))
    torch.testing.assert_close(a, b, atol=0.01, rtol=0)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def zipped(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


BAD_FILES = {
    "truncated": (
        zipped({"a": torch.zeros(1000)})[:2500],
        "cut short .2,500 bytes.*fetch",
    ),
    "empty": (b"", "cut short .0 bytes"),
    "text": (b"<!DOCTYPE html><p>Not found", "is not a checkpoint"),
    "csv": (b"step,loss\n1000,0.35\n", "is not a checkpoint"),
    "zip": (b"PK\x05\x06" + bytes(18), "is not a checkpoint"),
    "pickled bomb": (pickle.dumps(Bomb(), protocol=2), "may run code.*refused"),
    "zipped bomb": (zipped({"model": Bomb()}), "may run code.*refused"),
    "a tensor": (zipped(torch.zeros(3)), "is not a checkpoint"),
    "a tensor for a model": (zipped({"model": torch.zeros(3)}), "not those of this"),
    "other weights": (
        zipped({"fc.weight": torch.zeros(3)}),
        "not those of this lesson",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_end_in_one_sentence(kind, tmp_path):
    content, sentence = BAD_FILES[kind]
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.pt.*{sentence}") as caught:
        load_diffusion(path, "cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_missing_file_and_device(tmp_path):
    with pytest.raises(UserError, match=r"is a folder\. Name a file"):
        load_diffusion(tmp_path, "cpu")
    with pytest.raises(UserError, match=r"nowhere.pt does not exist\. The embedded"):
        load_diffusion("nowhere.pt", "cpu")
    for device in ("tpu", "mps" if not torch.backends.mps.is_available() else "xla"):
        with pytest.raises(UserError, match=f"'{device}' is not available"):
            pick_device(device)


@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_weights_that_do_not_fit_name_the_tensor(tiny, tmp_path, change):
    state = {f"ema_model.{k}": v for k, v in tiny.state_dict().items()}
    name = "model.mid_block1.block1.proj.weight"
    if change == "shape":
        state[f"ema_model.{name}"] = torch.zeros(5, 6, 3, 3)
    elif change == "missing":
        del state[f"ema_model.{name}"]
    else:
        name = "model.class_embedding.weight"
        state[f"ema_model.{name}"] = torch.zeros(5, 6)
    torch.save({"ema": state, "config": TINY}, tmp_path / "odd.pt")
    has = {"shape": r"\(5, 6, 3, 3\)", "missing": "none", "extra": r"\(5, 6\)"}[change]
    with pytest.raises(UserError, match=f"odd.pt.*{name} has shape {has}, expected"):
        load_diffusion(tmp_path / "odd.pt", "cpu")


def test_names_and_torus_travel_in_the_file(torus, tmp_path):
    path = tmp_path / "torus.pt"
    save_weights(torus, TORUS, 5_000, path, half=True)
    again = load_diffusion(path, "cpu")
    assert again.model.families == ("kente", "adire", "kuba")
    label = again.model.one_hot(["kuba"])
    ours, kept = (denoise(d, draw_noise([3]), 3, label=label) for d in (torus, again))
    torch.testing.assert_close(ours, kept, atol=0.02, rtol=0)
