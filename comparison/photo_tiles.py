"""Real photographs to train on, with nothing to download: tiles of what packages ship.

    pip install scikit-image
    python -m comparison.photo_tiles 100 my_photos      of things, animals, buildings
    python -m comparison.photo_tiles 100 walls --walls  bricks, grass, gravel, coins

Writes so many tiles of 96 x 96 pixels into the folder, those of a picture into a
subfolder of its name, so that `exercise3_train.py --labels` can be tried, too.
"""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from ddpm.command_line import run, script_parser, whole
from ddpm.files import UserError, replacing

SIDE, STRIDE = 96, 64  # pixels of a tile, and from one to the next
PHOTOS = {  # package: files in it
    "skimage": [
        *("data/astronaut.png", "data/camera.png", "data/chelsea.png"),
        *("data/coffee.png", "data/moon.png", "data/motorcycle_left.png"),
        "data/rocket.jpg",
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}
WALLS = {
    "skimage": [f"data/{name}.png" for name in ("brick", "coins", "grass", "gravel")]
}


def files(packages):
    """The pictures' paths. Raises UserError if a package is not installed."""
    for package, names in packages.items():
        spec = importlib.util.find_spec(package)
        if spec is None:
            name = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
            raise UserError(f"The pictures are those of a package: pip install {name}.")
        yield from (Path(spec.origin).parent / name for name in names)


def tiles(path):
    """The tiles of a picture, from left to right and down: [(96, 96, 3) uint8]."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    rows, columns = (range(0, n - SIDE + 1, STRIDE) for n in pixels.shape[:2])
    return [pixels[y : y + SIDE, x : x + SIDE] for y in rows for x in columns]


def choose(packages, count):
    """`count` tiles, of each picture the same part, in an order drawn with seed 0:
    [(name of the picture, tile)]. Of 100 and of 500, the first 20 are the same.
    """
    rng, queue = np.random.default_rng(0), []
    for path in files(packages):
        cut = tiles(path)
        for place, k in enumerate(rng.permutation(len(cut))):
            queue.append((place / len(cut), path.stem, cut[k]))
    if count > len(queue):
        raise UserError(f"There are {len(queue)} tiles, not {count}: ask for fewer.")
    return [item[1:] for item in sorted(queue, key=lambda item: item[:2])[:count]]


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("count", type=whole(1, 10_000), help="of tiles")
    parser.add_argument("folder", type=Path, help="where to write them")
    parser.add_argument("--walls", action="store_true", help="what looks like cloth")
    args = parser.parse_args(argv)
    chosen = choose(WALLS if args.walls else PHOTOS, args.count)
    if args.folder.exists():
        raise UserError(f"{args.folder} is there already: name a new folder.")
    for number, (name, tile) in enumerate(chosen):
        with replacing(args.folder / name / f"{number:03}.png") as temporary:
            Image.fromarray(tile).save(temporary)
    print(f"Wrote {len(chosen)} tiles to {args.folder.resolve()}.")


if __name__ == "__main__":
    run(main)
