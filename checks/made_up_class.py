"""A class of made-up students, to try the marking on and to see how long it takes.

    python -m checks.made_up_class DIR --students 60
    python -m checks --class DIR

Of each eleven, two have everything, one has nothing, and with the others one thing each
is off, as their folders' names say. No model draws: the pictures are textiles.
"""

import itertools
import shutil
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from checks.student_files import GOALS, MORPH, SAMPLER, STEER, STEERED
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import textiles
from ddpm.files import ROOT, UserError
from ddpm.pictures import make_grid, save_gif, save_image, upscale

SOLUTIONS = {  # in place of the dots
    "values": "np.linspace(0, 1, num_frames)",
    "blended": "(1 - t) * noise_a + t * noise_b",
    "x_t": "alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps",
    "x_0": "(x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()",
    "x_next": "mix(x_0, eps, alpha_bar_next)",
    "answer": "without + weight * (with_label - without)",
    "mixed": "mask * known + (1 - mask) * drawn",
}
EXPLORE, TEXT = "exercise2_explore.py", "utf-8"


def cloths(seeds):
    """Textiles, (n, 3, 64, 64) in [0, 1]."""
    images = np.stack([textiles.pattern(seed) for seed in seeds])
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


def change(path, old, new):
    path.write_text(path.read_text(TEXT).replace(old, new), TEXT)


def write_samples(folder, images):
    """The pictures of Exercise 1, and their grid."""
    for i, image in enumerate(images):
        save_image(image, folder / "generated_samples" / f"fabric_{i:04d}.png")
    save_image(upscale(make_grid(images), 4), folder / "exercise1_output.png")


def do_all(folder, seed):
    """Scripts with every line written, and the pictures that they would draw."""
    (folder / "generated_samples").mkdir(parents=True)
    images = cloths(range(4 * seed, 4 * seed + 4))
    write_samples(folder, images)
    t = torch.linspace(0, 1, 20).reshape(-1, 1, 1, 1)
    save_gif(
        upscale(images[0] + t * (images[1] - images[0]), 4), folder / "film.gif", 8
    )
    pictures = [*GOALS.values(), *STEERED.values(), ["exercise3_sampler.png"]]
    for name in (*itertools.chain(*pictures), "my_morph.gif"):
        drawn = "film.gif" if name.endswith(".gif") else "exercise1_output.png"
        shutil.copy(folder / drawn, folder / name)
    (folder / "film.gif").unlink()
    for name in (EXPLORE, MORPH, SAMPLER, STEER):
        shutil.copy(ROOT / name, folder)
        for variable, line in SOLUTIONS.items():
            change(folder / name, f"    {variable} = ...", f"    {variable} = {line}")
    change(folder / EXPLORE, "SAMPLING_STEPS = 250", f"SAMPLING_STEPS = {20 + seed}")


# --- What goes wrong: each is given a folder in which all is done -----------


def nothing(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def first_half(folder):
    for path in (MORPH, SAMPLER, STEER, "my_morph.gif", "exercise3_sampler.png"):
        (folder / path).unlink()
    for path in folder.glob("exercise4*"):
        path.unlink()


def a_loop(folder):
    change(folder / MORPH, "    return blended", "    while True:\n        pass")


def wrong_lines(folder):
    change(folder / MORPH, "np.linspace(0, 1,", "np.arange(0, 1,")
    change(folder / SAMPLER, "(1 - alpha_bar).sqrt() * eps", "(1 - alpha_bar) * eps")
    change(folder / STEER, "with_label - without", "without - with_label")


def only_noise(folder):
    write_samples(folder, torch.rand(4, 3, 64, 64))


def broken_files(folder):
    film = (folder / "my_morph.gif").read_bytes()
    (folder / "my_morph.gif").write_bytes(film[: len(film) // 3])
    (folder / SAMPLER).write_bytes(b"\xff\xfe")
    change(folder / EXPLORE, "SAMPLING_STEPS =", "SAMPLING_STEPS = (")


def a_missing_package(folder):
    change(folder / STEER, "import torch", "import torch, a_package_of_my_own")


def ends_python(folder):
    change(folder / SAMPLER, "import torch", "import os, torch\n\nos._exit(1)")


def as_an_archive_has_it(folder):
    inside = folder / "ddpm_basics-main"
    shutil.move(shutil.copytree(folder, folder.with_suffix(".copy")), inside)
    for path in folder.iterdir():
        if path != inside:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "__MACOSX").mkdir()


def with_a_neighbour(folder):
    """Does in a comment and a morph what the one before did, too."""
    comments = "# We drew both noises on paper first,\n# and then their sum:\n"
    comments += "# its length is what changes.\n"
    before = sorted(folder.parent.iterdir())[-2]
    for each in (before, folder):
        change(each / MORPH, "import numpy", f"{comments}import numpy")
    shutil.copy(before / "my_morph.gif", folder)


def everything(folder):
    pass


KINDS = [
    *(everything, with_a_neighbour, nothing, first_half, wrong_lines, only_noise),
    *(a_loop, ends_python, broken_files, a_missing_package, as_an_archive_has_it),
]


def main(argv=None):
    parser = script_parser(__doc__, prog="python -m checks.made_up_class")
    parser.add_argument("out", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--students", type=whole(1, 1000), default=12, help="(12)")
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"{args.out} is there already. Give the name of a new folder.")
    for i in tqdm(range(args.students), "Students", disable=None):
        kind = KINDS[i % len(KINDS)]
        folder = args.out / f"{i + 1:03d} {kind.__name__.replace('_', ' ')}"
        do_all(folder, i)
        kind(folder)
    print(f"Wrote {args.students} folders to {args.out}.")


if __name__ == "__main__":
    run(main)
