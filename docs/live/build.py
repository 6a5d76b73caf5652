"""Pack what the live model in the lesson page loads, after each change of the weights.

    pip install -r docs/live/requirements.txt
    python -m docs.live.build

It exports the embedded network to ONNX with the numbers that it is stored in, compares
what both draw, and writes docs/_static/live/: network.js, manifest.js, and the two
recordings that browsers without WebAssembly show. With --runtime it also packs the
JavaScript that runs the network, in the versions that runtime.json names; this needs
npm. A page opened from disk may load nothing but scripts, so all of it is packed into
scripts: gzipped, in base64.
"""

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ddpm import textiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, read_checkpoint
from ddpm.command_line import run, script_parser
from ddpm.files import UserError, replacing
from ddpm.pictures import save_gif, slerp, upscale
from ddpm.quantization import without_scales
from ddpm.sampling import denoise, draw_noise, guided, sample
from ddpm.steering import ANY, GUIDANCE, evenly_changing, labels_for
from models.embed_weights import check_pictures, pictures

try:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
except ImportError as error:
    raise UserError(
        f"This needs {error.name}: pip install -r docs/live/requirements.txt."
    ) from None

LIVE = Path(__file__).resolve().parent
STATIC = LIVE.parent / "_static" / "live"


# --- The network ------------------------------------------------------------


def export(diffusion):
    """The network as ONNX: x (1, 3, 64, 64), t (1,) -> v (1, 3, 64, 64), float32.

    Where it knows families, it takes a third input: label, a number for each row.
    """
    unet = diffusion.model.eval()
    example = {"x": torch.zeros(1, 3, *diffusion.image_size), "t": torch.zeros(1)}
    if unet.families:
        label = unet.one_hot([None])
        example["label"] = F.pad(label, (0, len(unet.few_steps)))
    program = torch.onnx.export(
        unet,
        tuple(example.values()),
        input_names=[*example],
        output_names=["v"],
        opset_version=20,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def shrink(model, state, scales):
    """Store weights as the embedded file does, and have the page compute with the same.

    state, scales: of its U-Net, as from `without_scales`.
    """
    graph = model.graph
    widen = []
    for tensor in list(graph.initializer):
        if tensor.name not in state:
            continue
        weights, stored = state[tensor.name].numpy(), f"{tensor.name}_stored"
        if tensor.name in scales:
            scale = f"{tensor.name}_scale"
            parts = {stored: weights, scale: scales[tensor.name].numpy()}
            node = helper.make_node("DequantizeLinear", [*parts], [tensor.name], axis=0)
        else:
            parts = {stored: weights}
            node = helper.make_node("Cast", [*parts], [tensor.name], to=1)
        widen.append(node)
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in parts.items()
        )
    nodes = [*widen, *graph.node]
    del graph.node[:], graph.value_info[:], graph.metadata_props[:]
    graph.node.extend(nodes)
    for node in nodes:  # where in the source each came from: half a megabyte
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class OnnxUnet(torch.nn.Module):
    """The packed network in the place of the U-Net, a picture at a time."""

    def __init__(self, packed, unet):
        super().__init__()
        self.session = onnxruntime.InferenceSession(packed)
        self.families, self.one_hot = unet.families, unet.one_hot
        self.guidance, self.few_steps = unet.guidance, unet.few_steps
        self.in_steps = unet.in_steps

    def forward(self, x, t, label=None):
        """x (B, 3, H, W) in [-1, 1] with noise, t (B,) -> (B, 3, H, W)."""
        inputs = {"x": x, "t": t.float()}
        if label is not None:
            rows = len(self.families) + 1 + len(self.few_steps)
            inputs["label"] = F.pad(label, (0, rows - label.shape[1]))
        answers = []
        for row in range(len(x)):
            one = {name: part[row : row + 1].numpy() for name, part in inputs.items()}
            answers.append(torch.from_numpy(self.session.run(None, one)[0]))
        return torch.cat(answers)


# --- The files --------------------------------------------------------------


def squeeze(data):
    """Bytes as text that a script can hold; equal bytes always give equal text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def write_script(name, value):
    """A script that puts `value` into the page's LIVE, under its own name."""
    with replacing(STATIC / name) as temporary:
        temporary.write_text(f'LIVE["{name}"] = {json.dumps(value, indent=0)};\n')


def pack_network(diffusion, packed):
    alpha_bar = diffusion.alphas_cumprod.double().tolist()
    write_script("network.js", {"alphaBar": alpha_bar, "unet.onnx": squeeze(packed)})


