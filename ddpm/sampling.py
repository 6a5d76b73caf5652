"""Sampling: noise, the steps from noise to picture, and the walk of all of them."""

import itertools
import math

import torch
from tqdm import tqdm

from ddpm.files import UserError
from ddpm.network import computes_bf16


def draw_noise(seeds, image_size=64):
    """Standard normal noise, one seed a picture: (len(seeds), 3, H, W) on the CPU.

    A seed names a picture: neither its neighbours in the batch nor the device
    change the noise that is drawn. image_size: H and W, or one number for both.
    """
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    shape = (3, *sides)
    return torch.stack([torch.randn(shape, generator=g) for g in generators])


def more_noise(seeds, shape):
    """Yield fresh noise (len(seeds), *shape) without end, each seed's own."""
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
    for rng in rngs:
        torch.randn(shape, generator=rng)  # x_T was drawn from here
    while True:
        yield torch.stack([torch.randn(shape, generator=rng) for rng in rngs])


# --- What the network predicts ----------------------------------------------


def noise_in(x_t, x_0, alpha_bar):
    """eps such that x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps; like x_t.

    alpha_bar: a number, or a tensor with one, from 0 to below 1.
    """
    return (x_t - alpha_bar**0.5 * x_0) / (1 - alpha_bar) ** 0.5


