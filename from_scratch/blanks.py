"""What the notebooks leave blank for students: is it right, or what does it do?

Each function takes a student's own of the same name, says in a sentence what it finds,
and returns what the notebook goes on with: theirs if it is right, until then ours. So a
notebook runs to its end, whatever is still open.
"""

import torch

from from_scratch import diffusion, flow
from from_scratch.noise_schedule import NoiseSchedule, linear_beta

SCHEDULE = NoiseSchedule(linear_beta(1000))


def better(name, theirs, ours, use, arguments, mistakes):
    """theirs, if it does what ours does with these tensors, and ours if not.

    use: calls a function with the tensors and whatever else it takes. mistakes: [(what
    a mistake would give, what to say of it)].
    """
    if theirs.__module__.startswith("from_scratch"):  # returned by a check before
        print(f"{name} is still ours: first run the cell above with your line in it.")
        return theirs
    right = use(ours, *arguments)
    problem = problem_of(lambda *a: use(theirs, *a), right, arguments, mistakes)
    print(f"{name} {problem or 'is right.'}")
    return ours if problem else theirs


def problem_of(function, right, arguments, mistakes):
    """What is wrong with what a function gives, in a sentence; "" if nothing is."""
    given = [argument.clone() for argument in arguments]
    try:
        found = function(*given)
    except Exception as error:  # whatever a student may write
        return f"stops with {type(error).__name__}: {error}."
    if found is ...:
        return "is still open: put your code in place of the dots."
    if not isinstance(found, torch.Tensor):
        return f"gives a {type(found).__name__}; it should give a tensor."
    if found.shape != right.shape:
        return f"gives shape {tuple(found.shape)}; it should be {tuple(right.shape)}."
    if not all(map(torch.equal, arguments, given)):
        return "changes what it is handed: make a new tensor, without += or mul_."
    if torch.allclose(found.to(right), right, atol=1e-4):
        return ""
    for wrong, text in mistakes:
        if torch.allclose(found.to(right), wrong.to(right), atol=1e-4):
            return text
    return f"is off by {(found - right).abs().float().mean():.2g} on average."


def in_schedule(function, *given):
    return function(SCHEDULE, *given)


