"""The samplers against the library's; seeds, batches, steps."""

from itertools import pairwise

import pytest
import torch
from conftest import TINY, lit
from denoising_diffusion_pytorch import GaussianDiffusion

from ddpm.files import UserError
from ddpm.network import build
from ddpm.sampling import (
    SAMPLERS,
    denoise,
    draw_noise,
    predictor,
    sample,
    timestep_pairs,
)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_v"])
@pytest.mark.parametrize("steps", [1, 7, 30, 49, 50])
def test_ddim_equals_the_library(objective, steps):
    config = TINY | {"timesteps": 50, "objective": objective, "image_size": 16}
    ours = lit(build(config))
    library = GaussianDiffusion(
        ours.model,
        image_size=16,
        timesteps=50,
        sampling_timesteps=steps,
        objective=objective,
        beta_schedule="linear",
    )
    torch.manual_seed(5)  # the library draws its starting noise itself
    expected = library.ddim_sample((3, 3, 16, 16))
    torch.manual_seed(5)
    noise = torch.randn(3, 3, 16, 16)
    assert expected.std() > 0.05
    torch.testing.assert_close(denoise(ours, noise, steps), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("timesteps", [30, 200])
def test_ddpm_equals_the_librarys_ancestral_chain(timesteps):
    config = TINY | {"timesteps": timesteps, "image_size": 16}
    diffusion = lit(build(config))
    torch.manual_seed(9)
    expected = diffusion.p_sample_loop((1, 3, 16, 16))
    out = denoise(diffusion, draw_noise([9], 16), timesteps, "ddpm", seeds=[9])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 20, 50, 250, 1000])
def test_a_walk_has_as_many_steps_as_asked_for(tiny, steps):
    pairs = timestep_pairs(tiny.num_timesteps, steps)
    assert len(pairs) == steps
    assert pairs[-1][1] == -1 and pairs[0][0] == 999
    assert all(t > t_next for t, t_next in pairs)
    assert all(a[1] == b[0] for a, b in pairwise(pairs))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_names_a_picture_whatever_its_batch(tiny, sampler):
    seeds, steps = list(range(42, 58)), 10
    noise = draw_noise(seeds, 16)
    whole = denoise(lit(tiny), noise, steps, sampler, seeds)
    fives = denoise(tiny, noise, steps, sampler, seeds, batch_size=5)
    alone = denoise(tiny, draw_noise([42], 16), steps, sampler, [42])
    assert whole[0].std() > 0.05 and (whole[0] - whole[1]).abs().max() > 0.05
    torch.testing.assert_close(fives, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(alone[0], whole[0], atol=1e-4, rtol=0)


def test_noise_depends_on_its_own_seed_alone():
    noise = draw_noise([3, 42, 5])
    assert noise.shape == (3, 3, 64, 64)
    assert torch.equal(noise[1], draw_noise([42])[0])
    assert abs(noise.std() - 1) < 0.02 and abs(noise.mean()) < 0.02


def test_a_walk_hands_out_every_state(tiny):
    noise = draw_noise([1, 2, 3], 16)
    images = denoise(lit(tiny), noise, 5, batch_size=2)
    for batch in (slice(0, 2), slice(2, 3)):
        walk = sample(predictor(tiny), noise[batch], tiny.alphas_cumprod, 5)
        states = list(walk)
        assert [t for t, *_ in states] == [999, 799, 599, 399, 199, -1]
        assert torch.equal(states[0][1], noise[batch])
        (*_, last_x_0), (_, end, _) = states[-2:]
        torch.testing.assert_close((last_x_0 + 1) / 2, images[batch])
        torch.testing.assert_close((end + 1) / 2, images[batch])


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_step_counts_are_refused(tiny, steps):
    with pytest.raises(UserError, match=f"{steps} steps asked for"):
        denoise(tiny, draw_noise([1], 16), steps)


def test_without_a_label_no_family_is_asked_for(torus):
    noise = draw_noise([1, 2])
    label = torus.model.one_hot([None, None])
    torch.testing.assert_close(
        denoise(torus, noise, 3), denoise(torus, noise, 3, label=label)
    )
    asked = denoise(torus, noise, 3, label=torus.model.one_hot(["adire", "kuba"]))
    alone = denoise(torus, noise[1:], 3, label=torus.model.one_hot(["kuba"]))
    torch.testing.assert_close(asked[1:], alone)  # whatever the batch
    assert (asked - denoise(torus, noise, 3)).abs().mean() > 1e-3
