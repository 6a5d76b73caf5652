import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

from comparison import compare_generators, dcgan, measure_model, smoothness
from comparison.classifier import (
    JUDGES,
    held_out,
    load_classifier,
    look,
    weights_of,
)
from comparison.metrics import (
    as_asked,
    grain,
    interval,
    nearest,
    recognised,
    seam,
    shares,
    step_lengths,
)
from ddpm.checkpoints import save_weights
from ddpm.files import UserError
from ddpm.network import build
from ddpm.textiles import FAMILIES, family, pattern
from from_scratch.metrics import frechet_distance, precision_recall


@pytest.fixture(scope="module")
def textiles():
    return held_out(160)


@pytest.mark.parametrize("judge", JUDGES)
def test_judges_know_textiles_they_were_not_trained_on(judge):
    images, labels = held_out(160)
    features, probabilities = look(load_classifier(judge), images)
    assert features.shape == (160, 64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.97
    assert as_asked(probabilities, labels) > 0.95
    assert as_asked(probabilities, (labels + 1) % 8) < 0.03
    assert weights_of(judge).stat().st_size < 1_000_000
    assert shares(probabilities) == pytest.approx(np.full(8, 1 / 8), abs=0.02)


@pytest.mark.parametrize("judge", JUDGES)
def test_judges_are_not_sure_of_noise(judge):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3)).astype(np.uint8)
    assert recognised(look(load_classifier(judge), noise)[1]) < 0.9


def test_seam_is_the_jump_across_the_border_beside_those_inside():
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None], (8, 8, 3))
    # Down: inside jumps of 1, seven of them, and across the border one of 7.
    assert seam(ramp[None]) == pytest.approx(7 * np.sqrt(1))
    both = np.stack([ramp, ramp.swapaxes(0, 1)])
    assert seam(both) == pytest.approx(7)
    noise = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3))
    assert seam(noise.astype(np.uint8)) == pytest.approx(1, abs=0.02)


def test_grain_is_the_specks_of_colour_and_not_the_weave():
    """Independent noise in one chroma channel: less its 3 x 3 mean it keeps 8 / 9 of
    its variance, and half of a normal distribution lies within 0.6745 of it."""
    rng = np.random.default_rng(0)
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    weave = grey + rng.integers(0, 40, (4, 64, 64, 1)).astype(np.uint8)
    assert grain(grey) == 0 and grain(weave) == pytest.approx(0, abs=1e-6)
    blue = grey.astype(float)
    blue[..., 2] += rng.normal(0, 20, (4, 64, 64))
    # Of a step in blue, Cb takes 0.886 / 1.772 and Cr -0.114 / 1.402.
    wide, narrow = (20 * part * (8 / 9) ** 0.5 * 0.6745 for part in (0.5, 0.0813))
    both = grain(np.uint8(np.rint(blue)))
    assert narrow < both < wide
    edges = grey.copy()
    edges[:, :, ::16] = (200, 20, 20)
    assert grain(edges) == pytest.approx(0, abs=1e-6)


def test_steps_of_a_fade_are_even_and_of_a_slide_show_one():
    black, white = np.zeros((4, 4, 3)), np.full((4, 4, 3), 255.0)
    fade = np.stack([black + w * (white - black) for w in np.linspace(0, 1, 48)])
    np.testing.assert_allclose(step_lengths(fade), 255 / 47)
    slides = np.stack([black] * 24 + [white] * 24).astype(np.uint8)
    assert np.sort(step_lengths(slides)).tolist() == [0.0] * 46 + [255.0]
    judge = load_classifier()
    frames = np.stack([pattern(3)] * 24 + [pattern(11)] * 24)
    row = smoothness.measure(frames, judge, label=3)
    assert row["largest step / mean step"] == pytest.approx(47)
    assert row["change in the largest fifth"] == 1
    assert row["frames of no clear family"] == 0
    assert smoothness.measure(frames, judge, label=4)["frames of no clear family"] == 1


def test_one_command_measures_how_smooth_morphs_are(tiny_file, monkeypatch, capsys):
    monkeypatch.setattr(smoothness, "FRAMES", 3)
    smoothness.main(f"--checkpoint {tiny_file} --steps 1 --paths 2".split())
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("largest step / mean step"))
    median, low, high, worst = map(float, row.split()[5:])
    assert 1 <= low <= median <= high <= worst <= 2  # two steps


