"""Exercise 3, Extension: train a diffusion model of your own.

    python exercise3_train.py --verify                look at the training pictures
    python exercise3_train.py --train --preset small  a small model, on any laptop
    python exercise3_train.py --train                 the lesson's model, on a GPU
    python exercise3_train.py --train --data DIR      on your own pictures, for hours
    python exercise3_train.py --train --data DIR --start embedded  in 15 minutes

Stop it whenever you like: the same command (without --fresh) goes on where it stopped.
When it is done, the exercises draw with your model; --back leads back to the embedded
one. The last command begins with weights that can draw already, shows samples each
minute, and stops when they become copies of your pictures.
"""

from ddpm.running import run
from pathlib import Path

from ddpm.augment import AUGMENT
from ddpm.checkpoints import EMBEDDED_WEIGHTS
from ddpm.command_line import folder, script_parser, whole
from ddpm.dataset import COUNT, draw_textiles
from ddpm.files import ROOT
from ddpm.network import LESSON_CONFIG
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.training import (
    FROM_START,
    Preset,
    check_apart,
    check_preset,
    load_images,
    move_aside,
    train,
)

# --- CONFIG -----------------------------------------------------------------

IMAGE_SIZE = 64  # pixels a side, of the first two presets

# The network answers v (Salimans and Ho 2022), from which the noise follows.
CONFIG = LESSON_CONFIG | {"image_size": IMAGE_SIZE, "objective": "pred_v"}

LESSON = Preset(  # the lesson's model
    name="lesson",
    config=CONFIG,
    batch_size=32,  # pictures a step; take 16 or 8 if memory runs out
    gradient_accumulate=1,  # batches a step: larger in effect, in more time
    learning_rate=8e-5,  # of Adam; larger learns faster until it diverges
    steps=500_000,  # about 16 h on an RTX 5070 Ti
    ema_decay=0.995,  # how slowly the averaged weights follow; 0.9999 for long runs
    save_every=25_000,  # steps between two milestones
    num_samples=16,  # pictures in the grid of a milestone
)
SMALL = Preset(  # patches of 4 x 4 pixels make it some 15 times cheaper
    name="small",
    config=CONFIG
    | {"dim": 80, "dim_mults": (1, 2, 2), "full_attn": (False, True, True), "patch": 4},
    batch_size=16,
    gradient_accumulate=1,
    learning_rate=1e-3,
    steps=30_000,  # some hours on a laptop
    ema_decay=0.999,
    save_every=1_000,
    num_samples=16,
    decays=True,  # the learning rate falls to zero at the last step
    middle=True,  # the timesteps where most is to be learnt come more often
)
OWN = Preset(  # your pictures, in a quarter of an hour
    name="own",
    config=FROM_START,  # the network is that of --start
    batch_size=8,
    gradient_accumulate=1,
    learning_rate=1e-3,
    minutes=15,  # of the whole run, with a milestone in each; --steps counts steps
    save_every=100,  # steps between two milestones, then
    ema_decay=0.99,
    num_samples=9,  # in the grid that is drawn each minute
    held_out=0.1,  # part of the pictures, by which copies are told
    warm_up=50,
    decays=True,
    middle=True,
)
PRESETS = {preset.name: preset for preset in (LESSON, SMALL, OWN)}


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    parser = script_parser(__doc__, device=True)
    parser.add_argument("--verify", action="store_true", help="show the data and stop")
    parser.add_argument("--train", action="store_true", help="train, or go on training")
    parser.add_argument("--back", action="store_true", help="to the embedded model")
    parser.add_argument("--preset", choices=PRESETS, help="own with --start, or lesson")
    parser.add_argument("--data", type=Path, help="folder of pictures (drawn textiles)")
    parser.add_argument(
        "--textiles", type=whole(1, 10**6), default=COUNT, help="how many to draw"
    )
    parser.add_argument(
        "--steps", type=whole(1, 10**9), help="train up to this step (the preset's)"
    )
    parser.add_argument(
        "--labels", action="store_true", help="subfolders tell names, for --family"
    )
    parser.add_argument(
        "--augment",
        nargs="*",
        choices=AUGMENT,
        default=["mirror"],
        metavar="HOW",
        help=f"your pictures, by chance: {', '.join(AUGMENT)}, or nothing (mirror)",
    )
    parser.add_argument(
        "--start", help="weights to begin a new run with: a file, or the word embedded"
    )
    parser.add_argument("--fresh", action="store_true", help="start anew")
    parser.add_argument("--out", type=folder, help="where to write")
    args = parser.parse_args(argv)
    if not (args.verify or args.train or args.back):
        parser.error("say --verify, --train or --back")
    if args.labels and not args.data:
        parser.error("--labels takes the names of subfolders: give their --data, too")
    preset = PRESETS[args.preset or ("own" if args.start else "lesson")]
    check_preset(parser, preset)
    start, out = args.start, args.out or ROOT
    if start == "embedded" or (preset.config == FROM_START and not start):
        start = EMBEDDED_WEIGHTS

    # --- Go back ------------------------------------------------------------
    if args.back and not move_aside(out, model=True):
        print("There is no model of your own: the embedded one is in use.")

    # --- Look at the data ---------------------------------------------------
    if args.verify:
        path = (args.out or Path()) / "training_samples_grid.png"
        check_apart(path.parent, args.data)
        source = args.data or draw_textiles(args.textiles)
        images, *_ = load_images(source, IMAGE_SIZE, labels=args.labels)
        save_image(upscale(make_grid(images[:9] / 255), 4), path)
        print(f"Wrote {path.resolve()}.")

    # --- Train --------------------------------------------------------------
    if args.train:
        train(
            preset,
            out,
            args.data,
            args.textiles,
            args.steps,
            args.device,
            start and Path(start),
            args.fresh,
            args.labels,
            tuple(args.augment),
        )


if __name__ == "__main__":
    run(main)
