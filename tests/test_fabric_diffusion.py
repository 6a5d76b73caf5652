import io
import os
import pickle
from itertools import pairwise

import pytest
import torch
from conftest import TINY
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

from ddpm import checkpoints
from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    find_checkpoint,
    load_diffusion,
    milestones,
    save_weights,
)
from ddpm.files import UserError, replacing
from ddpm.network import LESSON_CONFIG, FabricUnet, TorusConv2d, build, pick_device
from ddpm.sampling import (
    SAMPLERS,
    denoise,
    draw_noise,
    predictor,
    sample,
    timestep_pairs,
)


def lit(diffusion):
    """`diffusion` with random weights in its last layer, so that it draws something."""
    torch.manual_seed(1)
    torch.nn.init.normal_(diffusion.model.final_conv.weight, std=0.3)
    return diffusion


# --- The network ------------------------------------------------------------


def test_patch_one_is_the_librarys_unet():
    ours, theirs = FabricUnet(8, (1, 2), (False, True)), Unet(8, dim_mults=(1, 2))
    theirs.load_state_dict(ours.state_dict())
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 900])
    torch.testing.assert_close(ours(x, t), theirs(x, t))


def test_patches_are_cut_and_put_back_in_place():
    unet = FabricUnet(8, (1, 2), (False, True), patch=4)
    rearranged = []
    unet.init_conv.register_forward_pre_hook(lambda _, args: rearranged.append(*args))
    x = torch.randn(2, 3, 16, 16)
    assert unet(x, torch.tensor([3, 900])).shape == x.shape
    torch.testing.assert_close(
        rearranged[0][0, :16, 1, 2], x[0, 0, 4:8, 8:12].flatten()
    )


def test_lesson_model_has_the_parameters_the_lesson_names():
    assert sum(p.numel() for p in build(LESSON_CONFIG).parameters()) == 35_711_491


# --- Samplers against the library -------------------------------------------


@pytest.mark.parametrize("objective", ["pred_noise", "pred_v"])
@pytest.mark.parametrize("steps", [1, 7, 30, 49, 50])
def test_ddim_equals_the_library(objective, steps):
    config = TINY | {"timesteps": 50, "objective": objective, "image_size": 16}
    ours = lit(build(config))
    library = GaussianDiffusion(
        ours.model,
        image_size=16,
        timesteps=50,
        sampling_timesteps=steps,
        objective=objective,
        beta_schedule="linear",
    )
    torch.manual_seed(5)  # the library draws its starting noise itself
    expected = library.ddim_sample((3, 3, 16, 16))
    torch.manual_seed(5)
    noise = torch.randn(3, 3, 16, 16)
    assert expected.std() > 0.05
    torch.testing.assert_close(denoise(ours, noise, steps), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("timesteps", [30, 200])
def test_ddpm_equals_the_librarys_ancestral_chain(timesteps):
    config = TINY | {"timesteps": timesteps, "image_size": 16}
    diffusion = lit(build(config))
    torch.manual_seed(9)
    expected = diffusion.p_sample_loop((1, 3, 16, 16))
    out = denoise(diffusion, draw_noise([9], 16), timesteps, "ddpm", seeds=[9])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 20, 50, 250, 1000])
def test_a_walk_has_as_many_steps_as_asked_for(tiny, steps):
    pairs = timestep_pairs(tiny.num_timesteps, steps)
    assert len(pairs) == steps
    assert pairs[-1][1] == -1 and pairs[0][0] == 999
    assert all(t > t_next for t, t_next in pairs)
    assert all(a[1] == b[0] for a, b in pairwise(pairs))


