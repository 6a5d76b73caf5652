"""The live model in the lesson page, driven in a real browser without a network."""

import base64
import gzip
import hashlib
import importlib
import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.files import ROOT, UserError
from ddpm.pictures import slerp, to_uint8, upscale
from ddpm.sampling import (
    denoise,
    draw_noise,
    guided,
    more_noise,
    predictor,
    sample,
    timestep_pairs,
)
from ddpm.steering import family_of, keeping, labels_for, redraw, tinted
from ddpm.textiles import FAMILIES

pytest.importorskip("sphinx_design", reason="pip install -r docs/requirements.txt")
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
from test_page import BROWSER, FLAGS  # noqa: E402

STATIC = ROOT / "docs" / "_static" / "live"
REBUILD = "pip install -r docs/live/requirements.txt && python -m docs.live.build"
VISIBLE = 2.0  # mean difference in grey levels of 255, as docs/live/build.py states it


def unpacked(name):
    """What a packed script puts into the page."""
    text = (STATIC / name).read_text()
    return json.loads(text.split(" = ", 1)[1].removesuffix(";\n"))


MANIFEST = unpacked("manifest.js")
ASKED = pytest.mark.skipif(
    not MANIFEST.get("families"), reason="the embedded weights know no families"
)


def test_packing_without_its_packages_says_which_command_installs_them(monkeypatch):
    for name in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"needs onnx: pip install -r docs/live/requ"):
        importlib.import_module("docs.live.build")


# --- The packed files -------------------------------------------------------


def test_packed_network_is_of_the_embedded_weights():
    weights = hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest()
    assert MANIFEST["weights"] == weights, f"the weights have changed: {REBUILD}"
    packed = unpacked("network.js")
    assert len(gzip.decompress(base64.b64decode(packed["unet.onnx"]))) > 8 * 10**6
    alpha_bar = load_diffusion(EMBEDDED_WEIGHTS, "cpu").alphas_cumprod
    assert torch.equal(torch.tensor(packed["alphaBar"]), alpha_bar)


def test_runtime_is_the_pinned_one_with_its_licences():
    packed = unpacked("runtime.js")
    pins = json.loads((ROOT / "docs" / "live" / "runtime.json").read_text())
    hashes = {}
    for name, pin in pins.items():
        hashes |= {path.split("/")[-1]: sha for path, sha in pin["files"].items()}
        licence = STATIC / f"LICENSE.{name.removesuffix('-web')}"
        assert "Permission is hereby granted, free of charge" in licence.read_text(
            "utf-8"
        )
    found = {
        name: hashlib.sha256(gzip.decompress(base64.b64decode(text))).hexdigest()
        for name, text in packed.items()
    }
    assert found == hashes


def test_download_is_as_small_as_the_page_says():
    sizes = {name: (STATIC / name).stat().st_size for name in MANIFEST["bytes"]}
    assert sizes == MANIFEST["bytes"]
    assert sum(sizes.values()) < 20 * 10**6
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 25 * 10**6


# --- In the browser ---------------------------------------------------------


