"""Exercise 4, Steer: from one model the cloth that you want.

    python exercise4_steer.py --goal 1    ask: what does noise decide, what the name?
    python exercise4_steer.py --goal 2    mend: what was in the hole of a torn cloth?
    python exercise4_steer.py --goal 3    draw: your drawing becomes cloth
    python exercise4_steer.py --goal 4    return: a cloth to its noise, and back
    python exercise4_steer.py --goal 5    yardage: a repeat, and a poster of it

Goals 1 and 2 want a line of yours each, the two TODOs below; the others run as they
are. Without --goal all five run. A picture of your own may have any format and size.
"""

import time
from ddpm.running import run

import numpy as np
import torch

from checks import steer_todos
from ddpm import command_line, given, steering, textiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import check_config, check_list, exercise_parser
from ddpm.dataset import load_picture
from ddpm.figures import draw_rows
from ddpm.files import UserError
from ddpm.given import known_pixels
from ddpm.pictures import enlarge_repeat, save_gif, save_image, slerp, upscale
from ddpm.sampling import SAMPLERS, denoise, draw_noise, guided, last, sample
from ddpm.steering import evenly_changing, labels_for

# --- CONFIG -----------------------------------------------------------------

SAMPLING_STEPS = 25  # of the sampler below: try 10, 50
SAMPLER = "dpmpp"  # or "ddim", "ddpm"
RANDOM_SEED = 42  # goals 1, 2, 3, 5: another seed, other cloth
FAMILY = "any"  # a name; "any": goals 1 and 3 show several, in 2 and 4 nobody says
GUIDANCE = 2.0  # how firmly to ask for it
PICTURE = None  # goals 2 to 5: a file of yours in place of ours; flag --picture

GUIDANCE_WEIGHTS = [1, 2, 4]  # goal 1: one row each, and one of another noise
MASK = None  # goal 2: a picture, black where the cloth is torn; flag --mask
HOLE = (18, 22, 46, 44)  # goal 2, without MASK: left, top, right, bottom, of 64
RESAMPLINGS = 5  # goal 2: try 1, 10: how often each step is taken, to fit what is known
START_TIMESTEPS = [400, 700, 850, 999]  # goal 3: noise over your drawing; 5: the last
DRAWN_AS = ["kuba", "wax_print", "kente"]  # goal 3: families, where FAMILY names none
PATCH = 8  # goal 3: keep the colours of patches so large: try 4, 16; 0: keep none
LIGHT = 0.5  # goal 3: and how much of their lightness: try 0, 1
INVERSION_STEPS = [20, 50, 250]  # goal 4: the last is that of the morph
PICTURE_B = None  # goal 4: a file where the morph ends; flag --picture-b
NUM_FRAMES = 24  # goal 4
FPS = 8  # goal 4: frames a second, 1 to 50
REPEATS = (4, 4)  # goal 5: across and down
REPEAT_CM = 10.0  # goal 5: how wide one repeat is in print

POSTER = 2048  # pixels of its longer side, less what REPEATS leave over
DPI = 150  # of print: pixels an inch


def guide(without, with_label, weight):
    """Classifier-free guidance: without a label at 0, with it at 1, beyond above."""
    # TODO 1: begin at `without`, and go `weight` times the way from there to
    #         `with_label` (Ho and Salimans 2022, eq. 6).
    answer = ...
    return answer


def put_back(drawn, known, mask):
    """RePaint: what is known where mask is 1, what was drawn where it is 0."""
    # TODO 2: weigh `known` with mask, `drawn` with what is left of 1, and add
    #         (Lugmayr et al. 2022, eq. 8).
    mixed = ...
    return mixed


# --- From here on there is nothing to fill in -------------------------------