# --- Seeds, batches, steps --------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_names_a_picture_whatever_its_batch(tiny, sampler):
    seeds, steps = list(range(42, 58)), 10
    noise = draw_noise(seeds, 16)
    whole = denoise(lit(tiny), noise, steps, sampler, seeds)
    fives = denoise(tiny, noise, steps, sampler, seeds, batch_size=5)
    alone = denoise(tiny, draw_noise([42], 16), steps, sampler, [42])
    assert whole[0].std() > 0.05 and (whole[0] - whole[1]).abs().max() > 0.05
    torch.testing.assert_close(fives, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(alone[0], whole[0], atol=1e-4, rtol=0)


def test_noise_depends_on_its_own_seed_alone():
    noise = draw_noise([3, 42, 5])
    assert noise.shape == (3, 3, 64, 64)
    assert torch.equal(noise[1], draw_noise([42])[0])
    assert abs(noise.std() - 1) < 0.02 and abs(noise.mean()) < 0.02


def test_a_walk_hands_out_every_state(tiny):
    noise = draw_noise([1, 2, 3], 16)
    images = denoise(lit(tiny), noise, 5, batch_size=2)
    for batch in (slice(0, 2), slice(2, 3)):
        walk = sample(predictor(tiny), noise[batch], tiny.alphas_cumprod, 5)
        states = list(walk)
        assert [t for t, *_ in states] == [999, 799, 599, 399, 199, -1]
        assert torch.equal(states[0][1], noise[batch])
        (*_, last_x_0), (_, end, _) = states[-2:]
        torch.testing.assert_close((last_x_0 + 1) / 2, images[batch])
        torch.testing.assert_close((end + 1) / 2, images[batch])


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_step_counts_are_refused(tiny, steps):
    with pytest.raises(UserError, match=f"{steps} steps asked for"):
        denoise(tiny, draw_noise([1], 16), steps)


# --- Which file -------------------------------------------------------------


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


# --- What loads -------------------------------------------------------------


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


# --- What does not ----------------------------------------------------------


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


# --- Files that replace others ----------------------------------------------


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "picture.png"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"Cannot write .*picture.png"),
        replacing(tmp_path / "file" / "picture.png"),
    ):
        pass


# --- A network that knows families, and the torus ---------------------------

TORUS = TINY | {"padding": "circular", "families": ("kente", "adire", "kuba")}


@pytest.fixture
def torus():
    torch.manual_seed(0)
    diffusion = build(TORUS)
    torch.nn.init.normal_(diffusion.model.time_mlp.rows.weight)
    return diffusion.eval()


def test_on_the_torus_to_move_and_to_denoise_commute(torus):
    """By whole cells of the coarsest grid, for there it is cut into patches."""
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([50, 800])
    period = torus.model.patch * torus.model.downsample_factor
    shift = {"shifts": (3 * period, period), "dims": (2, 3)}
    with torch.inference_mode():
        moved = torus.model(x.roll(**shift), t)
        torch.testing.assert_close(moved, torus.model(x, t).roll(**shift))
        zeros = build(TINY).eval().model
        assert (
            zeros(x.roll(**shift), t) - zeros(x, t).roll(**shift)
        ).abs().max() > 1e-3


def test_circular_padding_is_that_of_torch(torus):
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([50, 800])
    with torch.inference_mode():
        ours = torus.model(x, t)
        for layer in torus.model.modules():
            if isinstance(layer, TorusConv2d):
                layer.__class__ = torch.nn.Conv2d
                layer.padding_mode = "circular"
        torch.testing.assert_close(ours, torus.model(x, t))


def test_a_family_is_a_row_added_to_the_embedding_of_t(torus):
    network, t = torus.model, torch.tensor([10, 400, 900])
    label = network.one_hot(["adire", None, "kuba"])
    assert label.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    *layers, rows = network.time_mlp
    expected = torch.nn.Sequential(*layers)(t) + rows.weight.T[[1, 3, 2]]
    torch.testing.assert_close(network.time_mlp((t, label)), expected)


def test_without_a_label_no_family_is_asked_for(torus):
    noise = draw_noise([1, 2])
    label = torus.model.one_hot([None, None])
    torch.testing.assert_close(
        denoise(torus, noise, 3), denoise(torus, noise, 3, label=label)
    )
    asked = denoise(torus, noise, 3, label=torus.model.one_hot(["adire", "kuba"]))
    alone = denoise(torus, noise[1:], 3, label=torus.model.one_hot(["kuba"]))
    torch.testing.assert_close(asked[1:], alone)  # whatever the batch
    assert (asked - denoise(torus, noise, 3)).abs().mean() > 1e-3


def test_a_family_that_the_model_does_not_know_gets_the_list(torus):
    with pytest.raises(UserError, match=r"'tartan' \(kente, adire, kuba\)"):
        torus.model.one_hot(["tartan"])
    with pytest.raises(UserError, match="trained without names"):
        build(TINY).model.one_hot(["kente"])


def test_names_and_torus_travel_in_the_file(torus, tmp_path):
    path = tmp_path / "torus.pt"
    save_weights(torus, TORUS, 5_000, path, half=True)
    again = load_diffusion(path, "cpu")
    assert again.model.families == ("kente", "adire", "kuba")
    label = again.model.one_hot(["kuba"])
    ours, kept = (denoise(d, draw_noise([3]), 3, label=label) for d in (torus, again))
    torch.testing.assert_close(ours, kept, atol=0.02, rtol=0)
