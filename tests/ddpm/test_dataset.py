import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from ddpm import dataset
from ddpm.dataset import (
    COUNT,
    draw_all,
    draw_textiles,
    load_folder,
    load_labelled,
    load_picture,
    stamp,
    textiles,
)
from ddpm.files import UserError

# SHA-256 of the pixels of the lesson's 1,059 cloths, in order of their seeds.
SHA256 = "097f536f76759d12e12f70cc64a0ca3cf12dcab804055fa43745f24a04bfae71"


def test_lesson_set_is_the_recorded_one(tmp_path):
    folder = draw_textiles(data=tmp_path)
    images, skipped = load_folder(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert images.shape == (COUNT, 64, 64, 3) and not skipped
    assert manifest["count"] == COUNT
    assert manifest["sha256"] == SHA256 == hashlib.sha256(images).hexdigest()
    assert manifest["families"].keys() == textiles.FAMILIES.keys()
    assert (
        len(textiles.FAMILIES) >= 6 and min(manifest["families"].values()) > COUNT // 10
    )
    for name, count in manifest["families"].items():
        assert len(list(folder.glob(f"*_{name}.png"))) == count
    np.testing.assert_array_equal(images[17], textiles.pattern(17))


def test_textiles_are_drawn_once_and_wholly(tmp_path, monkeypatch):
    def interrupted(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(textiles, "pattern", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_textiles(10, data=tmp_path)
    monkeypatch.undo()
    folder = draw_textiles(10, data=tmp_path)
    assert len(list(folder.glob("*.png"))) == 10
    monkeypatch.setattr(textiles, "pattern", interrupted)
    assert draw_textiles(10, data=tmp_path) == folder


def test_other_textiles_lie_in_another_folder(tmp_path, monkeypatch):
    before = draw_textiles(2, data=tmp_path)
    other = tmp_path / "other.py"
    other.write_text("# draws otherwise")
    monkeypatch.setattr(textiles, "__file__", str(other))
    assert draw_textiles(2, data=tmp_path) != before


def test_a_folder_that_another_process_makes_meanwhile_is_taken(tmp_path, monkeypatch):
    folder = tmp_path / f"textiles_{stamp(textiles)}_2"
    draw = textiles.pattern

    def slow(seed):
        monkeypatch.undo()  # the other one draws both before this one has drawn one
        draw_textiles(2, data=tmp_path)
        os.utime(folder, (0, 0))
        return draw(seed)

    monkeypatch.setattr(textiles, "pattern", slow)
    assert draw_textiles(2, data=tmp_path) == folder
    assert folder.stat().st_mtime == 0  # that of the other, untouched
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def paint_over(folder):
    Image.new("RGB", (64, 64), "red").save(next(folder.glob("000001_*")))


@pytest.mark.parametrize(
    "spoil",
    [
        paint_over,
        lambda folder: next(folder.glob("000001_*")).unlink(),
        lambda folder: next(folder.glob("000001_*")).write_bytes(b""),
        lambda folder: shutil.copy(next(folder.glob("*.png")), folder / "more.png"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("[]"),
    ],
)
def test_textiles_that_were_changed_are_noticed(spoil, tmp_path):
    folder = draw_textiles(3, data=tmp_path)
    assert draw_textiles(3, data=tmp_path) == folder
    spoil(folder)
    with pytest.raises(
        UserError, match=r"is not as it was drawn: .* Delete the folder"
    ):
        draw_textiles(3, data=tmp_path)


def test_a_full_disk_leaves_no_half_of_a_folder(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"Cannot draw .*: No space left on device"):
        draw_textiles(3, data=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_array_is_drawn_again(tmp_path):
    images = draw_all(3, data=tmp_path)
    (path,) = tmp_path.glob("*.npy")
    for damaged in (b"", path.read_bytes()[:200], b"\x80\x04N."):
        path.write_bytes(damaged)
        assert torch.equal(draw_all(3, data=tmp_path), images)


def test_workers_that_inherit_nothing_draw_the_same(tmp_path, monkeypatch):
    """As those of macOS and Windows, which are spawned, not forked."""
    spawn = multiprocessing.get_context("spawn")
    monkeypatch.setattr(dataset, "multiprocessing", spawn)
    drawn = draw_all(2, first=7, data=tmp_path).permute(0, 2, 3, 1)
    assert np.array_equal(drawn, [textiles.pattern(seed) for seed in (7, 8)])


def interrupted(seed):
    """Draws, though Ctrl-C reaches all processes of a terminal."""
    signal.raise_signal(signal.SIGINT)
    return textiles.pattern(seed)


def test_ctrl_c_is_not_the_workers(tmp_path):
    drawn = draw_all(2, data=tmp_path, draw=interrupted)
    assert torch.equal(drawn, draw_all(2, data=tmp_path))


def killed(seed):
    """As by the system, where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_a_worker_that_was_killed_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PATIENCE", 1)
    with pytest.raises(UserError, match="stands still: one of its processes was"):
        draw_all(2, data=tmp_path, draw=killed)
    assert not list(tmp_path.iterdir())


def test_no_two_textiles_are_alike():
    images = np.stack([textiles.pattern(seed) for seed in range(200)]).reshape(200, -1)
    images = images.astype(float)
    for i in range(1, 200):
        assert np.abs(images[:i] - images[i]).mean(axis=1).min() > 2


def png(image, **options):
    return _encode(image, "PNG", **options)


def _encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load_one(tmp_path, name, data):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / name).write_bytes(data)
    images, skipped = load_folder(folder)
    assert not skipped and images.shape == (1, 64, 64, 3)
    return images[0]


RED = (200, 40, 30)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(tmp_path, mode):
    image = Image.new("RGBA", (80, 80), (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 80, 40))
    data = png(image.quantize(4)) if mode == "P" else png(image.convert(mode))
    out = load_one(tmp_path, "a.png", data)
    assert (out[:28] == 255).all()
    assert (out[36:] < 210).all()


def test_palette_grey_and_cmyk_keep_their_colours(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    red = Image.new("RGB", (70, 70), RED)
    (folder / "a_palette.gif").write_bytes(_encode(red, "GIF"))
    (folder / "b_grey.png").write_bytes(png(Image.new("L", (70, 70), 90)))
    (folder / "c_cmyk.tif").write_bytes(_encode(red.convert("CMYK"), "TIFF"))
    images, skipped = load_folder(folder)
    assert not skipped
    for image, colour in zip(images, [RED, (90, 90, 90), RED], strict=True):
        assert np.abs(image.astype(int) - colour).max() <= 2


def test_16_bit_is_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    data = png(Image.fromarray(np.tile(ramp, (64, 1))))
    out = load_one(tmp_path, "deep.png", data)
    assert np.abs(out[10, :, 0] - ramp / 257).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_white_is_the_largest_number_of_so_many_bits(tmp_path, bits, kind):
    """Data of 12 bits in files of 16 or 32 would else be nearly black."""
    ramp = np.linspace(0, 2**bits - 1, 64)
    pixels = np.tile(ramp, (64, 1)).astype(np.uint16 if kind == "PNG" else np.int32)
    out = load_one(tmp_path, "deep", _encode(Image.fromarray(pixels), kind))
    assert np.abs(out[10, :, 0] - 255 * ramp / (2**bits - 1)).max() <= 1.5


def png_header(width, height, depth, kind):
    """What a PNG file begins with; `chunk` makes the rest."""
    sizes = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes)


def chunk(name, data):
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def deep_png(pixels):
    """(64, 64, C) as a PNG file of 16 bits a colour, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = png_header(64, 64, 16, {2: 4, 3: 2, 4: 6}[pixels.shape[-1]])
    return header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff(pixels):
    """(64, 64, 3) as a TIFF file of 16 bits a colour, compressed."""
    data = zlib.compress(pixels.astype("<u2").tobytes())
    tags = {256: 64, 257: 64, 258: 116, 259: 8, 262: 2, 273: 122, 277: 3, 278: 64}
    tags[279] = len(data)
    entries = [struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items()]
    entries[2] = struct.pack("<HHII", 258, 3, 3, 122)
    entries[5] = struct.pack("<HHII", 273, 4, 1, 128)
    entries = b"".join(entries) + bytes(4)
    return struct.pack("<2sHIH", b"II", 42, 8, 9) + entries + b"\x10\0" * 3 + data


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "PNG with alpha", "TIFF"])
def test_so_it_is_with_colours(tmp_path, bits, kind):
    top = 2**bits - 1
    pixels = np.zeros((64, 64, 3 + (kind == "PNG with alpha")), int)
    pixels[..., 1] = np.linspace(0, top, 64)
    pixels[..., 2] = top // 2
    pixels[..., 3:] = top
    data = deep_tiff(pixels) if kind == "TIFF" else deep_png(pixels)
    out = load_one(tmp_path, "deep", data)
    assert np.abs(out - 255 * pixels[..., :3] / top).max() <= 1.5


def test_what_would_turn_black_or_fill_the_memory_is_left_out(tmp_path):
    grey, no_pixels = np.full((64, 64, 2), 4095), chunk(b"IDAT", b"")
    (tmp_path / "dark.png").write_bytes(deep_png(grey))  # with an alpha of its own
    (tmp_path / "huge.png").write_bytes(png_header(13000, 13000, 8, 2) + no_pixels)
    (tmp_path / "more.png").write_bytes(png_header(2**31 - 1, 9, 8, 2) + no_pixels)
    (tmp_path / "good.png").write_bytes(deep_png(grey * 16 + 15))
    images, skipped = load_folder(tmp_path)
    assert len(images) == 1 and images.min() > 250
    reasons = {path.name: reason for path, reason in skipped}
    assert reasons.pop("dark.png").startswith("of 16 bits a colour, the upper ones")
    huge = "of more than 89 million pixels: make it smaller"
    assert reasons == {"huge.png": huge, "more.png": huge}


def test_floats_with_holes_are_read(tmp_path):
    pixels = np.tile(np.linspace(0, 3, 64, dtype=np.float32), (64, 1))
    pixels[0, :3] = np.nan, np.inf, -np.inf
    out = load_one(tmp_path, "float.tif", _encode(Image.fromarray(pixels), "TIFF"))
    assert out[40, 0, 0] == 0 and out[40, -1, 0] == 255


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (90, 90), "white")
    image.paste(RED, (0, 0, 90, 45))  # red on top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees: red on the right
    data = _encode(image, "JPEG", exif=exif, quality=95)
    out = load_one(tmp_path, "turned.JPG", data).astype(int)
    assert np.abs(out[:, 36:] - RED).mean() < 4
    assert np.abs(out[:, :28] - 255).mean() < 4


def test_one_picture_is_read_as_in_a_folder_or_gets_a_sentence(tmp_path):
    image = Image.effect_mandelbrot((90, 50), (-2, -1, 1, 1), 50).convert("LA")
    data = png(image)
    folder_read = load_one(tmp_path, "a.png", data)
    np.testing.assert_array_equal(
        load_picture(tmp_path / "pictures/a.png"), folder_read
    )
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    for name, sentence in (
        ("none.png", r"none\.png does not exist\. Give"),
        ("text.png", r"text\.png cannot be read as a picture .*\. Give"),
        ("cut.png", r"cut\.png cannot be read as a picture .*\. Give"),
        ("", "cannot be read as a picture"),  # a folder
    ):
        with pytest.raises(UserError, match=sentence):
            load_picture(tmp_path / name)


def test_middle_square_of_a_wide_picture(tmp_path):
    image = Image.new("RGB", (5000, 20), "white")
    image.paste(RED, (2470, 0, 2530, 20))
    out = load_one(tmp_path, "wide.png", png(image)).astype(int)
    assert np.abs(out - RED).max() <= 2


def test_one_pixel(tmp_path):
    out = load_one(tmp_path, "dot.png", png(Image.new("RGB", (1, 1), RED)))
    assert (out == RED).all()


def test_unreadable_files_are_skipped_and_named(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep" / "er").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    jpeg = _encode(Image.fromarray(noise), "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "text.png").write_text("not a picture")
    (folder / "notes.txt").write_text("no picture by its name")
    (folder / ".hidden.png").write_text("left by the system")
    (folder / "deep" / "er" / "GOOD.JPEG").write_bytes(jpeg)
    images, skipped = load_folder(folder)
    assert len(images) == 1
    assert sorted(path.name for path, _ in skipped) == ["cut.jpg", "text.png"]
    assert all(reason for _, reason in skipped)


def test_no_folder_and_no_pictures_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"No readable picture .* Put JPEG"):
        load_folder(tmp_path / "empty")


def test_pictures_are_told_by_content_and_what_is_left_out_by_name(tmp_path):
    folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    data = png(Image.new("RGB", (8, 8), RED))
    for path in (folder / "no_extension", folder / "a.txt", elsewhere / "b.png"):
        path.write_bytes(data)
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (folder / "notes.md").write_text("text, which nobody takes for a picture")
    (folder / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(99))
    for litter in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png"):
        (folder / litter).write_bytes(data)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "a.png").write_bytes(data)
    (folder / "link").symlink_to(elsewhere)  # followed, once
    (folder / "link again").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(tmp_path / "none")
    os.mkfifo(folder / "x.png")
    images, skipped = load_folder(folder)
    assert len(images) == 3
    assert {path.name: reason for path, reason in skipped} == {
        "photo.heic": "of no kind that Pillow can read",
        "film.mp4": "of no kind that Pillow can read",
        "link again": f"a second way to {elsewhere}",
        "round": f"a second way to {folder}",
        "nowhere.png": "no file that can be read",
        "x.png": "no file that can be read",
    }
    with pytest.raises(UserError, match=r"x\.png cannot be read .*no regular file"):
        load_picture(folder / "x.png")