def main(argv=None, guide=guide, put_back=put_back):
    # --- Setup --------------------------------------------------------------
    parser = exercise_parser(
        __doc__,
        sizes="square",
        samplers=SAMPLERS,
        SAMPLING_STEPS=SAMPLING_STEPS,
        SAMPLER=SAMPLER,
        RANDOM_SEED=RANDOM_SEED,
        FAMILY=FAMILY,
        GUIDANCE=GUIDANCE,
    )
    parser.add_argument("--goal", type=int, choices=range(1, 6), help="one goal alone")
    parser.add_argument("--narrow", action="store_true", help="grids for phones, too")
    parser.add_argument("--picture", default=PICTURE, help="goals 2 to 5: your own")
    parser.add_argument("--picture-b", default=PICTURE_B, help="goal 4: where it ends")
    parser.add_argument("--mask", default=MASK, help="goal 2: black where it is torn")
    args = parser.parse_args(argv)
    check_list(parser, command_line.GUIDANCE, GUIDANCE_WEIGHTS=GUIDANCE_WEIGHTS)
    check_list(parser, (0, 64), 4, HOLE=HOLE)
    check_list(parser, command_line.TIMESTEP, START_TIMESTEPS=START_TIMESTEPS)
    check_list(parser, str, DRAWN_AS=DRAWN_AS)
    check_list(parser, command_line.STEPS, INVERSION_STEPS=INVERSION_STEPS)
    check_list(parser, (1, 32), 2, REPEATS=REPEATS)
    check_config(parser, (1, 100), RESAMPLINGS=RESAMPLINGS)
    check_config(parser, [0, 2, 4, 8, 16, 32, 64], PATCH=PATCH)
    check_config(parser, (0.0, 1.0), LIGHT=LIGHT)
    check_config(parser, (2, 1000), NUM_FRAMES=NUM_FRAMES)
    check_config(parser, command_line.FRAME_RATE, FPS=FPS)
    check_config(parser, (1.0, 40.0), REPEAT_CM=REPEAT_CM)
    check_config(parser, (64, 8192), POSTER=POSTER)
    check_config(parser, (10, 1200), DPI=DPI)
    check_config(parser, (32, 6000), **{"REPEAT_CM / 2.54 * DPI": repeat_pixels()})
    goals = [args.goal] if args.goal else [1, 2, 3, 4, 5]
    if 1 in goals:
        steer_todos.check_guide(guide)
    if 2 in goals:
        steer_todos.check_put_back(put_back)
        known_pixels(args.mask, HOLE, 64)
    for path in filter(None, (args.picture, args.picture_b)):
        load_picture(path)  # what is no picture is told before an hour is spent
    started = time.perf_counter()

    # --- Load, once for all goals -------------------------------------------
    diffusion = load_diffusion(args.checkpoint, args.device, args.size)
    if not (args.goal or diffusion.model.families):
        print("Goal 1 is left out: this model was trained without names to ask for.")
        goals.remove(1)

    # --- Steer --------------------------------------------------------------
    steer = {
        1: lambda: ask(diffusion, args, guide),
        2: lambda: mend(diffusion, args, put_back),
        3: lambda: draw(diffusion, args),
        4: lambda: there_and_back(diffusion, args),
        5: lambda: yardage(diffusion, args),
    }
    written = [name for goal in goals for name in steer[goal]()]
    seconds = time.perf_counter() - started
    print(f"Wrote {', '.join(written)} to {args.out.resolve()} in {seconds:.0f} s.")


def ask(diffusion, args, guide):
    """Goal 1: one noise under every family, and a second noise below."""
    families = diffusion.model.families
    if not families:
        raise UserError(
            "Goal 1 asks for families, and this model was trained without names. "
            f"Ask the embedded one: --checkpoint {EMBEDDED_WEIGHTS}"
        )
    label = diffusion.model.one_hot(families)
    asked = [(args.seed, weight) for weight in GUIDANCE_WEIGHTS]
    rows, labels = [], []
    for seed, weight in [*asked, (args.seed + 1, args.guidance)]:
        predict = guided(diffusion, label, weight, guide)
        seeds = len(families) * [seed]
        noise = draw_noise(seeds, diffusion.image_size[0])
        how = diffusion.alphas_cumprod, args.steps, args.sampler, seeds
        labels.append(f"seed {seed}\nw = {weight:g}")
        rows.append(last(sample(predict, noise, *how), labels[-1], args.steps))
    titles = [family.replace("_", "\n") for family in families]
    draw_rows(rows, titles, labels, args.out / "exercise4_ask.png", args.narrow)
    return ["exercise4_ask.png"]


def mend(diffusion, args, put_back):
    """Goal 2: a torn cloth, mended with each step taken once, and several times."""
    seeds = range(args.seed, args.seed + 3)  # of the noise, and of our cloth
    size, alpha_bar = diffusion.image_size[0], diffusion.alphas_cumprod
    cloth = torch.cat([given.cloth(args.picture, seed, size) for seed in seeds])
    cloth, mask = cloth.to(alpha_bar), known_pixels(args.mask, HOLE, size).to(alpha_bar)
    torn = put_back(torch.zeros_like(cloth), cloth, mask)
    columns = [(x.cpu() + 1) / 2 for x in (cloth, torn)]
    asked = guided(diffusion, named(diffusion, args, 3), args.guidance)
    how = args.steps, args.sampler, seeds
    titles = ["the cloth", "torn", "mended", f"mended, each\nstep {RESAMPLINGS} times"]
    for times, title in zip((1, RESAMPLINGS), titles[2:], strict=True):
        predict = steering.keeping(asked, cloth, mask, alpha_bar, seeds, put_back)
        walk = sample(predict, draw_noise(seeds, size), alpha_bar, *how, times)
        columns.append(last(walk, title, (args.steps - 1) * times + 1))
    labels = [f"seed {seed}" for seed in seeds]
    rows = torch.stack(columns, dim=1)
    draw_rows(rows, titles, labels, args.out / "exercise4_mend.png", args.narrow)
    return ["exercise4_mend.png"]