def test_frechet_distance_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200_000, 3)) * [1, 2, 3] + [0, 1, 0]
    two = rng.normal(size=(200_000, 3)) * [2, 2, 1] + [1, 1, 2]
    # Diagonal covariances commute: the trace term is the sum of (s_1 - s_2)^2.
    expected = (1 + 0 + 4) + (1 + 0 + 4)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_equals_the_one_by_the_matrix_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    one = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8))
    two = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + 1
    c_1, c_2 = np.cov(one.T), np.cov(two.T)
    shift = one.mean(axis=0) - two.mean(axis=0)
    expected = shift @ shift + np.trace(c_1 + c_2 - 2 * sqrtm(c_1 @ c_2).real)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_of_sets_with_a_known_answer():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200, 4))
    assert precision_recall(one, one) == (1, 1)
    assert precision_recall(one, one + 100) == (0, 0)
    both = np.concatenate([one[:100], one[:100] + 100])
    assert precision_recall(one[:100], both)[0] == 1  # all real, half of it missed
    assert precision_recall(one[:100], both)[1] == pytest.approx(0.5)
    repeated = np.repeat(one[:1], 200, axis=0)
    precision, recall = precision_recall(repeated, one)
    assert precision == 1 and recall < 0.02  # collapsed


def test_nearest_finds_the_copy(textiles):
    images, _ = textiles
    changed = images[[7, 90]].astype(int)
    changed[1] += 10  # grey levels
    changed = changed.clip(0, 255).astype(np.uint8)
    distance, index = nearest(changed, images, batch_size=50)
    assert index.tolist() == [7, 90]
    assert distance[0] == pytest.approx(0, abs=1e-3)
    change = (changed[1].astype(float) - images[90]) / 255
    assert distance[1] == pytest.approx(np.sqrt((change**2).mean()), rel=5e-3)


def test_held_out_textiles_belong_to_the_families_named(textiles):
    images, labels = textiles
    assert np.array_equal(images[5], pattern(1_000_005))
    assert list(FAMILIES)[labels[5]] == family(1_000_005)


def table(capsys):
    return {
        line[:26].strip(): line[26:].split()
        for line in capsys.readouterr().out.splitlines()
        if line[26:].strip()
    }


def test_a_model_that_knows_families_is_asked_for_each(tmp_path, monkeypatch, capsys):
    config = TINY | {"families": tuple(FAMILIES), "padding": "circular"}
    torch.manual_seed(0)
    save_weights(build(config), config, 2_000, tmp_path / "tiny.pt")
    images = torch.from_numpy(held_out(40)[0]).permute(0, 3, 1, 2)
    monkeypatch.setattr(measure_model, "draw_all", lambda count: images[:count])
    measure_model.main(
        f"--checkpoint {tmp_path / 'tiny.pt'} --steps 1 --count 16 --textiles 40".split()
    )
    rows = table(capsys)
    assert float(rows["seam"][0]) == pytest.approx(1, abs=0.1)  # it draws noise
    for judge in (0, 1):  # two columns each: the model, and real cloth
        shares = [float(rows[f"{name}: as asked"][2 * judge]) for name in FAMILIES]
        model, real = map(float, rows["as asked"][2 * judge :][:2])
        assert model == pytest.approx(np.mean(shares), abs=1e-3)
        assert real > 0.9
        assert max(shares) <= 1 and min(shares) == 0  # noise is not of every family
        model, real = map(float, rows["kuba: precision"][2 * judge :][:2])
        assert model == 0 and real == 1  # the real ones were trained on
    assert float(rows["grain"][0]) > 3 * float(rows["grain"][1])


def test_one_command_measures_a_model(tiny_file, monkeypatch, capsys):
    images = torch.from_numpy(held_out(40)[0]).permute(0, 3, 1, 2)
    monkeypatch.setattr(measure_model, "draw_all", lambda count: images[:count])
    torch.manual_seed(0)
    measure_model.main(
        f"--checkpoint {tiny_file} --steps 1 --count 16 --textiles 40".split()
    )
    rows = table(capsys)
    assert " ".join(rows[""]) == "model, first floor, first model, second floor, second"
    assert float(rows["nearest real"][1]) == 0  # the same seeds
    assert float(rows["precision"][1]) == 1
    model, floor = map(float, rows["Frechet distance"][:2])
    assert model > 3 * floor  # an untrained network draws noise


# --- Comparing generators ---------------------------------------------------


