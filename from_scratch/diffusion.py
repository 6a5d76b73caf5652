"""The process: noise put in, noise taken out. Nothing here knows what x is.

x_0 is a batch of data, (B, 2) points or (B, C, H, W) pictures, centred and of a
spread near 1; x_t the same after t steps of noise. The network eps_theta(x_t, t)
says what noise is in x_t. Symbols are those of Ho et al. (2020).
"""

import itertools
import math

import torch

# --- Forward: from data to noise --------------------------------------------


def q_step(schedule, x, t, eps):
    """One step of the chain, from x_{t-1} to x_t with noise eps like x.

    q(x_t | x_{t-1}) = N(sqrt(alpha_t) x_{t-1}, beta_t I), eq. 2.
    """
    return schedule.alpha[t].item() ** 0.5 * x + schedule.beta[t].item() ** 0.5 * eps


def q_sample(schedule, x_0, t, eps):
    """x_t at once, without the chain; t: (B,) timesteps, each sample its own.

    q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I), eq. 4.
    """
    shape = (-1, *[1] * (x_0.dim() - 1))
    alpha_bar = schedule.alpha_bar[t.cpu()].view(shape)  # (B, 1, ...)
    signal, noise = alpha_bar.sqrt().to(x_0), (1 - alpha_bar).sqrt().to(x_0)
    return signal * x_0 + noise * eps


# --- Learning: which noise was it? ------------------------------------------


def loss(schedule, eps_theta, x_0, t, eps):
    """Squared error of the predicted noise, mean over a sample: (B,), eq. 14."""
    error = eps - eps_theta(q_sample(schedule, x_0, t, eps), t)
    return error.square().flatten(1).mean(dim=1)


# --- Reverse: from noise to data --------------------------------------------


def predict_x_0(schedule, x_t, t, eps):
    """The x_0 that x_t comes from if its noise is eps: eq. 4 solved for x_0."""
    a = schedule.alpha_bar_at(t)
    return (x_t - (1 - a) ** 0.5 * eps) / a**0.5


def score(schedule, t, eps):
    """Direction in which x_t gets more probable, grad log q(x_t), from its noise.

    Song & Ermon (2019); the noise points away from the data, the score back.
    """
    return -eps / (1 - schedule.alpha_bar_at(t)) ** 0.5


def posterior(schedule, x_0, x_t, t, s):
    """Mean like x_t, and variance (a number), of q(x_s | x_t, x_0) for s < t.

    Eq. 6 and 7, for a step of any length; s = t - 1 is the paper's. At s = -1 the
    mean is x_0 and the variance 0: the last step adds no noise.
    """
    a_t, a_s = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
    alpha = a_t / a_s  # of all steps from s to t together
    mean = (a_s**0.5 * (1 - alpha) * x_0 + alpha**0.5 * (1 - a_s) * x_t) / (1 - a_t)
    return mean, (1 - a_s) / (1 - a_t) * (1 - alpha)


def ddpm_step(schedule, x_0, x_t, t, s, z):
    """x_s drawn from the posterior; z: fresh noise like x_t. Algorithm 2, line 4."""
    mean, variance = posterior(schedule, x_0, x_t, t, s)
    return mean + variance**0.5 * z


def ddim_step(schedule, x_0, x_t, t, s, z=None):
    """x_s on the straight mixture of x_0 and the noise that x_t already has.

    Song et al. (2021), eq. 12 with sigma = 0: z is not used, nothing is random.
    """
    a_t, a_s = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
    eps = (x_t - a_t**0.5 * x_0) / (1 - a_t) ** 0.5
    return a_s**0.5 * x_0 + (1 - a_s) ** 0.5 * eps


SAMPLERS = {"ddpm": ddpm_step, "ddim": ddim_step}