def draw(diffusion, args):
    """Goal 3: a drawing under more and more noise, and what cloth comes out of it."""
    drawing = given.drawing(args.picture, diffusion.image_size[0])
    known, families = diffusion.model.families, [args.family]
    if args.family == steering.ANY and known:
        ours = set(DRAWN_AS) <= set(textiles.FAMILIES) - set(known)
        families = known[:3] if ours else DRAWN_AS  # those of your own folders
    rows = []
    for family in families:
        ways = [(drawing, family, t) for t in START_TIMESTEPS]
        cloths = [as_cloth(diffusion, args, *way) for way in ways]
        rows.append(torch.cat([(drawing + 1) / 2, *cloths]))
    titles = ["drawing", *(f"from t = {t}" for t in START_TIMESTEPS)]
    labels = [family.replace("_", "\n") for family in families]
    draw_rows(rows, titles, labels, args.out / "exercise4_draw.png", args.narrow)
    return ["exercise4_draw.png"]


def there_and_back(diffusion, args):
    """Goal 4: two cloths to their noise and back, and a morph from one to the other."""
    size, alpha_bar = diffusion.image_size[0], diffusion.alphas_cumprod
    seed_b = args.seed + len(textiles.FAMILIES)  # the next cloth of the same family
    both = [(args.picture, args.seed), (args.picture_b, seed_b)]
    cloth = torch.cat([given.cloth(*one, size) for one in both]).to(alpha_bar)
    predict = guided(diffusion, named(diffusion, args, 2))
    columns, titles = [(cloth.cpu() + 1) / 2], ["the cloth"]
    for steps in INVERSION_STEPS:
        noise = steering.invert(predict, cloth, alpha_bar, steps).cpu()
        walk = sample(predict, noise, alpha_bar, steps)
        columns.append(last(walk, f"back in {steps}", steps))
        squares = (2 * (columns[-1] - columns[0])).square().mean(dim=(1, 2, 3))
        errors = "A {:.2f}, B {:.2f}".format(*squares.sqrt().tolist())
        print(f"{steps} steps there and back, root mean square error: {errors}.")
        titles.append(f"{steps} steps, error\n{errors}")
    columns.insert(1, (noise + 1) / 2)
    titles.insert(1, f"its noise,\n{steps} steps")
    rows = torch.stack(columns, dim=1)
    draw_rows(rows, titles, ["A", "B"], args.out / "exercise4_return.png", args.narrow)

    def frames(t):
        path, label = slerp(t, noise[:1], noise[1:]), named(diffusion, args, len(t))
        return denoise(diffusion, path, args.steps, args.sampler, label=label)

    t = np.linspace(0, 1, NUM_FRAMES)
    morph = frames(evenly_changing(t, frames(t)))
    save_gif(upscale(morph, 256 / size), args.out / "exercise4_return.gif", FPS)
    return ["exercise4_return.png", "exercise4_return.gif"]


def yardage(diffusion, args):
    """Goal 5: one cloth, the model's or your picture's, as a repeat and a poster."""
    if args.picture:
        drawing = given.drawing(args.picture, diffusion.image_size[0])
        how = drawing, args.family, START_TIMESTEPS[-1]
        cloth = as_cloth(diffusion, args, *how)[0]
    else:
        how = args.steps, args.sampler, args.family, args.guidance
        cloth = steering.draw(diffusion, [args.seed], *how)[0]
    across, down = REPEATS
    repeat, small = repeat_pixels(), POSTER // max(REPEATS)
    written = {
        "exercise4_yardage.png": enlarge_repeat(cloth, small).repeat(1, down, across),
        "exercise4_repeat.png": enlarge_repeat(cloth, repeat),
    }
    for name, picture in written.items():
        save_image(picture, args.out / name, DPI)
        high, wide = picture.shape[1:]
        cm = f"{2.54 * wide / DPI:.1f} x {2.54 * high / DPI:.1f} cm at {DPI} dpi"
        print(f"{name}: {wide} x {high} pixels, {cm}.")
    return list(written)


# --- What the goals share ---------------------------------------------------


def repeat_pixels():
    """How many pixels wide one repeat is in print."""
    return round(REPEAT_CM / 2.54 * DPI)


def named(diffusion, args, count):
    """Labels for pictures whose family nobody says, unless --family does."""
    family = steering.NONE if args.family == steering.ANY else args.family
    return labels_for(diffusion.model, family, range(count))


def as_cloth(diffusion, args, drawing, family, t):
    """A drawing (1, 3, H, W) in [-1, 1], drawn anew from t on: like it, in [0, 1]."""
    alpha_bar, size = diffusion.alphas_cumprod, drawing.shape[-1]
    noise, drawing = (x.to(alpha_bar) for x in (draw_noise([args.seed], size), drawing))
    label = labels_for(diffusion.model, family, [args.seed])
    predict = guided(diffusion, label, args.guidance)
    if PATCH:  # a family has colours of its own, and guidance insists on them
        patch = max(1, PATCH * size // 64)
        predict = steering.tinted(predict, drawing, alpha_bar, patch, LIGHT)
    how = args.steps, args.sampler, [args.seed]
    walk = steering.redraw(predict, drawing, noise, alpha_bar, t, *how)
    return last(walk, f"{family} from t = {t}")


if __name__ == "__main__":
    run(main)
