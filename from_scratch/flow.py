"""Flow matching: the process as a movement. Nothing here knows what x is.

x_0 is data and eps noise, as in diffusion.py, and x_t again a mixture of both. But time
is any number from t = 0, the data, to t = 1, the noise, and the network u_theta(x_t, t)
says with which velocity x_t moves. To draw, one follows it back from 1 to 0.

Lipman et al. (2023), Liu et al. (2023) and Albergo & Vanden-Eijnden (2023) count time
from the noise to the data: their t is our 1 - t, their velocity ours with its sign
flipped. Esser et al. (2024) count as we do.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch

# --- Paths: from data to noise ----------------------------------------------


class Path(NamedTuple):
    """How to mix: x_t = a x_0 + sigma eps, from a = 1, sigma = 0 to a = 0, sigma = 1.

    mix: t -> (a, sigma); rates: t -> (da/dt, dsigma/dt); of tensors of any shape.
    """

    mix: Callable
    rates: Callable
    T = 1  # where time ends

    def times(self, count):
        """`count` times, evenly from 0 to 1."""
        return torch.linspace(0, 1, count)

    def random_times(self, count, generator):
        return torch.rand(count, generator=generator)

    def alpha_bar_at(self, t):
        """The share of the data in the variance, if theirs is 1; t: a number."""
        a, sigma = self.mix(torch.tensor(t, dtype=torch.float64))
        return (a**2 / (a**2 + sigma**2)).item()


QUARTER = math.pi / 2

# The straight path goes from data to noise along a line, at one speed. The cosine path
# is that of the cosine schedule: a quarter of a circle, on which a^2 + sigma^2 = 1.
STRAIGHT = Path(
    mix=lambda t: (1 - t, t),
    rates=lambda t: (-torch.ones_like(t), torch.ones_like(t)),
)
COSINE = Path(
    mix=lambda t: ((QUARTER * t).cos(), (QUARTER * t).sin()),
    rates=lambda t: (-QUARTER * (QUARTER * t).sin(), QUARTER * (QUARTER * t).cos()),
)
PATHS = {"straight": STRAIGHT, "cosine": COSINE}


def column(t, x):
    """t (B,) beside x (B, ...): (B, 1, ...)."""
    return t.to(x).view(-1, *[1] * (x.dim() - 1))


def q_sample(path, x_0, t, eps):
    """x_t, between x_0 and eps; t: (B,) times, each sample its own."""
    a, sigma = path.mix(column(t, x_0))
    return a * x_0 + sigma * eps


def velocity(path, x_0, t, eps):
    """d x_t / dt of that x_t: on the straight path eps - x_0, at all times."""
    da, dsigma = path.rates(column(t, x_0))
    return da * x_0 + dsigma * eps


# --- Learning: where does it move? ------------------------------------------


def loss(path, u_theta, x_0, t, eps):
    """Squared error of the predicted velocity, mean over a sample: (B,).

    Conditional flow matching, eq. 9 and 14 of Lipman et al. (2023).
    """
    error = velocity(path, x_0, t, eps) - u_theta(q_sample(path, x_0, t, eps), t)
    return error.square().flatten(1).mean(dim=1)


# --- One answer in four coordinates -----------------------------------------


def coordinates(path, x_t, t, **answer):
    """{"x_0", "eps", "v", "velocity"}, from one of them, given by its name.

    Each is p x_0 + q eps with known p and q, and so is x_t: two equations for x_0 and
    eps. What multiplies them, the determinant a q - sigma p, is 0 where the answer says
    nothing new: there the others come out as inf or nan. v: Salimans & Ho (2022),
    section 4.
    """
    time = column(t, x_t)
    (a, sigma), (da, dsigma) = path.mix(time), path.rates(time)
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    weights = {
        "x_0": (one, zero),
        "eps": (zero, one),
        "v": (-sigma, a),
        "velocity": (da, dsigma),
    }
    ((name, given),) = answer.items()
    p, q = weights[name]
    determinant = a * q - sigma * p
    x_0 = (q * x_t - sigma * given) / determinant
    eps = (a * given - p * x_t) / determinant
    return {name: p * x_0 + q * eps for name, (p, q) in weights.items()} | answer


def flow_of_diffusion(schedule, eps_theta, clip=None):
    """u_theta(x_t, t) on the straight path, of a network that has learnt to tell noise.

    A mixture of data and noise is one at any scale: divided by a + sigma it lies on
    the straight path, at t = sigma / (a + sigma). Each t takes the timestep next to its
    own. clip: the predicted x_0 is held in [-clip, clip].
    """
    a, sigma = schedule.alpha_bar.sqrt(), (1 - schedule.alpha_bar).sqrt()
    times = sigma / (a + sigma)  # (T,), growing

    def u_theta(x_t, t):
        step = (times - t[:1].cpu()).abs().argmin()
        steps = torch.full((len(x_t),), step.item(), device=x_t.device)
        x = (a[step] + sigma[step]).to(x_t) * x_t
        eps = eps_theta(x, steps)
        x_0 = (x - sigma[step].to(x) * eps) / a[step].to(x)
        return eps - (x_0 if clip is None else x_0.clamp(-clip, clip))

    return u_theta


# --- Sampling: along the flow, back from 1 to 0 ------------------------------


def euler_step(u_theta, x, t, s, u):
    """x at time s, if it kept the velocity u = u_theta(x, t) that it has at t."""
    return x + (s - t) * u


def heun_step(u_theta, x, t, s, u):
    """x at time s, with the mean of the velocities here and where Euler would end."""
    return x + (s - t) / 2 * (u + u_theta(euler_step(u_theta, x, t, s, u), s))


SAMPLERS = {"euler": euler_step, "heun": heun_step}
EVALUATIONS = {"euler": 1, "heun": 2}  # of the network, in a step
STEPS = 50


@torch.no_grad()
def sample(path, u_theta, x, sampler="heun", steps=None, clip=None, generator=None):
    """Walk from noise x, like data, to data; yields (t, x_t, x_0) on the way.

    x_0 is what the network takes x_t for. The last item is (0, x, x): the sample.

    sampler: "euler" or "heun", or a function like `euler_step`. steps: STEPS unless
    given, of equal length. clip: data lie in [-clip, clip], so predicted x_0, and the
    sample, are held there. generator: not used, nothing is random. Raises ValueError
    for a sampler or a number of steps that there is not.
    """
    step = SAMPLERS.get(sampler, sampler)
    if not callable(step):
        raise ValueError(f"No sampler {sampler!r}. Known: {', '.join(SAMPLERS)}.")
    steps = STEPS if steps is None else steps
    if steps < 1:
        raise ValueError(f"{steps} sampling steps: a flow allows 1 and more")
    clip = math.inf if clip is None else clip

    def field(x, t):
        return u_theta(x, torch.full((len(x),), t, device=x.device))

    for t, s in itertools.pairwise(i / steps for i in range(steps, -1, -1)):
        u = field(x, t)
        at = torch.full((len(x),), t, device=x.device)
        x_0 = coordinates(path, x, at, velocity=u)["x_0"]
        yield t, x, x_0.clamp(-clip, clip)
        x = step(field, x, t, s, u)
    x = x.clamp(-clip, clip)
    yield 0.0, x, x


# --- Reflow: make trajectories straight -------------------------------------


def couple(path, u_theta, eps, steps=20):
    """x_0 like eps: where the flow leads from there. Liu et al. (2023), section 2.

    Lines between these pairs of x_0 and eps hardly meet at one time. A network that is
    trained further on them learns a flow that is straighter.
    """
    *_, (_, x_0, _) = sample(path, u_theta, eps, "heun", steps)
    return x_0


def bend(states):
    """How far `sample`'s states, of equal steps, are from going straight at one speed.

    The mean squared deviation of a point's velocity from its mean along its trajectory,
    over all points and coordinates: 0 if straight, and then one step is enough. Eq. 5
    of Liu et al. (2023).
    """
    x = torch.stack([x for _, x, _ in states])  # (steps + 1, B, ...)
    velocities = x.diff(dim=0) * (len(x) - 1)
    return (velocities - (x[-1] - x[0])).square().mean().item()
