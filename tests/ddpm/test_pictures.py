import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ddpm.figures import draw_rows, fonts_for, is_formula
from ddpm.pictures import (
    enlarge_repeat,
    lerp,
    make_grid,
    save_gif,
    save_image,
    slerp,
    to_uint8,
    upscale,
)


def test_grid_is_square_enough_and_in_reading_order():
    images = torch.arange(7.0).reshape(7, 1, 1, 1).expand(7, 3, 5, 5) / 10
    grid = make_grid(images, padding=2)
    assert grid.shape == (3, 3 * 7 + 2, 3 * 7 + 2)  # ceil(sqrt(7)) = 3 columns
    assert grid[0, 0, 0] == 1.0
    for i in range(7):
        assert torch.isclose(
            grid[0, 4 + 7 * (i // 3), 4 + 7 * (i % 3)], images[i, 0, 0, 0]
        )
    assert make_grid(images, columns=7).shape[1:] == (5 + 4, 7 * 7 + 2)


@pytest.mark.parametrize("side", [48, 256, 591])
def test_a_repeat_is_enlarged_as_if_its_neighbours_were_there(side):
    """Of a wave that goes round once: where it is known, and no jump at the border."""

    def wave(pixels):
        turns = (torch.arange(pixels) + 0.5) / pixels
        return (0.5 + 0.4 * torch.sin(2 * torch.pi * turns)).expand(3, pixels, pixels)

    for turned in (False, True):
        one, wanted = wave(64), wave(side)
        if turned:
            one, wanted = one.mT, wanted.mT
        large = enlarge_repeat(one, side)
        moved = 0.4 * 2 * np.pi / side  # by less than a pixel of print
        torch.testing.assert_close(large, wanted, atol=moved, rtol=0)
        across = (large - large.roll(1, 2 - turned)).abs()
        assert across.max() < 1.5 * moved  # bicubic weights overshoot a slope a little


def test_upscale_keeps_range_and_place():
    images = torch.zeros(2, 3, 4, 4)
    images[:, :, :2] = 1
    big = upscale(images, 8)
    assert big.shape == (2, 3, 32, 32) and upscale(images[0], 8).shape == (3, 32, 32)
    assert big.min() == 0 and big.max() == 1
    assert big[:, :, :12].min() > 0.9 and big[:, :, 20:].max() < 0.1


def test_png_holds_the_rounded_picture(tmp_path):
    image = torch.rand(3, 6, 9)
    save_image(image, tmp_path / "deep" / "a.png")
    read = np.asarray(Image.open(tmp_path / "deep" / "a.png"))
    assert read.shape == (6, 9, 3)
    assert np.abs(read / 255 - image.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert to_uint8(
        torch.tensor([-1.0, 2.0]).reshape(2, 1, 1, 1)
    ).flatten().tolist() == [0, 255]


@pytest.mark.parametrize("fps", [1, 7, 8, 12, 24, 29.97, 30, 50])
def test_gif_lasts_as_long_as_it_should(tmp_path, fps):
    frames = torch.rand(25, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    save_gif(frames, tmp_path / "a.gif", fps)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 25 and gif.info["loop"] == 0
        durations = []
        for i in range(25):
            gif.seek(i)
            durations.append(gif.info["duration"])
    assert abs(sum(durations) - 1000 * 25 / fps) <= 10
    assert max(durations) - min(durations) <= 10


def test_gif_faster_than_browsers_play_is_refused(tmp_path):
    for fps in (0, -1, 51):
        with pytest.raises(ValueError, match="at most 50"):
            save_gif(torch.rand(2, 3, 8, 8), tmp_path / "a.gif", fps)
    assert not list(tmp_path.iterdir())


def noise(seed, n=3):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_slerp_end_points_are_exact():
    a, b = noise(1), noise(2) * 3
    assert torch.equal(slerp(0, a, b), a) and torch.equal(slerp(1.0, a, b), b)
    t = np.array([0.0, 0.5, 1.0])
    path = slerp(t, a[:1], b[:1])
    assert torch.equal(path[0], a[0]) and torch.equal(path[2], b[0])


def test_slerp_follows_the_closed_form_on_the_circle():
    a, b = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    a[0, 0, 0, 0], b[0, 1, 0, 0] = 2.0, 2.0  # at a right angle
    for t in (0.2, 0.5, 0.9):
        out = slerp(t, a, b)
        assert out[0, 0, 0, 0].item() == pytest.approx(2 * math.cos(t * math.pi / 2))
        assert out[0, 1, 0, 0].item() == pytest.approx(2 * math.sin(t * math.pi / 2))


def test_slerp_treats_each_picture_alone():
    a, b = noise(1), noise(2)
    t = torch.tensor([0.3, 0.5, 0.8])
    together = slerp(t, a, b)
    for i in range(3):
        torch.testing.assert_close(
            together[i], slerp(t[i], a[i : i + 1], b[i : i + 1])[0]
        )


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, -2.0])
def test_slerp_between_parallel_and_opposite_noise(factor):
    a = noise(1)
    path = [slerp(t, a, factor * a) for t in (0.25, 0.5, 0.75)]
    for t, x in zip((0.25, 0.5, 0.75), path, strict=True):
        length = (1 - t) + t * abs(factor)
        assert torch.isfinite(x).all()
        expected = length * a.flatten(1).norm(dim=1)
        torch.testing.assert_close(
            x.flatten(1).norm(dim=1), expected, rtol=1e-4, atol=0
        )
        if factor > 0:
            torch.testing.assert_close(x, length * a, rtol=1e-4, atol=1e-5)


tensors = arrays(np.float32, (2, 3, 2, 2), elements=st.floats(-4, 4, width=16)).map(
    torch.from_numpy
)


@settings(max_examples=200, deadline=None)
@given(tensors, tensors, st.floats(0, 1))
def test_slerp_of_any_two_noises(a, b, t):
    out = slerp(t, a, b)
    assert torch.isfinite(out).all() and out.dtype == a.dtype
    assert torch.equal(slerp(0, a, b), a) and torch.equal(slerp(1, a, b), b)
    u, v, w = (x.flatten(1).double() for x in (a, b, out))
    length = (1 - t) * u.norm(dim=1) + t * v.norm(dim=1)
    both = (u.norm(dim=1) > 1e-3) & (v.norm(dim=1) > 1e-3)  # else no direction
    torch.testing.assert_close(w.norm(dim=1)[both], length[both], rtol=1e-3, atol=1e-4)
    # halfway, both ends are at the same angle
    middle = torch.nn.functional.normalize(slerp(0.5, a, b).flatten(1).double())
    to_a = (middle * torch.nn.functional.normalize(u)).sum(1)
    to_b = (middle * torch.nn.functional.normalize(v)).sum(1)
    torch.testing.assert_close(to_a[both], to_b[both], rtol=0, atol=2e-3)


def test_slerp_between_opposite_constants():
    a = torch.ones(1, 3, 2, 2)
    assert slerp(0.5, a, -a).norm() == pytest.approx(a.norm())


def test_half_way_lerp_is_weak_and_slerp_is_not():
    a, b = (
        torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(s))
        for s in (1, 2)
    )
    assert lerp(0.5, a, b).std().item() == pytest.approx(math.sqrt(0.5), abs=0.02)
    assert slerp(0.5, a, b).std().item() == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(
        lerp(np.array([0.0, 0.25]), a, b)[1], 0.75 * a[0] + 0.25 * b[0]
    )


class OnMps(torch.Tensor):
    """A tensor as on a device that has no float64."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(function, types, args, kwargs)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


@pytest.mark.parametrize("blend", [lerp, slerp])
def test_blends_want_float64_of_the_processor_alone(blend):
    a, b = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = blend(0.3, a, b)
    with pytest.raises(TypeError, match="MPS"):
        a.as_subclass(OnMps).double()
    for t in (0.3, torch.tensor([0.3]).as_subclass(OnMps)):
        found = blend(t, a.as_subclass(OnMps), b.as_subclass(OnMps))
        torch.testing.assert_close(found.as_subclass(torch.Tensor), expected)


@pytest.mark.parametrize(
    ("count", "across", "blocks"), [(4, 0, 0), (5, 3, 2), (8, 4, 2)]
)
def test_narrow_grid_has_all_pictures_at_most_four_beside_each_other(
    tmp_path, count, across, blocks
):
    """Each picture of a colour of its own; the second row lacks the last."""
    rows = [
        [torch.full((3, 8, 8), (count * k + i) / 99) for i in range(count - k)]
        for k in range(2)
    ]
    draw_rows(rows, count * ["t"], ["a", "b"], tmp_path / "a.png", narrow=True)
    path = tmp_path / "a.narrow.png"
    assert path.exists() == (count > 4)
    if not path.exists():
        return
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows_seen, seen = pixels[:, :, 0], set()
    for k, row in enumerate(rows):
        for i, image in enumerate(row):
            grey = round(255 * image[0, 0, 0].item())
            ys, xs = np.where((pixels == grey).all(axis=2))
            place = np.median(ys) / len(rows_seen), np.median(xs) / rows_seen.shape[1]
            seen.add((int(place[0] * 2 * blocks), int(place[1] * across)))
            assert (i // across * 2 + k, i % across) in seen
    assert len(seen) == 2 * count - 1


def test_titles_that_look_like_formulas_are_written_as_they_are(tmp_path):
    row = [torch.zeros(3, 8, 8)]
    draw_rows(
        [row, row], [r"$\frac$"], ["5 $", r"$\bar\alpha_t$ = 1"], tmp_path / "a.png"
    )
    assert is_formula(r"$\bar\alpha_t$ = 1") and not is_formula(r"$\frac$")


@pytest.mark.filterwarnings("error:Glyph")  # as matplotlib says of a box
@pytest.mark.skipif(len(fonts_for("窗")) == 1, reason="no font here has that letter")
def test_titles_in_other_scripts_are_no_boxes(tmp_path):
    row = [torch.zeros(3, 8, 8)]
    draw_rows([row], ["窗帘 and $x_0$"], ["窗"], tmp_path / "a.png")
