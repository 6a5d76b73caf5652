"""The data: drawn textiles in a folder, and any folder of pictures.

The lesson's own data set, 1,059 photographs of African fabrics, cannot be shipped. In
its place stand 1,059 drawn cloths, each determined by its seed.
"""

import functools
import hashlib
import json
import mimetypes
import multiprocessing
import os
import re
import signal
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from ddpm import textiles
from ddpm.files import ROOT, UserError, is_litter, name_of, replacing, scratch

DATA = ROOT / "data"  # drawn on first use, not in git
COUNT = 1059  # pictures in the lesson's data set
HELD_OUT = 1_000_000  # seeds from here on are never trained on
MANIFEST = "manifest.json"
SEEN = 48_000  # textiles that the embedded weights were trained on, seeds 0, 1, ...


def stamp(module):
    """Eight letters that change with the source of a module, to name its data by."""
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:8]


def draw_textiles(count=COUNT, data=DATA):
    """The folder that holds the cloths of seeds 0 to count - 1, drawn if need be.

    PNG files named by seed and family, beside a manifest.json with the count, the
    pictures of each family and a SHA-256 of all pixels. Drawing takes about 10
    seconds a thousand, once. An interrupted drawing leaves no such folder, and of two
    processes that draw at once, both get the folder of the first. Raises UserError if
    what lies there is not what was drawn.
    """
    folder = Path(data) / f"textiles_{stamp(textiles)}_{count}"
    try:
        if not folder.is_dir():
            with scratch(folder.parent) as partial:
                _draw_into(partial, count)
                try:
                    partial.rename(folder)
                except OSError:  # if nobody else has made it meanwhile
                    if not folder.is_dir():
                        raise
        if not _as_drawn(folder):
            raise UserError(
                f"{folder} is not as it was drawn: a file was changed, added or lost. "
                "Delete the folder, and it is drawn again."
            )
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"Cannot draw {folder}: {reason}. Make room, or copy the clone to where "
            "you may write."
        ) from None
    return folder


def _draw_into(folder, count):
    digest, families = hashlib.sha256(), dict.fromkeys(textiles.FAMILIES, 0)
    for seed in tqdm(range(count), desc="Drawing textiles", disable=None):
        image, name = textiles.pattern(seed), textiles.family(seed)
        Image.fromarray(image).save(folder / f"{seed:06d}_{name}.png")
        digest.update(image.tobytes())
        families[name] += 1
    manifest = {"count": count, "families": families, "sha256": digest.hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))


def _as_drawn(folder):
    """Whether the files in a folder of textiles are those of its manifest."""
    digest = hashlib.sha256()
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        paths = [p for p in _pictures_below(folder)[0] if p.name != MANIFEST]
        for path in paths:
            digest.update(np.asarray(Image.open(path)).tobytes())
        kept = digest.hexdigest(), len(paths)
        return kept == (manifest["sha256"], manifest["count"])
    except Exception:  # whatever somebody may have put there
        return False


PATIENCE = 300  # seconds for 64 textiles, which take one or two