def test_a_locked_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").write_bytes(png(Image.new("RGB", (8, 8), RED)))
    look = Path.iterdir

    def refuse(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may look everywhere
    images, skipped = load_folder(tmp_path)
    assert len(images) == 1
    assert skipped == [(tmp_path / "locked", "Permission denied")]


def test_labels_are_those_of_torchvisions_image_folder(tmp_path):
    for number, name in enumerate(["curtains", "Bags", "a/deep", "a", "curtains"]):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (8, 8), (40 * number, 0, 0))
        image.save(tmp_path / name / f"{number}.png")
    images, numbers, names, skipped = load_labelled(tmp_path, 8)
    theirs = ImageFolder(str(tmp_path))
    assert names == theirs.classes and not skipped
    assert numbers.tolist() == theirs.targets
    colours = [np.asarray(image)[0, 0, 0] for image, _ in theirs]
    assert images[:, 0, 0, 0].tolist() == colours


def test_pictures_without_a_subfolder_have_no_name(tmp_path):
    Image.new("RGB", (8, 8), RED).save(tmp_path / "loose.png")
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(UserError, match=r"no subfolders .* leave out --labels"):
        load_labelled(tmp_path)
    (tmp_path / "red").mkdir()
    Image.new("RGB", (8, 8), RED).save(tmp_path / "red" / "1.png")
    images, _, names, skipped = load_labelled(tmp_path)
    assert (len(images), names) == (1, ["red"])
    assert skipped == [(tmp_path / "loose.png", "in no subfolder, which would name it")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"No readable picture in .*empty"):
        load_labelled(tmp_path)
    with pytest.raises(UserError, match=r"nowhere: .* Give another folder"):
        load_labelled(tmp_path / "nowhere")
