"""The network: the library's, on patches, on the torus, with families."""

import pytest
import torch
from conftest import TINY, TORUS
from denoising_diffusion_pytorch import Unet

from ddpm.files import UserError
from ddpm.network import (
    LESSON_CONFIG,
    FabricUnet,
    PlacedConv2d,
    TorusConv2d,
    build,
    renamed,
)


def test_patch_one_is_the_librarys_unet():
    ours, theirs = FabricUnet(8, (1, 2), (False, True)), Unet(8, dim_mults=(1, 2))
    theirs.load_state_dict(ours.state_dict())
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 900])
    torch.testing.assert_close(ours(x, t), theirs(x, t))


def test_patches_are_cut_and_put_back_in_place():
    unet = FabricUnet(8, (1, 2), (False, True), patch=4)
    rearranged = []
    unet.init_conv.register_forward_pre_hook(lambda _, args: rearranged.append(*args))
    x = torch.randn(2, 3, 16, 16)
    assert unet(x, torch.tensor([3, 900])).shape == x.shape
    torch.testing.assert_close(
        rearranged[0][0, :16, 1, 2], x[0, 0, 4:8, 8:12].flatten()
    )


def test_lesson_model_has_the_parameters_the_lesson_names():
    assert sum(p.numel() for p in build(LESSON_CONFIG).parameters()) == 35_711_491


def test_on_the_torus_to_move_and_to_denoise_commute(torus):
    """By whole cells of the coarsest grid, for there it is cut into patches."""
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([50, 800])
    period = torus.model.patch * torus.model.downsample_factor
    shift = {"shifts": (3 * period, period), "dims": (2, 3)}
    with torch.inference_mode():
        moved = torus.model(x.roll(**shift), t)
        torch.testing.assert_close(moved, torus.model(x, t).roll(**shift))
        zeros = build(TINY).eval().model
        assert (
            zeros(x.roll(**shift), t) - zeros(x, t).roll(**shift)
        ).abs().max() > 1e-3


def test_circular_padding_is_that_of_torch(torus):
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([50, 800])
    with torch.inference_mode():
        ours = torus.model(x, t)
        for layer in torus.model.modules():
            if isinstance(layer, TorusConv2d):
                layer.__class__ = torch.nn.Conv2d
                layer.padding_mode = "circular"
        torch.testing.assert_close(ours, torus.model(x, t))


def test_places_are_learnt_and_repeat_on_a_larger_cloth():
    torch.manual_seed(0)
    config = TINY | {"padding": "circular", "repeat": 64}
    with torch.inference_mode():
        network, t = build(config).eval().model, torch.tensor([50])
        first = network.init_conv
        assert isinstance(first, PlacedConv2d) and not first.place.any()
        first.place.normal_()
        x = torch.randn(1, 3, 64, 64)
        moved = network(x.roll(32, 3), t).roll(-32, 3)
        assert (moved - network(x, t)).abs().max() > 1e-3  # a place is not another
        patches = torch.randn(1, 12, 32, 64)  # of a cloth twice as wide
        added = first(patches) - TorusConv2d.forward(first, patches)
        torch.testing.assert_close(added, torch.cat([first.place] * 2, dim=3))


def test_a_family_is_a_row_added_to_the_embedding_of_t(torus):
    network, t = torus.model, torch.tensor([10, 400, 900])
    label = network.one_hot(["adire", None, "kuba"])
    assert label.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    *layers, rows = network.time_mlp
    expected = torch.nn.Sequential(*layers)(t) + rows.weight.T[[1, 3, 2]]
    torch.testing.assert_close(network.time_mlp((t, label)), expected)


def test_a_family_that_the_model_does_not_know_gets_the_list(torus):
    with pytest.raises(UserError, match=r"'tartan' \(kente, adire, kuba\)"):
        torus.model.one_hot(["tartan"])
    with pytest.raises(UserError, match="trained without names"):
        build(TINY).model.one_hot(["kente"])


def answers(diffusion, name):
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    label = None if name is None else diffusion.model.one_hot([name, name])
    return diffusion.model(x, torch.tensor([3, 900]), label)


@pytest.mark.parametrize("families", [(), ("curtains", "kuba"), ("kente",)])
def test_renamed_answers_as_before_where_names_are_the_same(families, torus):
    other = renamed(torus, TORUS, families)
    assert other.model.families == families
    torch.testing.assert_close(answers(other, None), answers(torus, None))
    for name in families:
        begun = name if name in TORUS["families"] else None
        torch.testing.assert_close(answers(other, name), answers(torus, begun))


def test_a_network_without_names_is_given_some(tiny):
    other = renamed(tiny, TINY, ("curtains",))
    for name in ("curtains", None):
        torch.testing.assert_close(answers(other, name), answers(tiny, None))