def _drawn_by_all(draw, seeds):
    """What all cores draw of these seeds, (len(seeds), 64, 64, 3) uint8."""
    parts = [seeds[k : k + 64] for k in range(0, len(seeds), 64)]
    deaf = signal.signal, (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    with multiprocessing.Pool(None, *deaf) as pool:
        found = pool.imap(functools.partial(_drawn, draw), parts)
        try:
            bar = tqdm(parts, "Drawing textiles", disable=None)
            return np.concatenate([found.next(PATIENCE) for _ in bar])
        except multiprocessing.TimeoutError:  # a pool waits for the dead
            raise UserError(
                "Drawing textiles stands still: one of its processes was killed. Close "
                "other programs, if they need much memory, and try again."
            ) from None


def _drawn(draw, seeds):
    return np.stack([draw(seed) for seed in seeds])


def draw_all(count, first=0, data=DATA, draw=textiles.pattern):
    """The drawn textiles, seeds first, first + 1, ...: (count, 3, 64, 64) uint8.

    draw: which function of a seed draws them. Kept in one file on disk, named by it and
    a hash of `ddpm/textiles.py`. All cores draw, a thousand in about ten seconds each.
    """
    path = data / f"{draw.__name__}_{stamp(textiles)}_{first}_{count}.npy"
    try:
        images = np.load(path)
    except (OSError, ValueError, EOFError):  # it is not there, or damaged
        images = _drawn_by_all(draw, range(first, first + count))
        with replacing(path) as temporary:
            np.save(temporary, images)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def load_folder(folder, size=64):
    """Every picture below `folder`: ((N, size, size, 3) uint8, skipped).

    Any format, mode and size that Pillow opens, whatever its name: turned upright,
    laid on white, cut to the middle square and resized. `skipped` lists (path, reason)
    of what else lies there. Hidden files and folders, what systems leave behind, and
    text are passed over.
    Raises UserError where there is no such folder or not one picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give one with pictures in it.")
    paths, skipped = _pictures_below(folder)
    images = []
    for path in tqdm(paths, desc="Reading pictures", disable=None):
        try:
            images.append(_read(path, size))
        # Pillow's decoders raise nearly anything on a broken file.
        except Exception as error:
            kind = mimetypes.guess_type(path.name)[0] or ""
            if not kind.startswith(("text/", "application/json")):
                skipped.append((path, _why(error)))
    if not images:
        broken = ""
        if skipped:
            path, reason = skipped[0]
            broken = f" ({len(skipped)} could not be read; {path}: {reason})"
        raise UserError(
            f"No readable picture in {folder}{broken}. Put JPEG, PNG or other picture "
            "files into it, in subfolders if you like."
        )
    return np.stack(images), skipped


def load_labelled(folder, size=64):
    """Pictures whose subfolder of `folder` tells their name, as torchvision's
    ImageFolder has it: (images (N, size, size, 3) uint8, numbers (N,), names, skipped).

    names: of the subfolders, in order; numbers: which of them is each picture's. A
    subfolder is read by `load_folder`, with all below it, and `skipped` is as there.
    Raises UserError where there is no subfolder, or one without a picture.
    """
    folder = Path(folder)
    try:
        inside = [p for p in sorted(folder.iterdir()) if p.name[0] != "."]
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}. Give another folder.") from None
    below = [p for p in inside if p.is_dir() and not is_litter(p.name)]
    if not below:
        raise UserError(
            f"{folder} has no subfolders to take names from. Put the pictures of each "
            "kind into one of its name, or leave out --labels."
        )
    loose = [p for p in inside if p.is_file() and not is_litter(p.name)]
    skipped = [(p, "in no subfolder, which would name it") for p in loose]
    images, numbers = [], []
    for number, path in enumerate(below):
        found, left_out = load_folder(path, size)
        images.append(found)
        numbers += [number] * len(found)
        skipped += left_out
    names = [name_of(path) for path in below]
    return np.concatenate(images), np.array(numbers), names, skipped


def _pictures_below(folder):
    """What may be pictures below a folder, in order; and [(path, reason)] of what is
    left out. Links are followed, and what several lead to is taken once.
    """
    found, skipped, left = [], [], [folder]
    seen = {os.path.realpath(folder)}
    while left:
        inside = left.pop()
        try:
            paths = sorted(inside.iterdir())
        except OSError as error:
            skipped.append((inside, error.strerror))
            continue
        for path in paths:
            if path.name.startswith(".") or is_litter(path.name):
                continue
            real = os.path.realpath(path)
            if real in seen:
                skipped.append((path, f"a second way to {real}"))
            elif os.path.isdir(path):
                left.append(path)
            elif os.path.isfile(path):
                found.append(path)
            else:  # a pipe, a device, a link to nowhere, or locked
                skipped.append((path, "no file that can be read"))
            seen.add(real)
    return sorted(found), skipped


def load_picture(path, size=64):
    """One picture file as `load_folder` reads it: (size, size, 3) uint8.

    Raises UserError where there is no such file, or one that is no picture.
    """
    try:
        return _read(Path(path), size)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Give a picture file.") from None
    except Exception as error:  # as above
        raise UserError(
            f"{path} cannot be read as a picture ({_why(error)}). Give a PNG or JPEG "
            "file."
        ) from None


def _why(error):
    if isinstance(error, UnidentifiedImageError):
        return "of no kind that Pillow can read"
    if isinstance(
        error, (Image.DecompressionBombWarning, Image.DecompressionBombError)
    ):
        millions = Image.MAX_IMAGE_PIXELS // 10**6
        return f"of more than {millions} million pixels: make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n")[0] or type(error).__name__


def _in_8_bits(numbers):
    """(H, W) or (H, W, C) in uint8: white is the largest number of so many bits."""
    bits = next(n for n in (8, 10, 12, 14, 16, 31) if numbers.max() < 2**n)
    return np.uint8(np.clip(numbers / (2**bits - 1), 0, 1) * 255)


OTHER_ORDER = {"B": "L", "L": "B", "N": "LB"[sys.byteorder == "little"]}  # of bytes


def _of_16_bits(image, path):
    """A picture with 16 bits a colour, of which Pillow keeps the upper 8: from both.

    It gives the lower ones if told that a file has its bytes in the other order.
    """
    with Image.open(path) as again:
        for i, tile in enumerate(again.tile):
            form, *others = [tile[3]] if isinstance(tile[3], str) else tile[3]
            form = form[:-1] + OTHER_ORDER[form[-1]]
            args = (form, *others) if others else form
            make = getattr(tile, "_make", tuple)  # Pillow 10 has plain tuples
            again.tile[i] = make((*tile[:3], args))
        numbers = 256 * np.asarray(image, np.int32) + np.asarray(again)  # (H, W, C)
    parts = [numbers[..., :3], numbers[..., 3:]]  # alpha has its own white
    pixels = np.concatenate([_in_8_bits(part) for part in parts if part.size], -1)
    whole = Image.fromarray(pixels)
    whole.info = image.info
    return whole


def _read(path, size):
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would keep us waiting
        raise ValueError("no regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        opened = Image.open(path)  # reads the header alone
    with opened as image:
        forms = str([tile[3] for tile in image.tile])
        deep = image.mode[0] != "I" and ";16" in forms
        if re.search(r"RGBA?;16[BLN]", forms):
            image, deep = _of_16_bits(image, path), False
        if deep and max(high for _, high in image.getextrema()[:3]) < 64:
            raise ValueError(
                "of 16 bits a colour, the upper ones unused: save it with 8"
            )
        image = ImageOps.exif_transpose(image)
        if image.mode[0] == "I":  # over 8 bits a pixel: Pillow would clip at 255
            image = Image.fromarray(_in_8_bits(np.asarray(image)))
        if image.mode[0] == "F":
            grey = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
            grey = np.clip(grey / max(grey.max(), 1e-9), 0, 1)
            image = Image.fromarray(np.uint8(grey * 255))
        if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa"):
            image = image.convert("RGBA")
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image)
        image = image.convert("RGB")
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS))
