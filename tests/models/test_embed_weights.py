"""Which weights may take the place of the embedded ones."""

import math

import pytest
import torch
from conftest import TINY, lit
from denoising_diffusion_pytorch import GaussianDiffusion, Unet

from ddpm.checkpoints import load_diffusion, read_checkpoint
from ddpm.files import UserError
from ddpm.sampling import denoise, draw_noise
from models import embed_weights


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """A file in place of the embedded one."""
    path = tmp_path / "embedded.pt"
    path.write_text("those before")
    monkeypatch.setattr(embed_weights, "EMBEDDED_WEIGHTS", path)
    monkeypatch.setattr(embed_weights, "ROOT", tmp_path)
    monkeypatch.setattr(embed_weights, "draw", lambda *_: torch.zeros(1, 3, 8, 8))
    return path


def test_a_file_of_the_librarys_trainer_can_be_embedded(embedded, tmp_path):
    torch.manual_seed(0)
    unet = Unet(8, dim_mults=(1, 2))
    diffusion = lit(
        GaussianDiffusion(
            unet, image_size=64, objective="pred_v", beta_schedule="cosine"
        )
    )
    state = {f"ema_model.{k}": v for k, v in diffusion.state_dict().items()}
    torch.save({"step": 5_000, "ema": state, "version": "2.3.4"}, tmp_path / "a.pt")
    embed_weights.main([str(tmp_path / "a.pt")])
    assert read_checkpoint(embedded)["step"] == 5_000
    a, b = (
        denoise(d, draw_noise([3], 16), 4)
        for d in (diffusion, load_diffusion(embedded, "cpu"))
    )
    torch.testing.assert_close(a, b, atol=0.01, rtol=0)


@pytest.mark.parametrize("spoil", ["nan", "large", "no step"])
def test_others_leave_those_that_are_there(spoil, embedded, tiny, tmp_path):
    with torch.no_grad():
        if spoil == "nan":
            tiny.model.init_conv.weight[0] = math.nan
        if spoil == "large":  # for 16 bits
            tiny.model.init_conv.weight[0] = 1e6
    state = {f"ema_model.{k}": v for k, v in tiny.state_dict().items()}
    whole = {"ema": state, "config": TINY, "step": 5_000}
    if spoil == "no step":
        del whole["step"]
    torch.save(whole, tmp_path / "a.pt")
    with pytest.raises(UserError):
        embed_weights.main([str(tmp_path / "a.pt")])
    assert embedded.read_text() == "those before"


def test_pictures_that_one_can_tell_apart_are_said_and_nothing_is_written(
    embedded, tiny_file, monkeypatch, capsys
):
    levels = iter((0.0, 0.6))  # of the full weights, of those in few bits
    monkeypatch.setattr(
        embed_weights, "draw", lambda *_: torch.full((2, 3, 8, 8), next(levels) / 255)
    )
    with pytest.raises(
        UserError, match=r"visibly other pictures.*ddpm/quantization\.py"
    ):
        embed_weights.main([str(tiny_file)])
    assert embedded.read_text() == "those before"
    assert "mean 0.60 (at most 0.5), largest 0.60" in capsys.readouterr().out


def test_one_picture_may_differ_more_than_all_of_them():
    exact = torch.zeros(16, 3, 8, 8)
    rounded = exact.clone()
    rounded[3] = 1.9 / 255
    embed_weights.check_pictures(exact, rounded)
    with pytest.raises(UserError):
        embed_weights.check_pictures(exact, rounded * 1.1)
