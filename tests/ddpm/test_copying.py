"""What tells copies: pictures whose answer is known beforehand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from ddpm import copying, textiles
from ddpm.copying import COPIES, Album, aligned, contrasts, pixels

CLOTHS = torch.from_numpy(np.stack([textiles.pattern(seed) for seed in range(64)]))
CLOTHS = CLOTHS.permute(0, 3, 1, 2)
TRAIN, HELD_OUT, NEW = CLOTHS[:40], CLOTHS[40:48], CLOTHS[48:] / 255


@pytest.fixture(scope="module")
def album():
    return Album(TRAIN, HELD_OUT, ("mirror",), 64)


def blurred(images):
    return F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")


def test_pictures_held_out_have_the_number_one(album):
    assert album.number(HELD_OUT / 255) == pytest.approx(1)


CHANGES = {
    "as they are": lambda x: x,
    "paler": lambda x: 0.6 * x + 0.2,
    "blurred": blurred,
    "noisy": lambda x: x + 0.05 * torch.randn(x.shape),
}


@pytest.mark.parametrize("change", CHANGES)
def test_new_cloth_is_new_and_copies_are_copies_whatever_befell_both(change, album):
    torch.manual_seed(0)
    new, copies = CHANGES[change](NEW), CHANGES[change](TRAIN[:16].flip(-1) / 255)
    assert album.number(copies) < COPIES < 0.75 < album.number(new)


def test_what_is_turned_or_cropped_is_found_if_the_network_saw_it_so():
    copies = TRAIN[:16].rot90(1, (2, 3))[..., 4:52, 8:56] / 255
    asked = Album(TRAIN, HELD_OUT, ("turn", "crop"), 48)
    assert asked.number(copies) < 0.01
    assert Album(TRAIN, HELD_OUT, ("crop",), 48).number(copies) > COPIES


@pytest.mark.parametrize("look", [pixels, contrasts])
def test_the_nearest_is_the_one_of_the_highest_correlation(look, album):
    """By NumPy, whose correlation knows nothing of distances."""
    distance, index = album.nearest(NEW, look)
    pages = torch.cat([TRAIN, TRAIN.flip(-1)]) / 255
    table = np.corrcoef(look(NEW).numpy(), look(pages).numpy())[: len(NEW), len(NEW) :]
    assert (index.numpy() == table.argmax(axis=1)).all()
    expected = np.sqrt(2 - 2 * table.max(axis=1))
    np.testing.assert_allclose(distance, expected, atol=1e-3)
    for k in index:
        assert torch.equal(album.page(k), pages[k])


def test_rows_are_aligned():
    rows = aligned(torch.rand(5, 30) * 7 + 2)
    np.testing.assert_allclose(rows.mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(rows.norm(dim=1), 1, atol=1e-6)


def test_contrasts_are_those_of_scipys_filter():
    """By another library, with the same reach beyond the border."""
    x = TRAIN[:4].float() / 255
    small = x.reshape(4, 3, 16, 4, 16, 4).mean(dim=(3, 5)).numpy()
    around = ndimage.uniform_filter(small, (0, 0, 5, 5), mode="nearest")
    expected = torch.from_numpy(small - around).flatten(1)
    torch.testing.assert_close(contrasts(x), expected, atol=1e-5, rtol=0)


def test_one_colour_is_no_division_by_zero():
    flat = torch.full((4, 3, 16, 16), 90, dtype=torch.uint8)
    album = Album(flat, flat[:1], ("mirror",), 16)
    assert album.number(flat / 255) == 0


def test_picture_has_a_column_a_sample(album, tmp_path):
    album.draw(NEW, tmp_path / copying.PICTURE)
    width, height = Image.open(tmp_path / copying.PICTURE).size
    assert width / height == pytest.approx(
        (1.25 * 8 + 0.7) / (1.25 * 3 + 0.6), rel=0.02
    )


def test_sentences():
    new = copying.sentence([(50, 60.0, 1.02), (90, 120.0, 0.97)])
    assert new.startswith("These are new") and "0.97 times" in new
    copies = copying.sentence([(50, 60.0, 1.02), (90, 120.0, 0.31)])
    assert copies.startswith("These are copies") and "at step 90" in copies
    assert "Stop earlier or add pictures" in copies and "step 50 are kept" in copies
    assert "kept" not in copying.sentence([(50, 60.0, 0.2)])