def pack_runtime():
    """Fetch the pinned npm packages, check them, pack what runs and its licences."""
    contents = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, pin in json.loads((LIVE / "runtime.json").read_text()).items():
            wanted = f"{name}@{pin['version']}"
            subprocess.run(["npm", "pack", "--silent", wanted], cwd=scratch, check=True)
            archive = Path(scratch) / f"{name}-{pin['version']}.tgz"
            digest = hashlib.sha512(archive.read_bytes()).digest()
            if base64.b64encode(digest).decode() != pin["sha512"]:
                raise UserError(f"{wanted} is not the file that runtime.json names.")
            with tarfile.open(archive) as package:
                for path, sha256 in pin["files"].items():
                    data = package.extractfile(f"package/{path}").read()
                    assert hashlib.sha256(data).hexdigest() == sha256, path
                    contents[Path(path).name] = squeeze(data)
                if name == "gifenc":
                    text = package.extractfile("package/LICENSE.md").read()
                    (STATIC / "LICENSE.gifenc").write_bytes(text)
    write_script("runtime.js", contents)
    wheel = Path(onnxruntime.__file__).parent  # the npm package has no such files
    shutil.copyfile(wheel / "LICENSE", STATIC / "LICENSE.onnxruntime")
    notices = STATIC / "LICENSE.onnxruntime-third-parties"
    shutil.copyfile(wheel / "ThirdPartyNotices.txt", notices)


def dyes_of(family, count=6):
    """Dyes of a family's textiles as "#rrggbb", at most so many: the first, then that
    which differs most from those chosen, and so on while they can be told apart."""
    rngs = map(np.random.default_rng, range(24))
    draw, _ = textiles.DRAW[family]
    corner = np.zeros((1, 1))  # the inks are wanted, not the cloth
    inks = np.concatenate([draw(rng, corner, corner)[1] for rng in rngs])  # OKLab
    chosen = inks[:1]
    for _ in range(count - 1):
        apart = np.linalg.norm(inks[:, None] - chosen, axis=2).min(axis=1)
        if apart.max() > 0.06:
            chosen = np.concatenate([chosen, inks[[apart.argmax()]]])
    pixels = np.rint(255 * textiles.srgb(chosen)).clip(0, 255).astype(np.uint8)
    return ["#" + bytes(pixel).hex() for pixel in pixels]


def write_manifest(step, unet):
    """What the page knows before it loads anything: families, their dyes, sizes, which
    weights."""
    manifest = {
        "families": unet.families,
        "dyes": {family: dyes_of(family) for family in unet.families},
        "guidance": unet.guidance,
        "fewSteps": unet.few_steps,
        "weights": hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest(),
        "step": step,
        "bytes": {n: (STATIC / n).stat().st_size for n in ("runtime.js", "network.js")},
    }
    with replacing(STATIC / "manifest.js") as temporary:
        temporary.write_text(f"window.LIVE = {json.dumps(manifest, indent=2)};\n")


def record(diffusion):
    """The two recordings: x_t beside x_0 as exercise 1 draws, a morph as exercise 3."""
    label = labels_for(diffusion.model, ANY, [42])
    predict, schedule = guided(diffusion, label, GUIDANCE), diffusion.alphas_cumprod
    walk = sample(predict, draw_noise([42]), schedule, 20, "dpmpp")
    *pairs, _ = (torch.cat([x_t, x_0], dim=3) / 2 + 0.5 for _, x_t, x_0 in walk)
    frames = torch.cat(pairs + pairs[-1:] * 10).clamp(0, 1)  # the last stays a while
    frames = frames.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    save_gif(frames, STATIC / "recorded_draw.gif", fps=6)

    def draw(t):
        noise = slerp(t, *draw_noise([42, 2]).split(1))
        labels = None if label is None else label.expand(len(noise), -1)
        asked = {"label": labels, "guidance": GUIDANCE}
        return denoise(diffusion, noise, 20, "dpmpp", **asked)

    t = torch.linspace(0, 1, 17)
    there = draw(evenly_changing(t, draw(t)))  # within the family of the first
    loop = torch.cat([there, there.flip(0)[1:-1]])
    save_gif(upscale(loop, 3), STATIC / "recorded_morph.gif", fps=8)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--runtime", action="store_true", help="pack the runtime, too")
    args = parser.parse_args(argv)
    if not args.runtime and not (STATIC / "runtime.js").exists():
        parser.error("there is no runtime.js yet: add --runtime")
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    unet = diffusion.model
    checkpoint = read_checkpoint(EMBEDDED_WEIGHTS)
    beginning = "ema_model.model."
    state = {n.removeprefix(beginning): t for n, t in checkpoint["ema"].items()}
    packed = shrink(export(diffusion), *without_scales(state))
    exact = pictures(diffusion)
    diffusion.model = OnnxUnet(packed, unet)
    check_pictures(exact, pictures(diffusion))
    if args.runtime:
        pack_runtime()
    pack_network(diffusion, packed)
    record(diffusion)
    write_manifest(checkpoint["step"], unet)
    total = sum(path.stat().st_size for path in STATIC.iterdir())
    print(f"Wrote {STATIC}: {total / 1e6:.1f} MB.")


if __name__ == "__main__":
    run(main)