@pytest.fixture(scope="module")
def rows(textiles):
    """Copies, one picture repeated, real pictures and noise, against 80 textiles."""
    images, _ = textiles
    real, held = images[::2], images[1::2]
    noise = np.random.default_rng(0).integers(0, 256, (80, 64, 64, 3)).astype(np.uint8)
    sets = {
        "copies": (real[:40], 0.5),
        "one": (np.repeat(held[:1], 40, axis=0), None),
        "honest": (held[::-1].copy(), None),
        "noise": (noise, None),
    }
    return compare_generators.compare(sets, real, held, load_classifier())


def test_copies_and_repetition_are_called_by_their_name(rows):
    assert list(rows) == ["held-out real", "copies", "one", "honest", "noise"]
    assert "memorised" in rows["copies"]["remark"]
    assert "collapsed" in rows["one"]["remark"]
    for name in ("held-out real", "honest", "noise"):
        assert "memorised" not in rows[name]["remark"]
        assert "collapsed" not in rows[name]["remark"]
    assert all("unreliable" in row["remark"] for row in rows.values())  # 80 are few


def test_rows_rank_as_they_must(rows):
    assert rows["honest"]["Frechet distance"] == pytest.approx(
        rows["held-out real"]["Frechet distance"]
    )
    assert rows["noise"]["Frechet distance"] > rows["honest"]["Frechet distance"]
    assert rows["noise"]["precision"] == 0
    assert rows["one"]["recall"] < 0.2 and rows["copies"]["precision"] == 1
    assert rows["copies"]["seconds"] == 0.5
    low, high = map(float, rows["honest"]["90 % interval"].split(" to "))
    assert 0 <= low < rows["honest"]["Frechet distance"] < high


def test_interval_is_where_other_sets_have_their_distance():
    rng = np.random.default_rng(0)
    real, *sets = rng.normal(0, 1, (21, 200, 16))
    distances = [frechet_distance(features, real) for features in sets]
    low, high = interval(sets[0], real)
    assert 0.5 < np.mean([low < distance < high for distance in distances]) <= 1
    assert high - low < 4 * np.std(distances)


def test_folders_of_all_sorts_are_compared(tmp_path, textiles, capsys):
    images, _ = textiles
    for name, count in (("real", 40), ("mine", 17)):
        (tmp_path / name).mkdir()
        for i in range(count):
            picture = Image.fromarray(images[i])
            if name == "mine":
                picture = picture.convert("L" if i % 2 else "RGBA").resize((90, 70))
            picture.save(tmp_path / name / f"{i}.png")
    (tmp_path / "mine" / "broken.png").write_text("no picture")
    odd = "$\\frac$ 窗 \udce9"  # of a folder of bytes that are no text
    sets = ["real=real", "mine=mine", f"{odd}=mine"]
    compare_generators.main([*sets, "--out", "results"])
    out = capsys.readouterr().out
    assert "skipped" in out and "broken.png" in out
    lines = (tmp_path / "results" / "comparison.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["held-out real", "20"],
        ["mine", "17"],
        ["$\\frac$ 窗 \\xe9", "17"],
    ]
    page = (tmp_path / "results" / "comparison.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 2 and "://" not in page
    assert "Fréchet distance" in page and "Frechet" not in page
    for name in ("contact_sheet.png", "bar_chart.png"):
        assert Image.open(tmp_path / "results" / name).size[0] > 1000


@pytest.mark.parametrize("argument", ["folder", "=folder", "name="])
def test_sets_without_a_name_are_refused(argument, capsys):
    with pytest.raises(SystemExit) as caught:
        compare_generators.main([argument])
    assert caught.value.code == 2 and "NAME=FOLDER" in capsys.readouterr().err


def test_a_missing_folder_is_named():
    with pytest.raises(UserError, match="nowhere is not a folder"):
        compare_generators.main(["real=nowhere"])


# --- The GAN ----------------------------------------------------------------


def test_gan_learns_from_pictures_and_a_seed_names_a_picture(monkeypatch):
    monkeypatch.setattr(dcgan, "WIDTH", 4)
    monkeypatch.setattr(dcgan, "BATCH", 8)
    red = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    red[:, 0] = 230
    network = dcgan.train(red, 100)
    both = dcgan.draw(network, [5, 6])
    assert both.shape == (2, 3, 64, 64) and both.min() >= 0 and both.max() <= 1
    torch.testing.assert_close(dcgan.draw(network, [6])[0], both[1])
    untrained = dcgan.draw(dcgan.generator().eval(), [5])

    def redness(x):
        return (x[:, 0] - x[:, 1:].mean(dim=1)).mean()

    assert redness(both) > redness(untrained) + 0.1