@pytest.fixture(scope="module")
def diffusion():
    return load_diffusion(EMBEDDED_WEIGHTS, "cpu")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A page of the lesson's title and its live models, rendered as the lesson is."""
    lesson = (ROOT / "README.rst").read_text("utf-8")
    block = r"^\.\. raw:: html\n\n(?: .*\n|\n)*"
    blocks = [b for b in re.findall(block, lesson, re.M) if 'class="live"' in b]
    assert len(blocks) == 4, "README.rst should show the live model four times"
    source, out = tmp_path_factory.mktemp("lesson"), tmp_path_factory.mktemp("live")
    (source / "README.rst").write_text("DDPM Basics\n===\n\n" + "\n\n".join(blocks))
    command = ["-m", "sphinx", "-W", "-q", "-c", str(ROOT / "docs"), str(source)]
    subprocess.run([sys.executable, *command, str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def server(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()


@pytest.fixture(scope="module")
def playwright():
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright):
    if not BROWSER:
        pytest.skip("no Chromium here")
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def visit(chromium, site):
    """Open the page; returns it, with the list of what it requests, and its four models.

    address: of the site, from disk if left out. before: a script to run first. Errors
    in the page, and requests that leave the machine, fail the test.
    """
    contexts, troubles = [], []

    def open_page(address=None, before="", browser=chromium, **how):
        address = address or site.as_uri()
        context = browser.new_context(offline=address.startswith("file"), **how)
        contexts.append(context)
        page = context.new_page()
        requests = []
        page.on("request", lambda r: requests.append(r.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda m: (
                m.type == "error"
                and "favicon" not in m.location["url"]
                and troubles.append(m.text)
            ),
        )
        page.add_init_script(before)
        page.goto(f"{address}/README.html")
        page.address, page.requests = address, requests
        return page, *page.locator(".live").all()

    yield open_page
    for context in contexts:
        for page in context.pages:
            away = [
                url
                for url in page.requests
                if not url.startswith((page.address, "data:", "blob:"))
            ]
            assert away == []
        context.close()
    assert troubles == []


def press(live, label, then, seconds=60):
    """Press the main button, which reads `label`, and wait for it to read `then`."""
    main = live.locator("[data-part=main]")
    sync_api.expect(main).to_contain_text(label)
    main.click()
    sync_api.expect(main).to_have_text(then, timeout=1000 * seconds)


def set_steps(live, steps):
    """By keyboard: the slider stands on places of a list."""
    slider = live.get_by_role("slider", name="Steps")
    slider.press("Home")
    says = "1 step" if steps == 1 else f"{steps} steps"
    while slider.get_attribute("aria-valuetext") != says:
        slider.press("ArrowRight")


def drawn_in_python(diffusion, seed, steps, *, sampler="dpmpp", family="any", weight=1):
    """The picture (3, 64, 64) of exercise 1, in [0, 1]."""
    label = labels_for(diffusion.model, family, [seed])
    noise = draw_noise([seed])
    (picture,) = denoise(diffusion, noise, steps, sampler, label=label, guidance=weight)
    return picture


def canvas(live, part, mode="RGB"):
    """The pixels of a canvas, (64, 64, 3) uint8."""
    url = live.locator(f"canvas[data-part={part}]").evaluate("c => c.toDataURL()")
    return iio.imread(base64.b64decode(url.split(",")[1]), mode=mode)


def difference(pixels, image):
    """Mean difference in grey levels; image (3, 64, 64) in [0, 1]."""
    return np.abs(pixels.astype(int) - to_uint8(image)).mean()


def saved(page, live, label):
    with page.expect_download() as download:
        live.get_by_role("button", name=label).click()
    name = download.value.suggested_filename
    frames = None if name.endswith("gif") else 0  # None: all of them
    return name, iio.imread(download.value.path(), index=frames)


def test_mathematics_is_that_of_python(visit, diffusion):
    page, *_ = visit()
    for seed in (0, 42, 2**32 - 1, 2**32, 2**53 - 1):
        noise = page.evaluate("s => [...Diffusion.drawNoise(s)]", seed)
        expected = draw_noise([seed])[0].flatten()
        torch.testing.assert_close(torch.tensor(noise), expected, atol=5e-6, rtol=0)
    seeds = [*range(100), *(2**k - 1 for k in range(54)), 2**53 - 7]
    for families in (list(FAMILIES), ["one"], [*"seven"], [*"ten letters"[:10]]):
        found = page.evaluate(
            "([seeds, names]) => seeds.map((s) => Diffusion.familyOf(s, names))",
            [seeds, families],
        )
        assert found == [family_of(seed, families) for seed in seeds]
    stub = "Diffusion.guided(async (x, t, label) => label, Float32Array.of(1, 0), {})"
    for how, v in (("1", [1, 0]), ("2", [2, -1]), ("2, true", [2, 0])):
        called = f"async () => [...(await {stub.format(how)}(null, 0))]"
        assert page.evaluate(called) == v
    fresh = more_noise([42], (3, 64, 64))
    more = """() => { const fresh = Diffusion.moreNoise(42);
        return [1, 2].map(() => [...fresh.next().value]); }"""
    for noise in page.evaluate(more):
        expected = next(fresh).flatten()
        torch.testing.assert_close(torch.tensor(noise), expected, atol=5e-6, rtol=0)
    for resamplings in (1, 3):
        pairs = page.evaluate("n => Diffusion.timestepPairs(1000, 5, n)", resamplings)
        assert [*map(tuple, pairs)] == timestep_pairs(1000, 5, resamplings)
    for steps in (1, 2, 3, 5, 10, 15, 20, 25, 26, 50, 100, 250, 1000):
        pairs = page.evaluate("n => Diffusion.timestepPairs(1000, n)", steps)
        assert [*map(tuple, pairs)] == timestep_pairs(1000, steps)
    for t in (0, 0.3, 1):
        blend = "t => [...Diffusion.slerp(t, ...[1, 42].map(Diffusion.drawNoise))]"
        expected = slerp(t, *draw_noise([1, 42]).split(1)).flatten()
        blended = torch.tensor(page.evaluate(blend, t))
        torch.testing.assert_close(blended, expected, atol=5e-6, rtol=0)


def test_mathematics_of_steering_is_that_of_python(visit, diffusion):
    """With a network in closed form: its x_0 is half of what it sees, clipped."""
    page, *_ = visit()
    alpha_bar = diffusion.alphas_cumprod
    known, noise = (x.clamp(-1, 1) for x in draw_noise([1, 2]).split(1))
    mask = (draw_noise([3])[0, 0] > 0).float()

    def predict(x_t, t):
        x_0, a = (x_t / 2).clamp(-1, 1), alpha_bar[t]
        return x_0, (x_t - a.sqrt() * x_0) / (1 - a).sqrt()

    setting = """([alphaBar, mask]) => {
        const [known, noise] = [1, 2].map((seed) =>
            Diffusion.drawNoise(seed).map(Diffusion.clamp));
        const predict = (x, t) => {
            const x0 = x.map((xi) => Diffusion.clamp(xi / 2));
            return { x0, eps: Diffusion.noiseIn(x, x0, alphaBar[t]) };
        };
        Object.assign(window, { alphaBar, mask, known, noise, predict });
        window.last = async (walk) => {
            let x0;
            for await ({ x0 } of walk);
            return [...x0];
        }; }"""
    page.evaluate(setting, [alpha_bar.tolist(), mask.flatten().tolist()])

    def agree(walk, expression):
        *_, (_, expected, _) = walk
        found = torch.tensor(page.evaluate(f"() => last({expression})"))
        torch.testing.assert_close(found, expected.flatten(), atol=2e-5, rtol=0)

    for sampler in ("ddim", "dpmpp"):
        kept = keeping(predict, known, mask, alpha_bar, [7])
        keep = (
            "Steering.keeping(predict, known, mask, alphaBar, Diffusion.moreNoise(7))"
        )
        agree(
            sample(kept, noise, alpha_bar, 4, sampler, [7], resamplings=3),
            f"Diffusion.sample({keep}, noise, alphaBar, 4, '{sampler}', 3,"
            " Diffusion.moreNoise(7))",
        )
        for patch, light in ((8, 0.5), (64, 1)):
            agree(
                redraw(
                    tinted(predict, known, alpha_bar, patch, light),
                    *(known, noise, alpha_bar, 700, 10, sampler),
                ),
                f"Steering.redraw(Steering.tinted(predict, known, alphaBar, {patch},"
                f" {light}), known, noise, alphaBar, 700, 10, '{sampler}')",
            )
    for t in (*range(50, 1000, 50), 999):  # the slider's
        for steps in (1, 2, 3, 5, 10, 15, 20, 25, 50, 100, 250):
            count = page.evaluate(f"Steering.stepsFrom({t}, {steps}, alphaBar)")
            assert count == max(1, round(steps * (t + 1) / 1000))


def test_colours_have_names(visit):
    page, *_ = visit()
    for colour, name in (
        *(("#1c2a6b", "dark blue"), ("#d8a030", "gold"), ("#ffffff", "white")),
        *(("#b03028", "red"), ("#2a1a12", "black"), ("#eee0c8", "cream")),
    ):
        assert page.evaluate(f"Pictures.nameOf(Pictures.rgb('{colour}'))") == name
    stripes = """new Float32Array(3 * 64 * 64).map((_, i) =>
        i % 64 < 20 ? 1 : i < 4096 ? 0.5 : -0.9)"""
    assert page.evaluate(f"Pictures.mainColours({stripes})") == "red and white"


@ASKED
def test_dyes_of_each_family_can_be_told_apart():
    assert [*MANIFEST["dyes"]] == MANIFEST["families"]
    for dyes in MANIFEST["dyes"].values():
        assert len({*dyes}) == len(dyes) >= 3
        assert all(re.fullmatch("#[0-9a-f]{6}", dye) for dye in dyes)


def board(live):
    """The pixels of what is drawn on, (H, W, 4) uint8."""
    return canvas(live, "board", "RGBA")


def stroke(page, live, *points):
    """The mouse, from point to point of the board, in pixels of the model."""
    part = live.locator("canvas[data-part=board]")
    part.evaluate("c => c.scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = part.bounding_box()
    for place, (x, y) in enumerate(points):
        scale = box["width"] / 64
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
        if place == 0:
            page.mouse.down()
    page.mouse.up()


def as_batch(pixels):
    """(H, H, 3) of any range 0 to 255 -> (1, 3, 64, 64) in [-1, 1], averaged."""
    x = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    return F.avg_pool2d(x, x.shape[-1] // 64) / 127.5 - 1


@ASKED
def test_torn_cloth_is_mended_as_in_python(visit, diffusion, tmp_path):
    page, *_, live, _ = visit()
    part = live.locator("canvas[data-part=board]")
    status = live.get_by_role("status")
    set_steps(live, 2)
    stroke(page, live, (10, 10), (20, 20))  # there is no cloth yet
    press(live, "Draw", "Mend")
    cloth = board(live)[..., :3]
    drawn = drawn_in_python(diffusion, 42, 2, weight=2)
    assert difference(cloth, drawn) < VISIBLE
    press(live, "Mend", "Mend")
    assert status.inner_text().startswith("Nothing is torn yet")

    stroke(page, live, (20, 16), (40, 24))
    part.press("ArrowDown")  # by keyboard, from where the mouse was
    part.press("Shift+ArrowDown")
    part.press("ArrowDown")
    part.press(" ")
    torn = board(live)
    assert {*np.unique(torn[..., 3])} == {0, 255}
    mask = torch.from_numpy(torn[..., 3] > 127).float()
    assert mask[24, 40] == mask[30, 40] == 0 and mask[60, 60] == 1
    live.get_by_role("button", name="Undo").click()
    assert (board(live)[..., 3] > 0).sum() > mask.sum()
    part.press(" ")
    live.get_by_text("5 times").click()
    live.get_by_role("slider", name="Brush").fill("24")
    press(live, "Mend", "Mend again")
    alpha_bar, label = (
        diffusion.alphas_cumprod,
        labels_for(diffusion.model, "none", [7]),
    )
    known = as_batch(cloth)
    predict = keeping(guided(diffusion, label), known, mask, alpha_bar, [7])
    walk = sample(predict, draw_noise([7]), alpha_bar, 2, "dpmpp", [7], 5)
    *_, (_, (expected,), _) = walk
    mended = canvas(live, "picture")
    whole = mask.bool().numpy()
    assert np.array_equal(mended[whole], cloth[whole])
    hole = np.abs(mended.astype(int) - to_uint8(expected / 2 + 0.5))[~whole]
    print(f"\nMended: {hole.mean():.2f} grey levels from Python's in the hole")
    assert hole.mean() < 2 * VISIBLE
    assert np.abs(mended.astype(int) - cloth)[~whole].mean() > 4 * VISIBLE
    label = live.locator("canvas[data-part=picture]").get_attribute("aria-label")
    assert re.match("mended, asked for none: mainly [a-z ,]+$", label)
    live.get_by_role("button", name="Whole again").click()
    assert np.array_equal(board(live)[..., :3], cloth)

    own = tmp_path / "own.png"
    iio.imwrite(own, np.zeros((90, 160, 3), np.uint8) + np.uint8([200, 30, 60]))
    live.get_by_label("Your picture").set_input_files(own)
    sync_api.expect(status).to_have_text("own.png: it stays in this page.")
    assert (board(live) == [200, 30, 60, 255]).all()
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    live.get_by_label("Your picture").set_input_files(broken)
    sync_api.expect(status).to_contain_text("broken.png cannot be read as a picture")
    live.get_by_label("Seed of the cloth", exact=True).fill("3")  # another cloth
    sync_api.expect(live.locator("[data-part=main]")).to_have_text("Draw")
    assert board(live).max() == 0


@ASKED
def test_strokes_become_the_cloth_of_python(visit, diffusion):
    page, *_, live = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    set_steps(live, 5)
    live.get_by_text("kuba", exact=True).click()
    dyes = live.get_by_role("group", name="Dye").get_by_role("radio")
    values = dyes.evaluate_all("all => all.map((input) => input.value)")
    assert values == MANIFEST["dyes"]["kuba"]
    sketch = board(live)
    dyes.nth(1).press("ArrowRight")  # by keyboard
    stroke(page, live, (8, 8), (50, 12))
    red, green, blue = bytes.fromhex(values[2][1:])
    assert [*board(live)[40, 100]] == [red, green, blue, 255]
    live.get_by_role("button", name="Undo").click()
    assert np.array_equal(board(live), sketch)
    live.get_by_role("button", name="Fill").click()
    assert (board(live)[..., :3] == [red, green, blue]).all()
    live.get_by_label("or mix one").fill("#3060c0")
    live.get_by_role("slider", name="Brush").fill("24")
    live.locator("canvas[data-part=board]").tap()
    stroke(page, live, (10, 50), (50, 20))
    live.get_by_role("slider", name="Start at t").fill("800")
    drawing = as_batch(board(live)[..., :3])
    alpha_bar, model = diffusion.alphas_cumprod, diffusion.model
    asked = guided(diffusion, labels_for(model, "kuba", [42]), 2)
    for colours, predict in (
        ("yours", tinted(asked, drawing, alpha_bar, 8, 0.5)),
        ("your hues", tinted(asked, drawing, alpha_bar, 8, 0)),
        ("model's", asked),
    ):
        live.get_by_text(colours, exact=True).click()
        press(live, "Weave", "Weave again")
        walk = redraw(predict, drawing, draw_noise([42]), alpha_bar, 800, 5, "dpmpp")
        *_, (_, (expected,), _) = walk
        woven = canvas(live, "picture")
        print(f"\nDrawn: {difference(woven, expected / 2 + 0.5):.2f} grey levels")
        assert difference(woven, expected / 2 + 0.5) < VISIBLE
    assert live.get_by_role("status").inner_text().startswith("4 steps in")

    live.get_by_role("button", name="Repeat 3 times").click()
    nine = canvas(live, "picture")
    assert np.array_equal(nine, np.tile(woven, (3, 3, 1)))
    with page.expect_download() as download:
        live.get_by_role("button", name="Save repeat").click()
    name = "drawn_42_kuba_guidance_2_dpmpp_5_repeat.png"
    assert download.value.suggested_filename == name
    said = f"Saved {name}: 591 x 591 pixels, 10 cm wide at 150 dpi."
    sync_api.expect(live.get_by_role("status")).to_have_text(said)
    with Image.open(download.value.path()) as repeat:
        repeat.load()
        assert repeat.size == (591, 591)
        assert repeat.info["dpi"] == pytest.approx((150, 150), abs=0.05)
        pixels = np.asarray(repeat.convert("RGB"), int)
    large = upscale(torch.from_numpy(nine / 255).permute(2, 0, 1), 591 / 64)
    expected = to_uint8(large[:, 591:1182, 591:1182])
    assert np.abs(pixels - expected).max() <= 2  # the page enlarges before it rounds
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# A network that answers at once, for what does not depend on what it answers.
STUB = """Engine.load = async () => ({
    predict: async (x) => x,
    alphaBar: Array.from({ length: 1000 }, (_, t) => 1 - (t + 1) / 1001),
    where: "worker" })"""


@ASKED
def test_tampered_controls_do_no_harm(visit):
    page, live, morph, *_ = visit()
    page.evaluate(STUB)
    set_steps(live, 1)
    markup = "<img src=x onerror='window.harmed = true'>"
    live.locator("[name=cloth]:checked").evaluate("(c, v) => (c.value = v)", markup)
    live.locator("[name=sampler]:checked").evaluate("(c, v) => (c.value = v)", markup)
    press(live, "Draw", "Draw again")
    command = "python exercise1_generate.py --seed 42 --sampler dpmpp --steps 1"
    assert live.locator("[data-part=command]").inner_text() == command
    assert live.locator("img").count() == 0 and page.evaluate("window.harmed") is None
    # Once it has drawn, the dice begin at once: of one seed, were the other none?
    set_steps(morph, 1)
    press(morph, "Morph", "Morph again")
    morph.get_by_label("Seed B", exact=True).fill("-5")
    morph.get_by_role("button", name="Seed A: throw the dice").click()
    page.wait_for_timeout(300)
    assert morph.get_by_role("status").inner_text().startswith("Seed B is to be")
    assert morph.locator("[data-part=main]").inner_text() == "Morph"


def test_a_picture_that_falls_beside_a_form_leaves_the_page(visit):
    page, *_ = visit()
    beside, on_input = page.evaluate(
        """() => [document.body, document.querySelector(".live [type=file]")].map(
            (target) => {
                const how = { bubbles: true, cancelable: true };
                how.dataTransfer = new DataTransfer();
                return !target.dispatchEvent(new DragEvent("dragover", how));
            })"""
    )
    assert beside and page.url.endswith("README.html")
    assert on_input  # by its form, which takes the picture


def test_what_one_has_loaded_no_other_says_it_loads(visit):
    page, live, *others = visit()
    page.evaluate(STUB)
    said = [other.get_by_role("status") for other in others]
    assert all(s.inner_text().startswith("The first press loads") for s in said)
    set_steps(live, 1)
    press(live, "Draw", "Draw again")
    assert [s.inner_text() for s in said] == 3 * [""]


@ASKED
def test_guidance_rests_at_1_where_no_cloth_is_asked_for(visit):
    _, live, *_ = visit()
    guidance = live.get_by_role("slider", name="Guidance")
    guidance.fill("2.5")
    for cloth, value in (("none", "1"), ("kente", "2.5"), ("any", "2.5")):
        live.get_by_role("radio", name=cloth).check(force=True)
        shown = live.locator("[data-part=guidanceShown]").inner_text()
        assert guidance.input_value() == shown == value
        assert guidance.is_disabled() == (cloth == "none")


def test_who_wants_less_motion_sees_the_first_state_and_the_last(visit):
    count = """() => { window.seen = 0;
        const put = CanvasRenderingContext2D.prototype.putImageData;
        CanvasRenderingContext2D.prototype.putImageData = function (...how) {
            window.seen += this.canvas.dataset.part === "picture";
            return put.call(this, ...how); }; }"""
    for motion, shown in (("reduce", 2), ("no-preference", 6)):
        page, live, *_ = visit(reduced_motion=motion)
        page.evaluate(STUB)
        page.evaluate(count)
        set_steps(live, 5)
        press(live, "Draw", "Draw again")
        assert page.evaluate("seen") == shown


def test_from_disk_it_draws_the_picture_of_exercise_1(visit, diffusion):
    label = labels_for(diffusion.model, "any", [42])
    predict, schedule = predictor(diffusion, label), diffusion.alphas_cumprod
    walk = sample(predict, draw_noise([42]), schedule, 20, "dpmpp")
    *states, (picture, _) = ((x_t[0], x_0[0]) for _, x_t, x_0 in walk)
    picture = picture / 2 + 0.5
    page, live, *_ = visit()
    assert not any("network.js" in url or "runtime.js" in url for url in page.requests)
    assert difference(canvas(live, "noisy"), draw_noise([42])[0] / 2 + 0.5) < 0.1
    press(live, "Draw", "Draw again")
    print("\n" + live.get_by_role("status").inner_text())
    drawn = canvas(live, "picture")
    assert difference(drawn, picture) < VISIBLE
    other = drawn_in_python(diffusion, 43, 20)
    assert difference(drawn, other) > 5 * VISIBLE  # the comparison can fail

    time = live.get_by_role("slider", name="From noise to picture")
    time.press("Home")  # by keyboard, back to the noise
    for step in range(11):
        if step in (0, 10):
            x_t, x_0 = (state / 2 + 0.5 for state in states[step])
            assert difference(canvas(live, "noisy"), x_t) < VISIBLE
            assert difference(canvas(live, "picture"), x_0) < VISIBLE
        time.press("ArrowRight")
    t = timestep_pairs(1000, 20)[11][0]
    assert f"t = {t}:" in time.get_attribute("aria-valuetext")

    live.get_by_role("button", name="Play").click()
    sync_api.expect(live.get_by_role("button", name="Play")).to_be_visible(timeout=9000)
    assert time.input_value() == "20"
    name, png = saved(page, live, "Save PNG")
    assert name == "fabric_42_dpmpp_20.png"
    assert np.array_equal(png[::4, ::4, :3], drawn)
    name, gif = saved(page, live, "Save GIF")
    assert name == "fabric_42_dpmpp_20.gif"
    assert gif.shape == (21, 256, 512, 3)
    assert np.abs(gif[-1, ::4, 256::4].astype(int) - drawn).mean() < 6  # 256 colours
    pause_and_begin_anew(live)


def pause_and_begin_anew(live):
    set_steps(live, 250)
    press(live, "Draw again", "Pause")
    press(live, "Pause", "Go on")
    progress = live.locator("[data-part=main]").get_attribute("data-progress")
    live.page.wait_for_timeout(500)
    assert live.locator("[data-part=main]").get_attribute("data-progress") == progress
    press(live, "Go on", "Pause")
    live.get_by_label("Seed", exact=True).fill("43")
    sync_api.expect(live.locator("[data-part=main]")).to_have_text("Draw")
    assert difference(canvas(live, "noisy"), draw_noise([43])[0] / 2 + 0.5) < 0.1
    assert live.get_by_role("button", name="Save PNG").is_disabled()


def test_from_a_server_it_morphs_in_a_worker(visit, server, diffusion):
    page, _, live, *_ = visit(server, viewport={"width": 390, "height": 800})
    live.get_by_label("Seed B", exact=True).fill("7")
    set_steps(live, 2)
    press(live, "Morph", "Morph again")
    assert live.get_attribute("data-where") == "worker"
    place = live.get_by_role("slider", name="From noise A to noise B")
    noise_a, noise_b = draw_noise([42, 7]).split(1)
    label = labels_for(diffusion.model, "any", [42])  # it keeps to the family of A
    for at in (0, 15, 32):
        place.fill(str(at))
        noise = slerp(at / 32, noise_a, noise_b)
        assert difference(canvas(live, "noisy"), noise[0] / 2 + 0.5) < 0.1
        picture = denoise(diffusion, noise, 2, "dpmpp", label=label)[0]
        assert difference(canvas(live, "picture"), picture) < VISIBLE
    strip = canvas(live, "strip")
    assert np.array_equal(strip[:, -64:], canvas(live, "picture"))
    assert all(tile.std() > 5 for tile in np.split(strip, 9, axis=1))
    listen = """status => { window.said = [];
        new MutationObserver(() => said.push(status.textContent))
            .observe(status, { childList: true }); }"""
    live.get_by_role("status").evaluate(listen)
    name, gif = saved(page, live, "Save GIF")
    assert name == "fabric_42_to_7_dpmpp_2.gif"
    packing = "Packing 64 frames into a GIF …"
    assert page.evaluate("said") == [packing, f"Saved {name}."]
    assert gif.shape == (64, 256, 256, 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@ASKED
def test_asked_for_a_cloth_it_draws_what_python_draws(visit, diffusion):
    page, live, *_ = visit(viewport={"width": 390, "height": 800})
    guidance = live.get_by_role("slider", name="Guidance")
    picture = live.locator("canvas[data-part=picture]")
    set_steps(live, 5)
    live.get_by_text("wax print", exact=True).click()
    guidance.press("ArrowRight")
    guidance.press("ArrowRight")
    press(live, "Draw", "Draw again")
    expected = drawn_in_python(diffusion, 42, 5, family="wax_print", weight=2)
    assert difference(canvas(live, "picture"), expected) < VISIBLE
    description = "the picture, asked for wax print: mainly [a-z ,]+$"
    assert re.match(description, picture.get_attribute("aria-label"))
    command = "--seed 42 --sampler dpmpp --steps 5 --family wax_print --guidance 2"
    assert command in live.get_by_text("python exercise1_generate.py").inner_text()
    name, _ = saved(page, live, "Save PNG")
    assert name == "fabric_42_wax_print_guidance_2_dpmpp_5.png"

    live.get_by_role("radio", name="wax print").press("ArrowLeft")  # by keyboard
    assert live.get_by_role("radio", name="adire").is_checked()
    live.get_by_role("radio", name="none").check(force=True)
    assert guidance.is_disabled()
    press(live, "Draw again", "Draw again")
    expected = drawn_in_python(diffusion, 42, 5, family="none")
    assert difference(canvas(live, "picture"), expected) < VISIBLE
    assert "the picture, asked for none: " in picture.get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(2 not in MANIFEST["fewSteps"], reason="no walk of two steps")
def test_cloth_follows_the_finger_and_is_drawn_in_full_where_it_rests(visit, diffusion):
    page, _, live, *_ = visit()
    label = labels_for(diffusion.model, "any", [42])
    ends = draw_noise([42, 2]).split(1)
    caption = live.locator("[data-part=pictureCaption]")
    slider = live.get_by_role("slider", name="From noise A to noise B")

    def in_python(sampler, steps, guidance=1):
        noise = slerp(int(slider.input_value()) / 32, *ends)
        how = {"label": label, "guidance": guidance}
        return denoise(diffusion, noise, steps, sampler, **how)[0]

    def glance(guidance=1):
        expected = in_python("fast", 2, guidance)
        for _ in range(200):  # until it has followed
            page.wait_for_timeout(50)
            if difference(canvas(live, "picture"), expected) < VISIBLE:
                break
        else:
            pytest.fail("the picture of two steps did not come")
        sync_api.expect(caption).to_contain_text("at a glance: 2 steps")

    def rest(guidance=1):
        sync_api.expect(caption).to_have_text("its picture", timeout=60_000)
        expected = in_python("dpmpp", 20, guidance)
        assert difference(canvas(live, "picture"), expected) < VISIBLE

    press(live, "Morph", "Pause")
    sync_api.expect(slider).to_be_enabled(timeout=60_000)
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    for part in (0.3, 0.7):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        glance()
    page.mouse.up()
    rest()
    place = slider.input_value()
    live.get_by_role("slider", name="Guidance").press("ArrowRight")
    glance(guidance=1.5)
    rest(guidance=1.5)
    assert slider.input_value() == place


def test_it_says_what_is_wrong_and_can_be_tried_again(visit):
    fail_once = """const append = Element.prototype.append;
        Element.prototype.append = function (script) {
            if (!script.src?.endsWith("network.js")) return append.call(this, script);
            Element.prototype.append = append;
            script.onerror();
        };
        navigator.clipboard.writeText = async (text) => { window.copied = text; };"""
    page, live, *_ = visit(before=fail_once)
    seed, status = live.get_by_label("Seed", exact=True), live.get_by_role("status")
    for wrong in ("", "-1", "1.5", str(2**53)):
        seed.fill(wrong)
        assert "from 0 to 9,007,199,254,740,991" in status.inner_text()
    seed.fill(str(2**53 - 1))
    assert "The first press loads" in status.inner_text()
    set_steps(live, 1)
    press(live, "Draw", "Try again")
    assert "network.js cannot be loaded" in status.inner_text()
    press(live, "Try again", "Draw again")
    assert re.match(r"1 step in .* ms each\.", status.inner_text())
    live.get_by_role("button", name="Copy").click()
    sync_api.expect(live.get_by_role("button", name="Copied")).to_be_visible()
    command = f"--seed {2**53 - 1} --sampler dpmpp --steps 1"
    assert page.evaluate("copied") == f"python exercise1_generate.py {command}"


def test_without_workers_it_draws_in_the_page(visit, diffusion):
    remember = """delete window.Worker;
        window.memories = [];
        WebAssembly.Memory = class extends WebAssembly.Memory {
            constructor(size) { super(size); window.memories.push(this); }
        };"""
    page, live, *_ = visit(before=remember)
    live.get_by_text("DDIM").click()
    set_steps(live, 5)
    live.get_by_label("Seed", exact=True).fill("8")
    live.get_by_label("Seed", exact=True).press("Enter")
    main = live.locator("[data-part=main]")
    sync_api.expect(main).to_have_text("Draw again", timeout=60_000)
    assert live.get_attribute("data-where") == "page"
    picture = drawn_in_python(diffusion, 8, 5, sampler="ddim")
    assert difference(canvas(live, "picture"), picture) < VISIBLE
    sizes = page.evaluate("memories.map(memory => memory.buffer.byteLength)")
    megabytes = sum(sizes) / 1e6
    print(f"\nMemory of the network: {megabytes:.0f} MB")
    assert megabytes < 500


@pytest.mark.parametrize("lost", ["WebAssembly", "DecompressionStream"])
def test_where_it_cannot_run_it_shows_a_recording(visit, lost):
    page, draw, morph, *steered = visit(before=f"delete window.{lost}")
    for live in steered:
        assert live.inner_text().endswith("see the figure above.")
    for live, name in ((draw, "draw"), (morph, "morph")):
        assert "this is a recording" in live.inner_text()
        image = live.locator("img")
        assert image.get_attribute("alt")
        image.evaluate("i => i.decode()")
        assert f"recorded_{name}.gif" in image.get_attribute("src")
        assert live.locator("button").all_inner_texts() == ["Stop"]
        live.locator("button").click()  # the recording stands still
        image.evaluate("i => i.decode()")
        assert f"recorded_{name}.still.png" in image.get_attribute("src")
    assert not any("network.js" in url for url in page.requests)


@ASKED
def test_in_firefox_one_tears_mends_draws_and_saves(site, tmp_path):
    bidi = pytest.importorskip("firefox", reason="pip install websockets")
    if not bidi.BROWSER:
        pytest.skip("no Firefox here: apt-get install firefox-esr")
    with bidi.launched(tmp_path) as firefox:
        firefox.visit(f"{site.as_uri()}/README.html")
        script = "document.querySelector('.live[data-mode={}] [data-part={}]')"
        for mode, verbs in (
            ("mend", ["Mend", "Mend again"]),
            ("sketch", ["Weave again"]),
        ):
            part = partial(script.format, mode)
            at = f".live[data-mode={mode}] [data-part={{}}]".format
            firefox.evaluate(f"{part('steps')}.focus()")
            firefox.press("\ue011")  # Home: one step
            for place, verb in enumerate(verbs):
                firefox.drag(at("main"))
                firefox.wait_for(f"{part('main')}.textContent === '{verb}'")
                if place == 0:
                    firefox.drag(at("board"), (0.3, 0.3), (0.6, 0.5))
                    firefox.evaluate(
                        f"{part('board')}.focus({{ preventScroll: true }})"
                    )
                    firefox.press(" ")
                if verb == "Mend again":
                    script_hole = """((c) => c.getContext("2d").getImageData(
                        0, 0, 64, 64).data.filter((_, i) => i % 4 === 3).includes(0))"""
                    assert firefox.evaluate(f"{script_hole}({part('board')})")
            firefox.drag(at("cut"))
            firefox.wait_for(f"{part('status')}.textContent.includes('591 x 591')")
        repeats = ("mended_7_none_dpmpp_1", "drawn_42_guidance_2_dpmpp_1")
        for name in repeats:
            path = tmp_path / f"{name}_repeat.png"
            bidi.patient(lambda path=path: path.exists() and path.stat().st_size)
            assert iio.imread(path).shape[:2] == (591, 591)