def dpmpp():
    """A step of second order for `sample`, with a memory of its own.

    DPM-Solver++(2M), Lu et al. (2022), Algorithm 2: DDIM, on the x_0 that is foreseen
    for the middle of the step, out of this one and the one before. Along lambda =
    log(a / sigma), in which x_0 changes evenly. The last step, without end in lambda,
    is that of DDIM.
    """
    before = None  # (lambda, x_0) of the step before

    def step(schedule, x_0, x_t, t, s, z=None):
        nonlocal before
        if t == schedule.T - 1:
            before = None  # a walk begins
        middle = x_0
        here, there = (_log_ratio(schedule.alpha_bar_at(i)) for i in (t, s))
        if before is not None and s >= 0:
            last, x_0_before = before
            middle = x_0 + (there - here) / (2 * (here - last)) * (x_0 - x_0_before)
        before = here, x_0
        return ddim_step(schedule, middle, x_t, t, s)

    return step


def _log_ratio(alpha_bar):
    return math.log(alpha_bar / (1 - alpha_bar)) / 2 if alpha_bar < 1 else math.inf


def timestep_pairs(T, steps):
    """The walk down from T-1 in even strides: [(t, s), ...], the last s = -1.

    Raises ValueError unless 1 <= steps <= T.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"{steps} sampling steps: this chain allows 1 to {T}")
    return list(itertools.pairwise(torch.linspace(T - 1, -1, steps + 1).int().tolist()))


@torch.no_grad()
def sample(
    schedule, eps_theta, x, sampler="ddpm", steps=None, clip=None, generator=None
):
    """Walk from noise x, like data, to data; yields (t, x_t, x_0) on the way.

    x_0 is what the network takes x_t for. The last item is (-1, x_0, x_0): the
    sample. Algorithm 2 of Ho et al. (2020) for `ddpm` with steps = T.

    sampler: "ddpm" or "ddim", or a function like `ddpm_step`. steps: T unless given.
    clip: data lie in [-clip, clip], so the predicted x_0 is held there. generator:
    source of the fresh noise of ddpm, on the CPU. Raises ValueError for a sampler or
    a number of steps that there is not.
    """
    step = SAMPLERS.get(sampler, sampler)
    if not callable(step):
        raise ValueError(f"No sampler {sampler!r}. Known: {', '.join(SAMPLERS)}.")
    for t, s in timestep_pairs(schedule.T, schedule.T if steps is None else steps):
        eps = eps_theta(x, torch.full((len(x),), t, device=x.device))
        x_0 = predict_x_0(schedule, x, t, eps)
        if clip is not None:
            x_0 = x_0.clamp(-clip, clip)
        yield t, x, x_0
        z = torch.randn(x.shape, generator=generator).to(x)
        x = step(schedule, x_0, x, t, s, z)
    yield -1, x, x


# --- Guidance: noise for a wish ---------------------------------------------


def guided(eps_theta, y, weight):
    """A network of (x_t, t) out of one of (x_t, t, y): classifier-free guidance.

    eps = eps_uncond + weight (eps_cond - eps_uncond): weight 0 is unconditional, 1
    conditional, more exaggerates what y changes. (Ho & Salimans 2022 write w for
    our weight - 1.) y: (B,) class labels; eps_theta takes y = None for "any".
    """

    def eps(x_t, t):
        unconditional = eps_theta(x_t, t)
        return unconditional + weight * (eps_theta(x_t, t, y) - unconditional)

    return eps


def classifier_guided(schedule, eps_theta, classifier, y, weight):
    """A network of (x_t, t), pushed to where a classifier reads y: classifier guidance.

    eps = eps_theta - weight sqrt(1 - alpha_bar) grad log p(y | x_t), Algorithm 2 of
    Dhariwal & Nichol (2021): the score of Bayes' rule, since the score is
    -eps / sqrt(1 - alpha_bar). Weight 0 is unconditional, 1 conditional, more
    exaggerates, as in `guided`. y: (B,) class labels; classifier: (x_t, t) -> (B,
    classes) logits, trained on noisy pictures.
    """

    def eps(x_t, t):
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            log_p = classifier(x, t).log_softmax(dim=1)  # over the classes
            chosen = log_p.gather(1, y[:, None]).sum()  # each depends on its own x only
            (gradient,) = torch.autograd.grad(chosen, x)
        shape = (-1, *[1] * (x_t.dim() - 1))
        noise = (1 - schedule.alpha_bar[t.cpu()]).sqrt().view(shape).to(x_t)
        return eps_theta(x_t, t) - weight * noise * gradient

    return eps
