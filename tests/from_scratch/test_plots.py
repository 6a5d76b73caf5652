"""Points at their times and in their colours; tables of pictures."""

import numpy as np
import pytest
import torch

from from_scratch.datasets import draw
from from_scratch.noise_schedule import NoiseSchedule, linear_beta
from from_scratch.pages import plots


def test_panels_are_shown_where_the_signal_is_what_they_say():
    schedule = NoiseSchedule(linear_beta(1000))
    times = plots.timesteps_of(schedule)
    assert times[0] == -1
    assert times[-1] == 999
    shown = [schedule.alpha_bar_at(t) for t in times]
    assert shown == pytest.approx([1, 0.9, 0.5, 0.1, 0], abs=0.003)


def test_colours_say_where_points_belong():
    x_0, part = draw("moons", 1000, 0)
    assert torch.equal(plots.nearest_part(x_0 + 1e-4, x_0, part), part)
    x_T = torch.tensor([[0.5, 0.0], [-2.0, 1.0], [3.0, -1.0]])
    brightness = plots.origin_colours(x_T)[:, :3].mean(axis=1)
    assert brightness.argsort().tolist() == [1, 0, 2]


def test_greys_are_drawn_as_ink_and_colours_as_they_are():
    grey = torch.tensor([-3.0, -1.0, 0.0, 1.0]).view(1, 2, 2)
    assert plots.to_colours(grey)[..., 0].tolist() == [[1, 1], [0.5, 0]]
    colour = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1)
    assert plots.to_colours(colour).tolist() == [[[0, 0.5, 1]]]


@pytest.mark.parametrize("labels", [["", ""], ["a", "long\nname"]])
def test_a_table_shows_each_picture_at_its_place(labels):
    shades = torch.tensor([[-1.0, -0.6, -0.2], [0.2, 0.6, 1.0]])
    rows = shades.view(2, 3, 1, 1, 1).expand(2, 3, 1, 8, 8)
    image = plots.to_image(plots.draw_pictures(rows, labels, ["x"] * 3)).convert("L")
    assert image.width == 1120
    values = np.asarray(image)
    low = values[len(values) // 2 :]  # where there are no titles
    rule = np.isclose(low, 255 * plots.RULE, atol=2).all(axis=0)
    # The gap at the right is an eighth of a picture; both together make nine of it.
    side = 9 * np.flatnonzero(~rule[::-1])[0]
    for i, row in enumerate(shades.tolist()):
        for j, shade in enumerate(row):
            x, y = 1120 - (2.5 - j + 0.06) * side, len(values) - (1.5 - i + 0.06) * side
            assert values[int(y), int(x)] == pytest.approx(255 * (1 - shade) / 2, abs=3)
