"""The data: drawn textiles in a folder, and any folder of pictures.

The lesson's own data set, 1,059 photographs of African fabrics, cannot be shipped. In
its place stand 1,059 drawn cloths, each determined by its seed.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from ddpm import textiles
from ddpm.files import ROOT, UserError, replacing

DATA = ROOT / "data"  # drawn on first use, not in git
COUNT = 1059  # pictures in the lesson's data set
HELD_OUT = 1_000_000  # seeds from here on are never trained on
SEEN = 48_000  # textiles that the embedded weights were trained on, seeds 0, 1, ...


def stamp(module):
    """Eight letters that change with the source of a module, to name its data by."""
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:8]


def draw_textiles(count=COUNT, data=DATA):
    """The folder that holds the cloths of seeds 0 to count - 1, drawn if need be.

    PNG files named by seed and family, beside a manifest.json with the count, the
    pictures of each family and a SHA-256 of all pixels. Drawing takes about 10
    seconds a thousand, once. An interrupted drawing leaves no such folder, and of two
    processes that draw at once, both get the folder of the first.
    """
    folder = Path(data) / f"textiles_{stamp(textiles)}_{count}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.part{os.getpid()}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _draw_into(partial, count)
        partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # nor has anybody else made it meanwhile
            raise UserError(f"Cannot draw {folder}: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _draw_into(folder, count):
    digest, families = hashlib.sha256(), dict.fromkeys(textiles.FAMILIES, 0)
    for seed in tqdm(range(count), desc="Drawing textiles", disable=None):
        image, name = textiles.pattern(seed), textiles.family(seed)
        Image.fromarray(image).save(folder / f"{seed:06d}_{name}.png")
        digest.update(image.tobytes())
        families[name] += 1
    manifest = {"count": count, "families": families, "sha256": digest.hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def draw_all(count, first=0, data=DATA, draw=textiles.pattern):
    """The drawn textiles, seeds first, first + 1, ...: (count, 3, 64, 64) uint8.

    draw: which function of a seed draws them. Kept in one file on disk, named by it and
    a hash of `ddpm/textiles.py`. All cores draw, a thousand in about ten seconds each.
    """
    name = f"{draw.__name__}_{stamp(textiles)}_{first}_{count}.npy"
    path = data / name
    if not path.exists():
        seeds = tqdm(range(first, first + count), desc="Drawing textiles", disable=None)
        with multiprocessing.Pool() as pool, replacing(path) as temporary:
            np.save(temporary, np.stack(list(pool.imap(draw, seeds, 64))))
    return torch.from_numpy(np.load(path)).permute(0, 3, 1, 2).contiguous()


def load_folder(folder, size=64):
    """Every picture below `folder`: ((N, size, size, 3) uint8, skipped).

    Any format, mode and size that Pillow opens, any case of extension: turned
    upright, laid on white, cut to the middle square and resized. `skipped` lists
    (path, reason) of pictures that could not be read. Hidden files and folders are
    passed over.
    Raises UserError where there is no such folder or not one picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give one with pictures in it.")
    Image.init()
    known = {ext for ext, name in Image.EXTENSION.items() if name in Image.OPEN}
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    images, skipped = [], []
    for path in tqdm(paths, desc="Reading pictures", disable=None):
        try:
            images.append(_read(path, size))
        # Pillow's decoders raise nearly anything on a broken file.
        except Exception as error:
            skipped.append((path, str(error) or type(error).__name__))
    if not images:
        broken = f" ({len(skipped)} could not be read)" if skipped else ""
        raise UserError(
            f"No readable picture in {folder}{broken}. Put JPEG, PNG or other picture "
            "files into it, in subfolders if you like."
        )
    return np.stack(images), skipped


def load_picture(path, size=64):
    """One picture file as `load_folder` reads it: (size, size, 3) uint8.

    Raises UserError where there is no such file, or one that is no picture.
    """
    try:
        return _read(path, size)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Give a picture file.") from None
    except Exception as error:  # as above
        kind = str(error) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as a picture ({kind}). Give a PNG or JPEG file."
        ) from None


def _read(path, size):
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":  # 16 or 32 bits a pixel: Pillow would clip at 255
            grey = np.asarray(image, float)
            top = 65535 if image.mode[0] == "I" else max(grey.max(), 1e-9)
            image = Image.fromarray(np.uint8(np.clip(grey / top, 0, 1) * 255))
        if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa"):
            image = image.convert("RGBA")
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image)
        image = image.convert("RGB")
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS))
