"""The embedded weights: the promise that a clone draws cloth at once."""

import re

import numpy as np
import pytest
import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import linear_beta_schedule
from PIL import Image

import exercise1_generate
from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    load_diffusion,
    read_checkpoint,
    save_weights,
)
from ddpm.dataset import textiles
from ddpm.files import ROOT
from ddpm.pictures import to_uint8
from ddpm.sampling import draw_noise
from ddpm.steering import draw
from models import embed_weights

CARD = (ROOT / "models" / "README.rst").read_text("utf-8")


@pytest.fixture(scope="module")
def embedded():
    return load_diffusion(EMBEDDED_WEIGHTS, "cpu")


@pytest.fixture(scope="module")
def held_out():
    """Textiles of all families that were not trained on, (32, 3, 64, 64) in [-1, 1]."""
    images = np.stack([textiles.pattern(1_000_000 + i) for i in range(32)])
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1


def test_file_is_small_and_describes_itself(embedded):
    assert EMBEDDED_WEIGHTS.stat().st_size <= 25 * 10**6
    checkpoint = read_checkpoint(EMBEDDED_WEIGHTS)
    assert checkpoint["config"]["objective"] == "pred_v"
    assert checkpoint["config"]["beta_schedule"] == "linear"
    alpha_bar = torch.cumprod(1 - linear_beta_schedule(1000), 0).float()
    torch.testing.assert_close(embedded.alphas_cumprod, alpha_bar)
    count = sum(p.numel() for p in embedded.parameters())
    assert f"{count:,} parameters" in CARD
    assert f"{checkpoint['step']:,} steps" in CARD
    assert embedded.model.families == tuple(textiles.FAMILIES)


def test_in_8_bits_they_take_10_megabytes_and_draw_the_same(embedded, tmp_path):
    """On four seeds what `models.embed_weights` asks of sixteen."""
    config = read_checkpoint(EMBEDDED_WEIGHTS)["config"]
    save_weights(embedded, config, 5_000, tmp_path / "small.pt", small=True)
    assert (tmp_path / "small.pt").stat().st_size <= 10 * 10**6
    small = load_diffusion(tmp_path / "small.pt", "cpu")
    exact, rounded = (draw(d, range(4), 20, "dpmpp") for d in (embedded, small))
    difference = (255 * (rounded - exact)).abs().mean(dim=(1, 2, 3))
    assert difference.mean() < 0.5 and difference.max() < 2


def test_the_overview_shows_what_exercise_1_draws_first(embedded):
    first, count = exercise1_generate.RANDOM_SEED, exercise1_generate.NUM_SAMPLES
    assert range(first, first + count) == embed_weights.SEEDS
    assert f"seeds {first} to {first + count - 1}" in " ".join(CARD.split())
    grid = Image.open(ROOT / "training_results" / "embedded" / "samples.png")
    grid = np.asarray(grid.resize((266, 266)).convert("RGB"), dtype=float)
    drawn = to_uint8(draw(embedded, [first, first + 5], 20, "dpmpp")).astype(float)
    for picture, (x, y) in zip(drawn, ((2, 2), (68, 68)), strict=True):
        shown = grid[y : y + 64, x : x + 64]  # 250 steps of ddim, and enlarged
        assert np.abs(picture - shown).mean() < 12
    assert np.abs(drawn[0] - drawn[1]).mean() > 40


@torch.inference_mode()
def test_error_on_cloth_it_has_not_seen_is_the_cards(embedded, held_out):
    row = re.search(r"^the embedded weights +(.*)$", CARD, flags=re.M)[1].split()
    label = embedded.model.one_hot([textiles.family(k) for k in range(32)])
    for share, claimed in zip((0.9, 0.5, 0.2, 0.08, 0.02), row, strict=True):
        t = int((embedded.alphas_cumprod - share).abs().argmin())
        a = embedded.alphas_cumprod[t]
        noise = draw_noise(range(32))
        x_t = a.sqrt() * held_out + (1 - a).sqrt() * noise
        v = embedded.model(x_t, torch.full((32,), t), label)
        x_0 = (a.sqrt() * x_t - (1 - a).sqrt() * v).clamp(-1, 1)
        error = (x_0 - held_out).square().mean().sqrt().item()
        assert error == pytest.approx(float(claimed), rel=0.1)


def test_pictures_are_as_smooth_and_as_colourful_as_cloth(embedded, held_out):
    pictures = draw(embedded, range(42, 58), 20, "dpmpp") * 2 - 1

    def grain(x):  # 4-pixel patches hold most of the model's errors, in rough pixels
        inner = x[..., 1:-1, 1:-1]
        around = (
            x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
        )
        return (inner - around / 4).abs().mean().item()

    noise = draw_noise(range(8)).clamp(-1, 1)
    assert grain(pictures) < 1.3 * grain(held_out) < 0.7 * grain(noise)
    assert pictures.std() == pytest.approx(held_out.std().item(), rel=0.25)
