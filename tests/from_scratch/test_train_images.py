"""A run on pictures: downloads, training, resuming, the command line, what it writes."""

import ast
import gzip
import hashlib
import math
import pickle
import re
import struct
import tarfile
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.svm import SVC

from from_scratch import flow, image_model, train_images
from from_scratch.classifier import accuracy, train_classifier
from from_scratch.datasets import PICTURES, pictures
from from_scratch.image_model import (
    Settings,
    config_of,
    generate,
    load,
    new,
    noise,
    save,
    train,
)
from from_scratch.pages import run_pictures
from from_scratch.unet import Classifier

TINY = Settings((16, 16), 1, 1, 2e-3, 0.99)
SHOWN = {
    "training_curve.png",
    "forward_process.png",
    "reverse_process.png",
    "noise_schedule.png",
    "samples.png",
}
QUICK = ["--samples", "10", "--sampling-steps", "2", "--timesteps", "20"]


@pytest.fixture
def tiny(monkeypatch):
    """Small networks, one epoch, and of the digits only a few."""
    for name in PICTURES:
        monkeypatch.setitem(image_model.SETTINGS, name, TINY)
    everything = pictures

    def few(name, train=True, **options):
        x_0, y = everything(name, train, **options)
        return x_0[:100], y[:100]

    monkeypatch.setattr(
        train_images, "pictures", lambda name, train, root: few(name, train, root=root)
    )


# --- Data that are downloaded ------------------------------------------------

# Files as the makers of the data sets distribute them, with a few pictures inside.


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(values):
    """The format of MNIST: two zeros, 8 for bytes, the number of axes, their lengths."""
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return head + values.astype(np.uint8).tobytes()


def drawn(count, *shape):
    """Pictures as bytes, with black, white and all between; their classes."""
    x = np.random.default_rng(0).integers(256, size=(count, *shape), dtype=np.uint8)
    x[0].flat[:2] = 0, 255
    return x, np.arange(count) % 10


def make_mnist(kind, root, monkeypatch):
    folder, resources = root / kind.__name__ / "raw", []
    folder.mkdir(parents=True)
    for name, _ in kind.resources:
        x, y = drawn(60 if name.startswith("train") else 20, 28, 28)
        path = folder / name
        path.write_bytes(gzip.compress(idx(x if "images" in name else y)))
        resources.append((name, md5(path)))
    monkeypatch.setattr(kind, "resources", resources)
    return drawn(60, 28, 28)[0][:, None]


def make_cifar10(kind, root, monkeypatch):
    folder = root / kind.base_folder
    folder.mkdir()
    checksums = {}
    for name, _ in [*kind.train_list, *kind.test_list]:
        x, y = drawn(20, 3, 32, 32)
        content = {"data": x.reshape(20, -1), "labels": y.tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
        checksums[name] = md5(folder / name)
    names = {"label_names": PICTURES["cifar10"]}
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps(names))
    for part in ("train_list", "test_list"):
        files = [[name, checksums[name]] for name, _ in getattr(kind, part)]
        monkeypatch.setattr(kind, part, files)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(meta)})
    with tarfile.open(root / kind.filename, "w:gz") as archive:
        archive.add(folder, folder.name)
    monkeypatch.setattr(kind, "tgz_md5", md5(root / kind.filename))
    for path in folder.iterdir():  # packed as it comes
        path.unlink()
    return np.concatenate([drawn(20, 3, 32, 32)[0]] * 5)


MAKERS = {
    "mnist": (torchvision.datasets.MNIST, make_mnist),
    "fashion_mnist": (torchvision.datasets.FashionMNIST, make_mnist),
    "cifar10": (torchvision.datasets.CIFAR10, make_cifar10),
}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize("name", MAKERS)
def test_data_sets_train_from_files_as_they_are_distributed(
    name, tiny, no_network, monkeypatch, tmp_path, capsys
):
    drawn_too = name == "cifar10"  # pictures in grey are drawn by other tests
    kind, make = MAKERS[name]
    root = tmp_path / "data"
    root.mkdir()
    expected = make(kind, root, monkeypatch)
    x_0, y = pictures(name, root=root)
    assert x_0.shape == expected.shape
    np.testing.assert_allclose((x_0 + 1) * 127.5, expected, atol=1e-4)
    assert (x_0.min(), x_0.max()) == (-1, 1)
    assert y.tolist() == [
        i % 10 for i in (range(60) if len(y) == 60 else [*range(20)] * 5)
    ]
    if not drawn_too:
        monkeypatch.setattr(
            train_images, "draw_pictures_run", lambda *_: ["no pictures"]
        )
    train_images.main(["--dataset", name, "--data", str(root), *QUICK])
    out = Path("outputs", name)
    written = {path.name for path in out.iterdir()} - {"model.pt"}
    assert written == (SHOWN | {"guidance_sweep.png"} if drawn_too else set())
    model = load(out / "model.pt")
    assert model.epochs == len(model.losses) == 1
    assert model.losses[0] < 3
    assert "read as asked" in capsys.readouterr().out


