"""Which file is taken, what loads, and what does not."""

import argparse
import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, TORUS, lit
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

from ddpm import checkpoints, training
from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    find_checkpoint,
    load_diffusion,
    milestones,
    save_weights,
)
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, build, computes_bf16, pick_device
from ddpm.sampling import (
    denoise,
    draw_noise,
)


def test_newest_milestone_is_told_by_number(tmp_path):
    for name in ("model-9.pt", "model-20.pt", "model-best.pt", "sample-99.png"):
        (tmp_path / name).touch()
    assert [path.name for path in milestones(tmp_path)] == ["model-9.pt", "model-20.pt"]


def milestone(path, step, **more):
    torch.save({"step": step, "model": {}, "opt": {}, **more}, path)


def test_own_weights_before_milestones_before_embedded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoints, "OWN_WEIGHTS", tmp_path / "own.pt")
    monkeypatch.setattr(checkpoints, "MILESTONES", tmp_path)
    assert find_checkpoint() == EMBEDDED_WEIGHTS
    milestone(tmp_path / "model-2.pt", 30)
    milestone(tmp_path / "model-10.pt", 20)  # older, by the step inside
    assert find_checkpoint() == tmp_path / "model-2.pt"
    (tmp_path / "model-11.pt").touch()
    whole = (tmp_path / "model-10.pt").read_bytes()
    (tmp_path / "model-12.pt").write_bytes(whole[:300])
    capsys.readouterr()
    assert find_checkpoint() == tmp_path / "model-2.pt"
    out = capsys.readouterr().out
    assert "model-11.pt is cut short" in out and "model-12.pt is cut short" in out
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


def test_weights_of_few_bits_are_used_in_full(tiny, tmp_path):
    save_weights(lit(tiny), TINY, 2_000, tmp_path / "small.pt", small=True)
    save_weights(tiny, TINY, 2_000, tmp_path / "full.pt")
    small, full = ((tmp_path / f"{n}.pt").stat().st_size for n in ("small", "full"))
    assert small < full
    diffusion = load_diffusion(tmp_path / "small.pt", "cpu")
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
    save_weights(torus, TORUS, 5_000, path, small=True)
    again = load_diffusion(path, "cpu")
    assert again.model.families == ("kente", "adire", "kuba")
    label = again.model.one_hot(["kuba"])
    ours, kept = (denoise(d, draw_noise([3]), 3, label=label) for d in (torus, again))
    torch.testing.assert_close(ours, kept, atol=0.02, rtol=0)


# --- Of other precision, other versions, other wrappers ----------------------


def library_file(path, objective="pred_v", schedule="linear", change=lambda t: t):
    """A file as the library's Trainer writes it, each tensor changed; its diffusion."""
    torch.manual_seed(0)
    diffusion = GaussianDiffusion(
        Unet(8, dim_mults=(1, 2)),
        image_size=64,
        timesteps=1000,
        objective=objective,
        beta_schedule=schedule,
    )
    state = {k: change(v) for k, v in lit(diffusion).state_dict().items()}
    torch.save({"step": 5_000, "model": state, "version": "2.3.4"}, path)
    return diffusion


@pytest.mark.parametrize("objective", ["pred_noise", "pred_v", "pred_x0"])
@pytest.mark.parametrize(
    ("dtype", "schedule"),
    [
        (torch.bfloat16, "linear"),
        (torch.bfloat16, "cosine"),
        (torch.bfloat16, "sigmoid"),
        (torch.float16, "linear"),
    ],
)
def test_a_file_halved_as_a_whole_is_what_it_was(tmp_path, objective, schedule, dtype):
    """The network is rounded, the schedule and the objective are told all the same."""
    path = tmp_path / "half.pt"
    whole = library_file(path, objective, schedule, lambda v: v.to(dtype))
    diffusion = load_diffusion(path, "cpu")
    assert diffusion.objective == objective
    torch.testing.assert_close(diffusion.alphas_cumprod, whole.alphas_cumprod)
    torch.testing.assert_close(
        diffusion.sqrt_recip_alphas_cumprod, whole.sqrt_recip_alphas_cumprod
    )