def predictor(diffusion, label=None, clip=True, few=0):
    """predict(x_t, t) -> (x_0, eps), like x_t (B, 3, H, W), in [-1, 1]; t: a number.

    label: what to draw, (B, families + 1), as from `FabricUnet.one_hot`. x_0 is
    clipped, and eps derived from it. few: in how many steps the walk goes, for a
    network that was taught to walk in so few. What samplers take is any such function:
    one that changes the answers of another steers what is drawn.
    """
    if few:
        label = diffusion.model.in_steps(label, few)
    device = diffusion.betas.device
    fast = device.type == "cuda" and computes_bf16(device)

    def predict(x_t, t):
        times = torch.full((len(x_t),), t, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            _, x_0 = diffusion.model_predictions(x_t, times, label, clip_x_start=clip)
        return x_0, noise_in(x_t, x_0, diffusion.alphas_cumprod[t])

    return predict


ONE_PASS = (1.0, 4.0)  # weights of guidance that a network can be taught


def extrapolate(without, with_label, weight):
    """From the answer without a label to the one with it, and beyond: three tensors of
    one shape. Ho and Salimans 2022, eq. 6, where `weight` is their w + 1."""
    return without + weight * (with_label - without)


def guided(diffusion, label=None, weight=1.0, guide=None, few=0):
    """predict(x_t, t) -> (x_0, eps), as from `predictor`, that asks more firmly.

    Classifier-free guidance (Ho and Salimans 2022, eq. 6): the network answers with the
    label and without, in one batch, and the difference is taken `weight` times (their
    w + 1): 1 is the label alone, at no extra cost; 0 is no label. x_0 depends linearly
    on eps, so it is weighed as eps is there. A network that was taught to (Meng et al.
    2023) does it in one pass, for weights within ONE_PASS: it sees the label so many
    times as large. guide: a function to call in place of `extrapolate`, in two passes
    whatever the weight and the network. few: as for `predictor`.
    """
    if label is None or (weight == 1 and guide is None):
        return predictor(diffusion, label, few=few)
    low, high = ONE_PASS
    taught = diffusion.model.guidance == "one pass" and low <= weight <= high
    if taught and guide is None:
        strength = torch.where(label[:, -1:] == 1, 1.0, weight)  # no name has none
        return predictor(diffusion, strength * label, few=few)
    guide = guide or extrapolate
    unasked = diffusion.model.one_hot([None] * len(label))
    both = predictor(diffusion, torch.cat([label, unasked]), clip=False, few=few)

    def predict(x_t, t):
        x_0, _ = both(torch.cat([x_t, x_t]), t)
        with_label, without = x_0.chunk(2)
        x_0 = guide(without, with_label, weight).clamp(-1, 1)
        return x_0, noise_in(x_t, x_0, diffusion.alphas_cumprod[t])

    return predict


# --- The steps --------------------------------------------------------------
# Each gives x_t' from what is known at t. a, a_next: alpha-bar at t and at t'.


def ddim_step(*, x_0, eps, a_next, **_):
    """The same noise, less of it. Song et al. (2021), eq. 12 with sigma = 0."""
    return math.sqrt(a_next) * x_0 + math.sqrt(1 - a_next) * eps


def ddpm_step(*, x_0, eps, a, a_next, fresh, **_):
    """In part fresh noise. The same with eta = 1, which between neighbouring timesteps
    is Algorithm 2 of Ho et al. (2020).
    """
    sigma = math.sqrt((1 - a / a_next) * (1 - a_next) / (1 - a))
    kept = max(0.0, 1 - a_next - sigma**2)  # rounding may take it below
    mean = math.sqrt(a_next) * x_0 + math.sqrt(kept) * eps
    return mean + sigma * next(fresh).to(mean)


def dpmpp_step(*, x, x_0, a, a_next, before, **_):
    """Second order: the step before tells the bend. Lu et al. (2022), Algorithm 2.

    before: (x_0, a) of that step; without one, the step is of order one.
    """

    def log_snr(share):  # of pure noise, where some schedules end, it is -infinity
        return math.log(share / (1 - share)) / 2 if share else -math.inf

    h = log_snr(a_next) - log_snr(a)
    d = x_0
    if before is not None:
        x_0_before, a_before = before
        d = x_0 + (x_0 - x_0_before) * h / (2 * (log_snr(a) - log_snr(a_before)))
    ratio = math.sqrt((1 - a_next) / (1 - a))
    return ratio * x - math.sqrt(a_next) * math.expm1(-h) * d


SAMPLERS = {"ddim": ddim_step, "ddpm": ddpm_step, "dpmpp": dpmpp_step}
FAST = "fast"  # DDIM's steps, of a network that was taught to look so far ahead

# --- The walk ---------------------------------------------------------------


def timestep_pairs(timesteps, steps, resamplings=1):
    """The walk from noise to picture: [(t, t_next), ...], ending with t_next = -1.

    t is spaced evenly, as the library does. So half of the steps go to its upper half,
    where layout and colours are decided, and none to the last, invisible grain.
    resamplings: how often each step but the last is taken; in between, the walk climbs
    back, to t_next > t (U in Lugmayr et al. 2022, Algorithm 1).
    """
    if not 1 <= steps <= timesteps:
        raise UserError(f"{steps} steps asked for: this model takes 1 to {timesteps}.")
    times = torch.linspace(-1, timesteps - 1, steps + 1).int().tolist()[::-1]
    *pairs, last = itertools.pairwise(times)
    again = resamplings - 1
    climbing = [
        again * [(t, t_next), (t_next, t)] + [(t, t_next)] for t, t_next in pairs
    ]
    return [*itertools.chain(*climbing), last]


@torch.inference_mode()
def sample(
    predict, noise, alpha_bar, steps=250, sampler="ddim", seeds=None, resamplings=1
):
    """Walk from noise (B, 3, H, W) to pictures; yield (t, x_t, x_0) at each step.

    x_t is what the sampler has in hand, x_0 the pictures predicted from it, both in
    [-1, 1] on the device of alpha_bar. The last item is (-1, x, x): the pictures.

    predict: as from `predictor`. alpha_bar: (T,), the schedule. sampler: a name of
    SAMPLERS. seeds: of fresh noise, one a picture (0, 1, ... if left out).
    resamplings: as for `timestep_pairs`.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"No sampler {sampler!r}. Known: {', '.join(SAMPLERS)}.")
    step, x, before = SAMPLERS[sampler], noise.to(alpha_bar.device), None
    fresh = more_noise(range(len(x)) if seeds is None else seeds, x.shape[1:])
    share = alpha_bar.tolist()
    for t, t_next in timestep_pairs(len(share), steps, resamplings):
        if t_next > t:  # the forward process, from there to here
            kept = share[t_next] / share[t]
            x = math.sqrt(kept) * x + math.sqrt(1 - kept) * next(fresh).to(x)
            before = None
            continue
        x_0, eps = predict(x, t)
        yield t, x, x_0
        if t_next < 0:
            break
        a, a_next = share[t], share[t_next]
        known = {"x": x, "x_0": x_0, "eps": eps, "a": a, "a_next": a_next}
        x = step(**known, before=before, fresh=fresh)
        before = x_0, a
    yield -1, x_0, x_0


def last(walk, what, calls=None):
    """Where a walk, as from `sample`, arrives: (B, 3, H, W) in [0, 1], on the CPU.

    what: stands beside the progress bar. calls: how often `predict` will be asked.
    """
    with tqdm(desc=what.replace("\n", " "), total=calls, disable=None) as bar:
        for state in walk:
            bar.update(state[0] >= 0)
    return (state[1].float().cpu() + 1) / 2


def denoise(
    diffusion,
    noise,
    steps=250,
    sampler="ddim",
    seeds=None,
    batch_size=32,
    label=None,
    guidance=1.0,
):
    """Turn noise (B, 3, H, W) into pictures (B, 3, H, W) in [0, 1], on the CPU.

    sampler: `ddim`, deterministic; `ddpm`, with fresh noise at each step; `dpmpp`, for
        10 to 25 steps; `fast`, for so few as the network was taught to walk in.
    seeds: as for `sample`, so that a seed names a picture whatever its batch.
    batch_size: pictures denoised together; more are split, to fit memory.
    label: what to draw, a row a picture, as from `FabricUnet.one_hot`. guidance: how
        firmly to ask for it, as the weight of `guided`.
    """
    seeds = range(len(noise)) if seeds is None else seeds
    few = steps if sampler == FAST else 0
    batches = [
        slice(first, first + batch_size) for first in range(0, len(noise), batch_size)
    ]
    pictures = []
    with tqdm(total=steps * len(batches), disable=None) as bar:
        for part in batches:
            asked = None if label is None else label[part]
            walk = sample(
                guided(diffusion, asked, guidance, few=few),
                noise[part],
                diffusion.alphas_cumprod,
                steps,
                "ddim" if few else sampler,
                seeds[part],
            )
            for t, x, _ in walk:
                if t < 0:
                    pictures.append(x.float().cpu())
                else:
                    bar.update()
    return (torch.cat(pictures) + 1) / 2