def noises(count, *shape):
    """`count` tensors of standard normal noise, the same ones at each call."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


# --- Part 1: toy2d.ipynb ----------------------------------------------------


def q_step(theirs):
    x, eps = noises(2, 5, 2)
    t = torch.tensor(300)
    b, a = SCHEDULE.beta[t], SCHEDULE.alpha_bar[t]
    mistakes = [
        ((1 - b) * x + b * eps, "takes no square root: each weight is one."),
        (x + b.sqrt() * eps, "leaves x as strong as it was: it has a weight, too."),
        ((1 - b).sqrt() * x + eps, "adds eps in full: it has a weight, too."),
        ((1 - b).sqrt() * x, "leaves the noise out: add eps, with its weight."),
        (b.sqrt() * x + (1 - b).sqrt() * eps, "has the two weights swapped."),
        (a.sqrt() * x + (1 - a).sqrt() * eps, "goes all the way: it is one step."),
    ]
    return better(
        "q_step", theirs, diffusion.q_step, in_schedule, (x, t, eps), mistakes
    )


def q_sample(theirs):
    x_0, eps = noises(2, 3, 2)
    t = torch.tensor([20, 300, 900])
    a = SCHEDULE.alpha_bar[t][:, None]
    root, rest = a.sqrt(), (1 - a).sqrt()
    mistakes = [
        (a * x_0 + (1 - a) * eps, "takes no square root: each weight is one."),
        (root * x_0 + (1 - root) * eps, "subtracts after the root: subtract first."),
        (rest * x_0 + root * eps, "has the two weights swapped: see t = 20."),
        (root * x_0, "leaves the noise out: add eps, with its weight."),
        (root * x_0 - rest * eps, "takes the noise away: add it."),
        (x_0 + rest * eps, "leaves x_0 as strong as it was: it has a weight, too."),
    ]
    return better(
        "q_sample", theirs, diffusion.q_sample, in_schedule, (x_0, t, eps), mistakes
    )


def loss(theirs):
    x_0, eps, guess = noises(3, 4, 2)
    t = torch.tensor([20, 300, 600, 900])
    x_t = diffusion.q_sample(SCHEDULE, x_0, t, eps)
    error = eps - guess
    mistakes = [
        (error.mean(1), "takes no square: errors up and down cancel."),
        (error.abs().mean(1), "takes the size of the error: take its square."),
        (error.square().sum(1), "adds up the coordinates: take their mean."),
        (error.square().mean(1).sqrt(), "takes a root at the end: leave it out."),
        ((x_0 - guess).square().mean(1), "compares with x_0: the guess is of eps."),
        ((x_t - guess).square().mean(1), "compares with x_t: the guess is of eps."),
    ]

    def use(f, *a):
        return f(SCHEDULE, lambda x_t, t: guess, *a)

    return better("loss", theirs, diffusion.loss, use, (x_0, t, eps), mistakes)


def predict_x_0(theirs):
    x_t, eps = noises(2, 5, 2)
    t = torch.tensor(300)
    a = SCHEDULE.alpha_bar[t]
    root, rest = a.sqrt(), (1 - a).sqrt()
    mistakes = [
        ((x_t + rest * eps) / root, "adds the noise once more: take it away."),
        (x_t - rest * eps, "leaves x_0 as weak as it is in x_t: divide by its weight."),
        (x_t - rest * eps / root, "divides the noise alone: put brackets."),
        ((x_t - (1 - a) * eps) / a, "takes no square root: each weight is one."),
        ((x_t - rest * eps) / a, "divides by alpha_bar: take its square root."),
        ((x_t - eps) / root, "takes eps away in full: it has a weight, too."),
        (x_t / root, "leaves the noise in: take it away first."),
    ]

    def use(f, x_t, eps):
        return f(SCHEDULE, x_t, int(t), eps)

    return better(
        "predict_x_0", theirs, diffusion.predict_x_0, use, (x_t, eps), mistakes
    )


def ddim_step(theirs):
    x_0, eps = noises(2, 5, 2)
    a_t, a_s = SCHEDULE.alpha_bar[500], SCHEDULE.alpha_bar[300]
    x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
    root, rest = a_s.sqrt(), (1 - a_s).sqrt()
    mistakes = [
        (x_t, "stays at t: take alpha_bar of s."),
        (a_t.sqrt() * x_0 + rest * eps, "weighs x_0 as at t: take alpha_bar of s."),
        (root * x_0 + (1 - a_t).sqrt() * eps, "weighs eps as at t: take that of s."),
        (a_s * x_0 + (1 - a_s) * eps, "takes no square root: each weight is one."),
        (rest * x_0 + root * eps, "has the two weights swapped."),
        (root * x_0, "leaves the noise out: at s there is still some."),
        (root * x_0 - rest * eps, "takes the noise away: add what is left of it."),
        (x_0, "gives x_0: that is no step, but the estimate in one go."),
    ]

    def use(f, x_0, x_t):
        return f(SCHEDULE, x_0, x_t, 500, 300, None)

    return better("ddim_step", theirs, diffusion.ddim_step, use, (x_0, x_t), mistakes)


# --- Part 2: images.ipynb; guidance in both ---------------------------------


def guided(theirs):
    x, free, asked = noises(3, 2, 2)
    t, y = torch.tensor([20, 300]), torch.tensor([0, 1])
    mistakes = [
        (asked + 3 * (asked - free), "goes too far: begin at the unconditional one."),
        (free + 3 * (free - asked), "goes away from the label: turn the difference."),
        (free + 3 * asked, "adds all of the conditional one: add a difference."),
        (3 * (asked - free), "gives the difference alone: begin somewhere."),
        (free + asked - free, "forgets the weight."),
        (free + (asked - free) / 3, "divides by the weight: multiply."),
    ]

    def eps_theta(x_t, t, y=None):
        return free if y is None else asked

    def use(f, x, t):
        return f(eps_theta, y, 3.0)(x, t)

    return better("guided", theirs, diffusion.guided, use, (x, t), mistakes)


def some_labels(theirs):
    def ours(y, dropped):
        return torch.where(dropped, -1, y)

    y = torch.tensor([3, 0, 8, 1])
    dropped = torch.tensor([False, True, True, False])
    mistakes = [
        (ours(y, ~dropped), "drops those to be kept, and keeps the others."),
        (torch.where(dropped, 0, y), "makes them zeros: -1 stands for any digit."),
        (y, "drops none."),
        (torch.full_like(y, -1), "drops all: only those where `dropped` is true."),
    ]

    def use(f, y, dropped):
        return f(y, dropped)

    return better("some_labels", theirs, ours, use, (y, dropped), mistakes)


def ema(theirs):
    def ours(slow, fast, decay):
        return decay * slow + (1 - decay) * fast

    slow, fast = noises(2, 5)
    mistakes = [
        (ours(slow, fast, 0.1), "has the two weights swapped: it follows too fast."),
        (0.9 * slow + fast, "grows and grows: the two weights should add up to 1."),
        (0.9 * slow, "forgets the new weights."),
        ((slow + fast) / 2, "takes the mean of the two: decay says how much of each."),
    ]

    def use(f, *a):
        return f(*a, 0.9)

    return better("ema", theirs, ours, use, (slow, fast), mistakes)


def classifier_guided(theirs):
    x, free = noises(2, 2, 1, 2, 2)
    t, y = torch.tensor([20, 300]), torch.tensor([0, 3])
    # Whose logits are the pixels has this gradient of log p(y | x).
    push = torch.eye(4)[y].view_as(x) - x.flatten(1).softmax(1).view_as(x)
    rest = (1 - SCHEDULE.alpha_bar[t]).sqrt().view(-1, 1, 1, 1)
    mistakes = [
        (free + 3 * rest * push, "pushes away from y: eps is what gets taken away."),
        (free - 3 * push, "forgets the root of 1 - alpha_bar: `noise`."),
        (free - rest * push, "forgets the weight."),
        (-3 * rest * push, "gives the push alone: begin at eps_theta(x_t, t)."),
        (free, "does not push."),
    ]

    def use(f, x, t):
        def classifier(x_t, t):
            return x_t.flatten(1)

        return f(SCHEDULE, lambda x_t, t: free, classifier, y, 3.0)(x, t)

    name, ours = "classifier_guided", diffusion.classifier_guided
    return better(name, theirs, ours, use, (x, t), mistakes)


# --- Part 3: flow.ipynb -----------------------------------------------------


def as_given(function, *given):
    return function(*given)


def mix(theirs):
    def ours(x_0, t, eps):
        return flow.q_sample(flow.STRAIGHT, x_0, t, eps)

    x_0, eps = noises(2, 3, 2)
    t = torch.tensor([0.1, 0.4, 0.8])
    share = t[:, None]
    mistakes = [
        (share * x_0 + (1 - share) * eps, "has time turned round: t = 0 is the data."),
        (
            (1 - share).sqrt() * x_0 + share.sqrt() * eps,
            "takes roots: a line has none.",
        ),
        (x_0 + share * eps, "leaves x_0 as strong as it was: it has a weight, too."),
        ((1 - share) * x_0 + eps, "adds eps in full: it has a weight, too."),
    ]
    return better("mix", theirs, ours, as_given, (x_0, t, eps), mistakes)


def flow_loss(theirs):
    def ours(u_theta, x_0, t, eps):
        return flow.loss(flow.STRAIGHT, u_theta, x_0, t, eps)

    x_0, eps, guess = noises(3, 4, 2)
    t = torch.tensor([0.1, 0.3, 0.6, 0.9])
    error = eps - x_0 - guess
    mistakes = [
        ((eps - guess).square().mean(1), "compares with eps: the guess is a velocity."),
        ((x_0 - eps - guess).square().mean(1), "has its sign turned: eps less x_0."),
        ((eps + x_0 - guess).square().mean(1), "adds x_0: eps less x_0."),
        (error.mean(1), "takes no square: errors up and down cancel."),
        (error.square().sum(1), "adds up the coordinates: take their mean."),
    ]

    def use(f, *a):
        return f(lambda x_t, t: guess, *a)

    return better("flow_loss", theirs, ours, use, (x_0, t, eps), mistakes)


def step_problem(name, theirs, ours, mistakes):
    """A step from t = 0.8 to 0.5, where the velocity is x t, so u = 0.8 x before it."""

    def use(f, x, u):
        return f(lambda x, t: x * t, x, 0.8, 0.5, u)

    (x,) = noises(1, 5, 2)
    return better(name, theirs, ours, use, (x, 0.8 * x), mistakes(x))


def euler_step(theirs):
    def mistakes(x):
        return [
            (x + 0.3 * 0.8 * x, "goes the wrong way: s - t is less than 0."),
            (x + 0.8 * x, "goes for a time of 1: for s - t only."),
            (x + 0.5 * 0.8 * x, "goes for a time of s: for s - t only."),
            (-0.3 * 0.8 * x, "gives the way alone: begin at x."),
        ]

    return step_problem("euler_step", theirs, flow.euler_step, mistakes)


def heun_step(theirs):
    def mistakes(x):
        ahead = 0.5 * (x - 0.3 * 0.8 * x)
        return [
            (x - 0.3 * 0.8 * x, "is Euler's: take the mean of u and ahead."),
            (x - 0.3 * ahead, "goes with the velocity ahead: take the mean of both."),
            (x - 0.3 * (0.8 * x + ahead), "goes with the sum of both: take the mean."),
            (x + 0.15 * (0.8 * x + ahead), "goes the wrong way: s - t is less than 0."),
        ]

    return step_problem("heun_step", theirs, flow.heun_step, mistakes)


def velocity_of(theirs):
    def ours(x_t, t, eps):
        return flow.coordinates(flow.STRAIGHT, x_t, t, eps=eps)["velocity"]

    x_t, eps = noises(2, 3, 2)
    t = torch.tensor([0.1, 0.4, 0.8])
    x_0 = (x_t - t[:, None] * eps) / (1 - t[:, None])
    mistakes = [
        (x_0, "gives x_0: eps less that is the velocity."),
        (x_0 - eps, "has its sign turned: eps less x_0."),
        (eps - x_t, "takes x_t for x_0: divide by 1 - t."),
        ((eps - x_t) / t[:, None], "divides by t: divide by 1 - t."),
    ]
    return better("velocity_of", theirs, ours, as_given, (x_t, t, eps), mistakes)