def test_a_halved_file_is_drawn_with_as_many_steps_as_one_likes(tmp_path):
    whole = library_file(tmp_path / "half.pt", change=lambda v: v.bfloat16())
    half = load_diffusion(tmp_path / "half.pt", "cpu")
    a, b = (denoise(d, draw_noise([3], 8), 100, "dpmpp") for d in (whole, half))
    assert (a - b).abs().mean() < 0.02


def test_a_schedule_of_its_own_is_kept_and_refused_if_too_coarse(tmp_path, tiny):
    """Rescaled to end in pure noise (Lin et al. 2024, Algorithm 1): dpmpp draws with it."""
    root = tiny.alphas_cumprod.double().sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    a = root**2
    tiny.alphas_cumprod.copy_(a)
    tiny.sqrt_alphas_cumprod.copy_(a.sqrt())
    tiny.sqrt_one_minus_alphas_cumprod.copy_((1 - a).sqrt())
    tiny.sqrt_recip_alphas_cumprod.copy_((1 / a).sqrt())
    save_weights(lit(tiny), TINY, 5_000, tmp_path / "zero.pt")
    again = load_diffusion(tmp_path / "zero.pt", "cpu")
    assert torch.equal(again.alphas_cumprod, tiny.alphas_cumprod)
    assert again.alphas_cumprod[-1] == 0
    for sampler in ("dpmpp", "ddim", "ddpm"):
        pictures = denoise(again, draw_noise([3], 16), 20, sampler)
        assert pictures.isfinite().all() and pictures.std() > 0.01
    save_weights(tiny, TINY | {"objective": "pred_noise"}, 5_000, tmp_path / "zero.pt")
    with pytest.raises(UserError, match=r"ends in pure noise.* predicts v"):
        load_diffusion(tmp_path / "zero.pt", "cpu")
    state = {k: v.half() for k, v in tiny.state_dict().items()}
    torch.save({"model": state, "config": TINY}, tmp_path / "coarse.pt")
    with pytest.raises(
        UserError, match=r"coarse\.pt is none .* again in full precision"
    ):
        load_diffusion(tmp_path / "coarse.pt", "cpu")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
        lambda s: {k.replace("model.", "model._orig_mod."): v for k, v in s.items()},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
        lambda s: {"state_dict": {f"net.module.{k}": v for k, v in s.items()}},
        lambda s: {
            "state_dict": {f"model.{k}": torch.zeros_like(v) for k, v in s.items()}
            | {f"ema.ema_model.{k}": v for k, v in s.items()}
        },
    ],
)
def test_what_wrappers_put_before_names_is_stripped(wrap, tmp_path):
    diffusion = library_file(tmp_path / "plain.pt")
    torch.save(wrap(diffusion.state_dict()), tmp_path / "wrapped.pt")
    same_picture(tmp_path / "wrapped.pt", denoise(diffusion, draw_noise([3], 16), 4))


def test_an_older_library_is_named_with_its_version(tmp_path):
    """Version 1.0 had its attention inside of Residual and PreNorm."""
    state = library_file(tmp_path / "a.pt").state_dict()
    state = {k.replace(".2.to_", ".2.fn.fn.to_"): v for k, v in state.items()}
    torch.save({"step": 5, "model": state, "version": "1.0.0"}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r'version 1\.0\.0 .*pytorch==1\.0\.0"'):
        load_diffusion(tmp_path / "a.pt", "cpu")


@pytest.mark.parametrize(
    ("new", "old", "last"),  # as in the library's history
    [
        ("model.", "denoise_fn.", "0.25"),
        ("loss_weight", "p2_loss_weight", "1.5"),
        ("norm.g", "norm.bias", "2"),
    ],
)
def test_a_library_that_did_not_tell_its_version_is_told_by_names(
    new, old, last, tmp_path
):
    state = library_file(tmp_path / "a.pt").state_dict()
    ema = {f"ema_model.{k.replace(new, old, 1)}": v for k, v in state.items()}
    ema.popitem()  # else the first of them could be read: nothing but a prefix differs
    torch.save({"step": 5, "model": state, "ema": ema}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f'before {last}, .*-pytorch<{last}"'):
        load_diffusion(tmp_path / "a.pt", "cpu")


