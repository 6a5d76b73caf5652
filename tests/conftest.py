import pytest
import torch
from accelerate.state import AcceleratorState

from ddpm.network import LESSON_CONFIG, build

torch.set_num_threads(1)  # tiny networks only lose by sharing their work

TINY = LESSON_CONFIG | {
    "dim": 8,
    "dim_mults": (1, 2),
    "full_attn": (False, True),
    "patch": 2,
    "objective": "pred_v",
}

TORUS = TINY | {"padding": "circular", "families": ("kente", "adire", "kuba")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Scripts must work from any folder, and tests must not write into the clone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def own_accelerator(monkeypatch):
    """Accelerate keeps its settings for the process: each test begins without."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def tiny():
    """An untrained diffusion model, small enough for a thousand steps a second."""
    torch.manual_seed(0)
    return build(TINY).eval()


@pytest.fixture
def tiny_file(tiny, tmp_path):
    """A checkpoint of `tiny` as training writes it."""
    path = tmp_path / "tiny.pt"
    ema = {f"ema_model.{k}": v for k, v in tiny.state_dict().items()}
    torch.save({"step": 7, "ema": ema, "config": TINY}, path)
    return path


def lit(diffusion):
    """`diffusion` with random weights in its last layer, so that it draws something."""
    torch.manual_seed(1)
    torch.nn.init.normal_(diffusion.model.final_conv.weight, std=0.3)
    return diffusion


@pytest.fixture
def torus():
    torch.manual_seed(0)
    diffusion = build(TORUS)
    torch.nn.init.normal_(diffusion.model.time_mlp.rows.weight)
    return diffusion.eval()


@pytest.fixture
def teacher(torus):
    """What a student is to learn from: it draws something, and knows families."""
    return lit(torus)


@pytest.fixture
def images():
    """Noise to train on where it does not matter what is learnt, (24, 3, 64, 64)."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (24, 3, 64, 64), dtype=torch.uint8, generator=rng)