@pytest.mark.parametrize("name", MAKERS)
def test_a_failed_download_says_what_to_fetch_and_where_to_put_it(
    name, no_network, tmp_path
):
    kind = MAKERS[name][0]
    with pytest.raises(SystemExit) as caught:
        train_images.main(["--dataset", name, "--data", "data"])
    message = caught.value.code  # a text: exit code 1
    assert "\n" not in message
    assert "no network here" in message
    where = tmp_path / "data" / ("" if name == "cifar10" else f"{kind.__name__}/raw")
    assert f" {where}, packed as it comes" in message
    if name == "cifar10":
        files = [kind.url]
    else:
        files = [file for file, _ in kind.resources]
        assert f"from {kind.mirrors[0]} " in message
    assert all(file in message for file in files)
    assert not list(Path("outputs", name).iterdir())


def test_a_broken_file_is_not_trained_on(no_network, monkeypatch, tmp_path):
    kind = torchvision.datasets.MNIST
    make_mnist(kind, tmp_path, monkeypatch)
    pictures("mnist", root=tmp_path)  # unpacks them
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileNotFoundError, match=r"MNIST is not there or broken"):
        pictures("mnist", train=False, root=tmp_path)


# --- A trained model --------------------------------------------------------


@pytest.fixture(scope="module")
def quickly_trained():
    """A model and a guide, both smaller than those of the default run, and sooner done;
    and a reader of another kind, which knows real digits only."""
    torch.set_num_threads(1)
    x_0, y = pictures("digits")
    model = new(config_of("digits", x_0) | {"widths": (16, 32), "learning_rate": 4e-3})
    train(model, x_0, y, 6)
    guide = Classifier(model.schedule.T, widths=(16, 32))
    train_classifier(guide, x_0, y, model.schedule, epochs=5)
    return model, guide, SVC(gamma=0.05).fit(x_0.flatten(1), y)


def share_read_as_asked(quickly_trained, guidance, weight, count=100):
    model, guide, reader = quickly_trained
    y = torch.arange(count) % 10
    x_T = noise(count, torch.zeros(1, 1, 8, 8))
    guide = guide if guidance == "classifier" else None
    x = generate(model, x_T, y, weight, guide, "ddim", 10)
    return (reader.predict(x.flatten(1)) == y.numpy()).mean()


def test_a_conditional_model_draws_what_it_is_asked_for(quickly_trained):
    assert share_read_as_asked(quickly_trained, "free", 0) < 0.2
    assert share_read_as_asked(quickly_trained, "free", 4) > 0.4


def test_ddim_keeps_what_the_noise_says_and_ddpm_forgets_it(quickly_trained):
    """Ten classes from one noise: how alike are they, beside what their classes are?"""
    model, *_ = quickly_trained
    x_T = noise(20, torch.zeros(1, 1, 8, 8)).repeat(10, 1, 1, 1)
    y = torch.arange(10).repeat_interleave(20)
    alike = {}
    for sampler in ("ddim", "ddpm"):
        x = generate(model, x_T, y, sampler=sampler, steps=25).view(10, 20, 64)
        x = x - x.mean(dim=1, keepdim=True)  # what is left is how it is written
        alike[sampler] = x.mean(dim=0).square().mean() / x.square().mean()
    assert alike["ddim"] > 2 * alike["ddpm"]


def test_a_classifier_moves_samples_to_the_class_that_is_asked_for(quickly_trained):
    shares = [
        share_read_as_asked(quickly_trained, "classifier", weight)
        for weight in (0, 3, 10)
    ]
    assert shares[0] < 0.2
    assert shares[1] > shares[0] + 0.15
    assert shares[2] > shares[1] + 0.05


