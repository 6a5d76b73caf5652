"""Two exercises on flows, solved.

    python -m from_scratch.pages.solution_flow

What the network answers at both ends of time; and a step of second order that asks it
once. Trains a flow first, which is all but a few seconds of the time.
"""

import torch

from from_scratch import command_line
from from_scratch.datasets import draw
from from_scratch.flow import EVALUATIONS, STRAIGHT, sample
from from_scratch.training import fit

EPOCHS = 30  # less than half of the default training: enough to compare
ASKED = (4, 8, 16, 32, 64)  # evaluations of the network
FINE = 200  # Heun's steps to where a trajectory really ends


def adams_bashforth():
    """A step for `sample` with a memory of its own: the last velocity helps.

    x + (s - t) (3 u - u_before) / 2: the velocity of the step's middle, foreseen from
    this one and the one before (Adams-Bashforth of order 2, for steps of equal length).
    """
    before = None

    def step(u_theta, x, t, s, u):
        nonlocal before
        if t == 1:
            before = None  # a walk begins
        middle = u if before is None else (3 * u - before) / 2
        before = u
        return x + (s - t) * middle

    return step


@torch.no_grad()
def at_both_ends(u_theta, dataset="moons"):
    """How far u_theta is from -x_0 at t = 0, and from eps less the mean at t = 1.

    Root mean squares; the data's mean is 0.
    """
    x_0, _ = draw(dataset, 2000, seed=1)
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    off = {
        "t = 0": u_theta(x_0, torch.zeros(2000)) + x_0,
        "t = 1": u_theta(eps, torch.ones(2000)) - eps,
    }
    return {name: x.square().mean().sqrt().item() for name, x in off.items()}


def ladder(u_theta):
    """{sampler: {evaluations: how far points end from where they should}}."""
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    *_, (_, end, _) = sample(STRAIGHT, u_theta, x, "heun", FINE)
    rows = {}
    for name, cost in (*EVALUATIONS.items(), ("adams_bashforth", 1)):
        rows[name] = {}
        for asked in ASKED:
            step = adams_bashforth() if name == "adams_bashforth" else name
            *_, (_, found, _) = sample(STRAIGHT, u_theta, x, step, asked // cost)
            rows[name][asked] = (found - end).norm(dim=1).mean().item()
    return rows


def solve(u_theta):
    """Prints both exercises' numbers; returns them."""
    ends, rows = at_both_ends(u_theta), ladder(u_theta)
    for name, off in ends.items():
        print(f"{name}: off by {off:.3f}")
    for name, row in rows.items():
        cells = ", ".join(f"{off:.3f} in {asked}" for asked, off in row.items())
        print(f"{name}: off by {cells} evaluations")
    return ends, rows


def main(argv=None):
    parser = command_line.parser("from_scratch.pages.solution_flow", __doc__)
    parser.add_argument("--epochs", type=command_line.EPOCHS, default=EPOCHS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    u_theta, _, _ = fit("moons", STRAIGHT, epochs=args.epochs)
    return solve(u_theta)


if __name__ == "__main__":
    command_line.run(main)