@pytest.mark.parametrize("gamma", [0.5, 3, 20])
@pytest.mark.parametrize("objective", ["pred_noise", "pred_v", "pred_x0"])
def test_min_snr_of_any_gamma_tells_the_objective(objective, gamma):
    how = {"min_snr_loss_weight": True, "min_snr_gamma": gamma, "objective": objective}
    diffusion = GaussianDiffusion(Unet(8, dim_mults=(1, 2)), image_size=16, **how)
    state = {k: v.half() for k, v in diffusion.state_dict().items()}
    assert checkpoints.config_of({"model": state})["objective"] == objective


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_file_of_eight_bits_is_named(dtype, tmp_path):
    state = library_file(tmp_path / "a.pt").state_dict()
    torch.save({k: v.to(dtype) for k, v in state.items()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt is broken: .* no tensor of plain"):
        load_diffusion(tmp_path / "a.pt", "cpu")


@pytest.mark.parametrize("channels", [1, 12])
def test_other_channels_are_named(tmp_path, channels):
    unet = Unet(8, dim_mults=(1, 2), channels=channels)
    torch.save(unet.state_dict(), tmp_path / "odd.pt")
    with pytest.raises(UserError, match=f"takes {channels} channels a pixel.* 3: red"):
        load_diffusion(tmp_path / "odd.pt", "cpu")


def test_the_size_is_asked_for_where_the_file_does_not_tell(tmp_path, capsys):
    library_file(tmp_path / "a.pt")
    for size, sides in ((None, (64, 64)), (128, (128, 128)), ((64, 128), (64, 128))):
        diffusion = load_diffusion(tmp_path / "a.pt", "cpu", size)
        assert diffusion.image_size == sides
        assert ("64 x 64, or --size" in capsys.readouterr().out) == (size is None)
    with pytest.raises(UserError, match=r"--size: 65 is not a multiple of 2 from 2"):
        load_diffusion(tmp_path / "a.pt", "cpu", 65)


def test_python_objects_are_named_with_the_way_out(tmp_path, tiny):
    for thing, name in (
        (np.float64(3), "numpy.*scalar"),
        (argparse.Namespace(lr=1), "argparse.Namespace"),
    ):
        torch.save({"model": tiny.state_dict(), "thing": thing}, tmp_path / "a.pt")
        with pytest.raises(UserError, match=f"{name}.*refused.*save it again"):
            load_diffusion(tmp_path / "a.pt", "cpu")


# --- Broken on purpose -------------------------------------------------------

NAME = "model.mid_block1.block1.proj.weight"  # (16, 16, 3, 3) in TINY


@pytest.mark.filterwarnings("ignore")  # torch says that quantised tensors go away
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.to_sparse(), "no tensor of plain"),
        (lambda t: t.to("meta"), "no tensor of plain"),
        (lambda t: t.int(), "no tensor of plain"),
        (lambda t: t.to(torch.complex64), "no tensor of plain"),
        (
            lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
            "no tensor of plain",
        ),
        (lambda t: t.tolist(), "no tensor of plain"),
        (lambda t: torch.zeros(1).expand(t.shape), "more numbers than it holds"),
        (lambda t: t / 0, "NaN or infinity"),
    ],
)
def test_a_tensor_of_the_right_shape_may_be_wrong(spoil, sentence, tmp_path, tiny):
    state = {f"ema_model.{k}": v for k, v in tiny.state_dict().items()}
    state[f"ema_model.{NAME}"] = spoil(tiny.state_dict()[NAME])
    torch.save({"ema": state, "config": TINY}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=f"odd.pt.*{sentence}"):
        load_diffusion(tmp_path / "odd.pt", "cpu")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_size": 66}, "image_size: 66 is not a multiple of 4"),
        ({"dim": 10**6}, "dim: 1000000 is not"),
        ({"dim": torch.zeros(3)}, "dim: "),
        ({"dim_mults": 2}, "dim_mults: 2 is not a list"),
        ({"dim_mults": [1] * 99}, "dim_mults has 99"),
        ({"full_attn": (True,)}, "has not 2 values"),
        ({"families": "kuba"}, "families: 'kuba' is not a list"),
        ({"objective": "v"}, "objective: 'v' is none of"),
        ({"beta_schedule": None, "patch": 3}, "patch: 3 is none of"),
        ({"repeat": 16}, "repeat: it wants"),
        ({"image_size": (16, 16, 16)}, "image_size: "),
        ({"dim": 512}, "fit no U-Net"),
    ],
)
def test_a_config_that_cannot_be_is_named(
    change, sentence, tmp_path, tiny, monkeypatch
):
    built = []
    monkeypatch.setattr(
        checkpoints,
        "build",
        lambda c: built.append(torch.empty(0).device) or build(c),
    )
    save_weights(tiny, TINY | change, 5_000, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=f"odd.pt.*{sentence}"):
        load_diffusion(tmp_path / "odd.pt", "cpu")
    assert all(device.type == "meta" for device in built)  # no memory was spent


