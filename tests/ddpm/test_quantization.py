"""Weights in 8 bits, against torch's own rounding; what a file may claim of them."""

import pytest
import torch
from conftest import TORUS, lit

from ddpm.checkpoints import load_diffusion, read_checkpoint, save_weights
from ddpm.files import UserError
from ddpm.quantization import SMALL, dequantize, finest, quantize, without_scales


def test_rows_are_rounded_as_torch_rounds_them():
    torch.manual_seed(0)
    weights = torch.randn(30, 20, 3, 3) * torch.logspace(-6, 2, 30).view(-1, 1, 1, 1)
    weights[7] = 0
    stored = quantize({"a": weights, "b": weights[:1], "keep.a": weights}, ("keep.",))
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    half = torch.float16
    assert kinds == {
        "a": torch.int8, "a_scale": torch.float32, "b": half, "keep.a": half
    }  # fmt: skip
    state, scales = without_scales(stored)
    assert state.keys() == {"a", "b", "keep.a"}
    scale = weights.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / 127
    expected = torch.fake_quantize_per_channel_affine(
        weights, scale, torch.zeros(30, dtype=torch.int32), 0, -127, 127
    )
    wide = dequantize(state, scales)["a"]
    torch.testing.assert_close(wide, expected)
    error = (wide - weights).abs().amax(dim=(1, 2, 3))
    assert (error <= 0.5001 * scale).all() and (error[:7] > 0.4 * scale[:7]).all()


@pytest.fixture
def small_file(torus, tmp_path):
    """The path of weights in 8 bits, and the name of some of them."""
    path = tmp_path / "small.pt"
    save_weights(lit(torus), TORUS, 5_000, path, small=True)
    name = next(
        k for k, v in read_checkpoint(path)["ema"].items() if v.dtype == torch.int8
    )
    return path, name


def test_most_is_in_8_bits_and_what_works_at_full_resolution_in_16(small_file, torus):
    path, _ = small_file
    stored = read_checkpoint(path)["ema"]
    for name, parameter in torus.model.named_parameters():
        kept = name.startswith(finest(torus.model)) or parameter.numel() < SMALL
        kind = torch.float16 if kept else torch.int8
        assert stored[f"ema_model.model.{name}"].dtype == kind
    names = [name for name, _ in torus.model.named_parameters()]
    for beginning in finest(torus.model):
        assert any(name.startswith(beginning) for name in names)


def test_saved_again_they_are_the_same(small_file, tmp_path):
    path, _ = small_file
    once = load_diffusion(path, "cpu")
    save_weights(once, TORUS, 5_000, tmp_path / "again.pt", small=True)
    twice = load_diffusion(tmp_path / "again.pt", "cpu").state_dict()
    for name, tensor in once.state_dict().items():
        torch.testing.assert_close(twice[name], tensor, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w, s: (w, s[:-1]), "has not one scale a row"),
        (lambda w, s: (w, s.double()), "has not one scale a row"),
        (lambda w, s: (w, s[:, None]), "has not one scale a row"),
        (lambda w, s: (w, "none"), "are not those|is broken"),
        (lambda w, s: (w, s * torch.nan), "holds NaN or infinity"),
        (lambda w, s: (w.new_ones(1).expand(w.shape), s), "more numbers than it holds"),
        (lambda w, s: (w[:1], s), "has shape"),
        (lambda w, s: (w, None), "no tensor of plain"),
    ],
)  # fmt: skip
def test_scales_that_fit_no_rows_are_refused(small_file, change, sentence):
    path, name = small_file
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["ema"]
    state[name], scale = change(state[name], state[f"{name}_scale"])
    if scale is None:
        del state[f"{name}_scale"]
    else:
        state[f"{name}_scale"] = scale
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=sentence):
        load_diffusion(path, "cpu")