def test_a_judge_reads_digits_that_it_has_not_seen():
    x_0, y = pictures("digits")
    torch.manual_seed(0)
    judge = train_classifier(Classifier(10, widths=(16, 32)), x_0, y, epochs=6)
    assert accuracy(judge, *pictures("digits", train=False)) > 0.93


# --- Keeping and resuming ---------------------------------------------------


def weights(path):
    saved = torch.load(path, weights_only=True)
    return {
        f"{part} {k}": v for part in ("network", "ema") for k, v in saved[part].items()
    }


def test_a_resumed_training_ends_where_an_unbroken_one_does(tiny, monkeypatch):
    monkeypatch.setattr(train_images, "draw_pictures_run", lambda *_: ["nothing"])
    train_images.main([*QUICK, "--epochs", "2", "--out", "one"])
    train_images.main([*QUICK, "--epochs", "1", "--out", "two"])
    before = weights("two/model.pt")
    train_images.main([*QUICK, "--epochs", "2", "--out", "two", "--resume"])
    one, two = weights("one/model.pt"), weights("two/model.pt")
    assert not all(torch.equal(before[name], two[name]) for name in two)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert load("one/model.pt").losses == load("two/model.pt").losses

    train_images.main([*QUICK, "--epochs", "2", "--out", "two", "--resume"])
    assert all(torch.equal(one[name], v) for name, v in weights("two/model.pt").items())
    train_images.main([*QUICK, "--epochs", "1", "--out", "two"])  # a new one
    third = weights("two/model.pt")
    train_images.main([*QUICK, "--epochs", "1", "--out", "two"])  # nor is this lost
    for path, before in (("model_before.pt", one), ("model_before2.pt", third)):
        kept = weights(f"two/{path}")
        assert all(torch.equal(before[name], kept[name]) for name in before)


def test_an_interrupted_training_keeps_its_last_epoch(tiny, monkeypatch):
    x_0, y = pictures("digits", train=False)
    model = new(config_of("digits", x_0))
    train(model, x_0, y, 1, "model.pt")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_model, "ema_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(model, x_0, y, 2, "model.pt")
    assert load("model.pt").epochs == 1
    assert [path.name for path in Path().iterdir()] == ["model.pt"]


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


BROKEN = {
    "missing": "There is no .*model.pt yet: train one, without --resume",
    "truncated": "model.pt is not a model of train_images",
    "text": "model.pt is not a model of train_images",
    "trap": "model.pt is not a model of train_images",
    "other weights": "model.pt is not a model of train_images",
    **dict.fromkeys(
        ("'2' epochs", "2 epochs", "a loss of nan"), "has not one loss an|not a"
    ),
    "linear": "trained with schedule linear, not cosine: give the flags of then",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_resumed(kind, tiny):
    x_0, _ = pictures("digits", train=False)
    path = Path("outputs/digits/model.pt")
    path.parent.mkdir(parents=True)
    schedule = "linear" if kind == "linear" else "cosine"
    model = new(config_of("digits", x_0, schedule, timesteps=20))
    if kind != "missing":
        save(model, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "text":
        path.write_text("weights")
    elif kind == "trap":
        torch.save({"config": Trap()}, path)
    elif kind == "other weights":
        save(replace(model, config=model.config | {"widths": (8, 8)}), path)
    elif kind.endswith("epochs"):
        save(replace(model, epochs=ast.literal_eval(kind.split()[0])), path)
    elif kind == "a loss of nan":
        save(replace(model, epochs=1, losses=[math.nan]), path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(SystemExit, match=BROKEN[kind]) as caught:
        train_images.main([*QUICK, "--resume"])
    assert "\n" not in caught.value.code
    assert (path.read_bytes() if path.exists() else None) == before
    assert not Path("sprung").exists()


# --- The command ------------------------------------------------------------

FLAGS = [
    ["--no-conditional"],
    [
        *("--no-conditional", "--guidance", "classifier", "--guidance-weight", "7"),
        *("--sampler", "ddpm", "--schedule", "linear", "--seed", "3"),
    ],
]


@pytest.mark.parametrize("flags", FLAGS)
def test_flags(flags, tiny, capsys):
    train_images.main([*QUICK, *flags])
    out = Path("outputs/digits")
    pictures_ = {path.name for path in out.glob("*.png")}
    unguided = flags == ["--no-conditional"]
    assert pictures_ == SHOWN | (set() if unguided else {"guidance_sweep.png"})
    config = load(out / "model.pt").config
    assert config["classes"] == 0
    assert config["schedule"] == ("linear" if "linear" in flags else "cosine")
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:16].strip(): line[16:].split() for line in lines[1:-1]}
    assert (rows["read as asked"][0] == "-") == unguided
    assert 1 <= float(rows["Inception score"][0]) <= 10
    assert lines[-1].startswith("Wrote noise_schedule.png")
    assert f"to {out.resolve()} in " in lines[-1]
    for name in pictures_:
        with Image.open(out / name) as image:
            assert image.width == 1120


def test_one_noise_without_guidance_gives_one_picture(tiny, monkeypatch):
    """The first row of the sweep: the class is not looked at, the noise is the same."""
    shown = {}
    monkeypatch.setattr(
        run_pictures.plots,
        "draw_pictures",
        lambda rows, labels, titles=None, **_: shown.update(
            {titles[0]: (rows, labels)}
        ),
    )
    x_0, y = pictures("digits", train=False)
    model = new(config_of("digits", x_0, timesteps=20))
    train(model, x_0, y, 2)
    how = {"guide": None, "steps": 2, "seed": 0, "weight": 1.5, "sampler": "ddpm"}
    run_pictures.draw_sweep(model, noise(1, x_0), list("0123456789"), how)
    rows, labels = shown["0"]
    assert labels[0] == "weight 0"
    assert rows.shape == (len(run_pictures.WEIGHTS), 10, 1, 8, 8)
    torch.testing.assert_close(rows[0], rows[0][:1].expand_as(rows[0]))
    spread = (rows - rows.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2, 3, 4))
    assert (spread.diff() > 0).all()  # more guidance, more difference