def test_compressed_and_damaged_records_are_refused(tmp_path, tiny_file):
    packed = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(tiny_file) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    with pytest.raises(UserError, match=r"packed\.pt is compressed"):
        load_diffusion(packed, "cpu")
    content = bytearray(tiny_file.read_bytes())
    content[len(content) // 2] ^= 1  # among the numbers of a tensor
    tiny_file.write_bytes(content)
    with pytest.raises(UserError, match=r"tiny\.pt is damaged"):
        load_diffusion(tiny_file, "cpu")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="becomes another user")
def test_a_file_of_somebody_else_or_with_an_endless_name(tiny_file, tmp_path):
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        load_diffusion("x" * 300, "cpu")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(UserError, match=r"pipe\.pt is no file of weights"):
        load_diffusion(tmp_path / "pipe.pt", "cpu")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    with pytest.raises(UserError, match=r"loop\.pt does not exist"):
        load_diffusion(tmp_path / "loop.pt", "cpu")
    for folder in ("a", "b"):
        (tmp_path / folder).symlink_to({"a": "b", "b": "a"}[folder])
    with pytest.raises(UserError, match=r"a\.pt .*does not exist|cannot be read"):
        load_diffusion(tmp_path / "a" / "a.pt", "cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="names may be any bytes there")
@pytest.mark.parametrize("name", [b"\xe9", "Ünï 窗\n🧵".encode(), b"a b"])
def test_a_name_may_be_of_any_bytes(name, tiny_file, tmp_path):
    (tmp_path / os.fsdecode(name)).mkdir()
    path = tmp_path / os.fsdecode(name) / os.fsdecode(name + b".pt")
    tiny_file.rename(path)
    diffusion = load_diffusion(path, "cpu")
    save_weights(diffusion, TINY, 5_000, path)
    assert load_diffusion(path, "cpu").image_size == (64, 64)


def test_a_file_is_not_blamed_for_too_little_memory(tiny_file, monkeypatch):
    def too_large(*_, **__):
        raise RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "load", too_large)
    with pytest.raises(RuntimeError, match="Cannot allocate memory"):
        load_diffusion(tiny_file, "cpu")


def test_a_file_that_may_not_be_read(tiny_file, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read whatever there is
    with pytest.raises(UserError, match=r"tiny\.pt cannot be read: Permission denied"):
        load_diffusion(tiny_file, "cpu")


def test_weights_that_16_bits_cannot_hold_are_not_written(tiny, tmp_path):
    path = tmp_path / "big.pt"
    path.write_text("the one before")
    with torch.no_grad():
        tiny.model.init_conv.weight.mul_(1e9)
    with pytest.raises(UserError, match="would hold NaN or infinity"):
        save_weights(tiny, TINY, 5_000, path, small=True)
    assert path.read_text() == "the one before"


# --- Devices -----------------------------------------------------------------


def test_a_gpu_that_does_not_compute_is_left_out_or_named(monkeypatch, capsys):
    def no_kernel(*_, device, **__):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ones = torch.ones
    monkeypatch.setattr(
        torch,
        "ones",
        lambda *a, device: (no_kernel if "cuda" in device else ones)(*a, device=device),
    )
    assert pick_device("auto").type == "cpu"
    assert (
        "cuda is here, but cannot be used (CUDA error: no kernel"
        in capsys.readouterr().out
    )
    with pytest.raises(UserError, match=r"no kernel image.*Add --device cpu"):
        pick_device("cuda")


@pytest.mark.parametrize("hardware", [False, True])
def test_bf16_is_taken_where_the_hardware_has_it(hardware, monkeypatch):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or hardware,
    )
    assert computes_bf16(torch.device("cuda")) == hardware
    assert not computes_bf16(torch.device("mps"))
    monkeypatch.setattr(training, "pick_device", torch.device)
    assert training.precision("cuda") == ("bf16" if hardware else "no")