def test_a_flow_is_trained_and_resumed(tiny, capsys):
    flags = ["--process", "flow", "--samples", "10", "--sampling-steps", "2"]
    train_images.main(flags)
    out = Path("outputs/digits_flow")
    written = {path.name for path in out.iterdir()} - {"model.pt"}
    assert written == SHOWN - {"noise_schedule.png"} | {"guidance_sweep.png"}
    assert load(out / "model.pt").schedule is flow.STRAIGHT
    assert "read as asked" in capsys.readouterr().out
    train_images.main([*flags, "--resume", "--sampler", "euler"])
    assert load(out / "model.pt").epochs == 1
    with pytest.raises(SystemExit, match="trained with schedule flow, not cosine"):
        train_images.main([*QUICK, "--resume", "--out", str(out)])


BAD = {
    "--dataset svhn": "--dataset: svhn is none of digits, mnist, fashion_mnist, cifar10",
    "--schedule sigmoid": "--schedule: sigmoid is none of linear, cosine",
    "--sampler euler": "--sampler: euler is none of ddpm, ddim",
    "--guidance none": "--guidance: none is none of free, classifier",
    "--guidance-weight 21": "21 is not a number from 0 to 20",
    "--sampling-steps 1001": "1001 is not a whole number from 1 to 1000",
    "--no-conditional --guidance-weight 3": "--guidance-weight: without labels, allowed",
    "--epochs 0": "0 is not a whole number from 1",
    "--samples 9": "9 is not a whole number from 10",
    "--device abacus": "--device: there is no abacus here; try cpu",
    "--device vulkan": "--device: there is no vulkan here; try cpu",
    "--out file/folder": "file/folder: Not a directory",
    "--process flow --schedule linear": "--schedule: allowed only with --process diff",
    "--process flow --sampler ddpm": "--sampler: ddpm is none of euler, heun",
    "--process flow --guidance classifier": "classifier guides diffusion alone",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_gets_one_sentence(command, capsys):
    Path("file").touch()
    with pytest.raises(SystemExit) as caught:
        train_images.main(command.split())
    assert caught.value.code == 2
    assert re.search(BAD[command], capsys.readouterr().err.splitlines()[-1])
    assert not Path("outputs").exists()


def test_wrong_inception_weights_are_refused_before_training():
    Path("weights.pth").write_text("no weights")
    with pytest.raises(
        SystemExit, match=r"weights.pth holds no weights of torchvision"
    ):
        train_images.main(["--inception", "weights.pth"])
