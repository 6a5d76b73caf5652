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

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.files import ROOT, UserError
from ddpm.pictures import slerp, to_uint8
from ddpm.sampling import denoise, draw_noise, predictor, sample, timestep_pairs
from ddpm.steering import family_of, labels_for
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
        assert "Permission is hereby granted, free of charge" in licence.read_text()
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
    lesson = (ROOT / "README.rst").read_text()
    block = r"^\.\. raw:: html\n\n(?: .*\n|\n)*"
    blocks = [b for b in re.findall(block, lesson, re.M) if 'class="live"' in b]
    assert len(blocks) == 2, "README.rst should show the live model twice"
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
    """Open the page; returns it, with the list of what it requests, and its two models.

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
    """Press a button, and wait for the main button to read `then`."""
    live.get_by_role("button", name=label).click()
    main = live.locator("[data-part=main]")
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


def canvas(live, part):
    """The pixels of a canvas, (64, 64, 3) uint8."""
    url = live.locator(f"canvas[data-part={part}]").evaluate("c => c.toDataURL()")
    return iio.imread(base64.b64decode(url.split(",")[1]))[..., :3]


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
    for families in (list(FAMILIES), ["one"], [*"seven"]):
        found = page.evaluate(
            "([seeds, names]) => seeds.map((s) => Diffusion.familyOf(s, names))",
            [seeds, families],
        )
        assert found == [family_of(seed, families) for seed in seeds]
    stub = "Diffusion.guided(async (x, t, label) => label, Float32Array.of(1, 0), {})"
    for how, v in (("1", [1, 0]), ("2", [2, -1]), ("2, true", [2, 0])):
        called = f"async () => [...(await {stub.format(how)}(null, 0))]"
        assert page.evaluate(called) == v
    for steps in (1, 2, 3, 5, 10, 15, 20, 25, 26, 50, 100, 250, 1000):
        pairs = page.evaluate("n => Diffusion.timestepPairs(1000, n)", steps)
        assert [*map(tuple, pairs)] == timestep_pairs(1000, steps)
    for t in (0, 0.3, 1):
        blend = "t => [...Diffusion.slerp(t, ...[1, 42].map(Diffusion.drawNoise))]"
        expected = slerp(t, *draw_noise([1, 42]).split(1)).flatten()
        blended = torch.tensor(page.evaluate(blend, t))
        torch.testing.assert_close(blended, expected, atol=5e-6, rtol=0)


def test_from_disk_it_draws_the_picture_of_exercise_1(visit, diffusion):
    label = labels_for(diffusion.model, "any", [42])
    predict, schedule = predictor(diffusion, label), diffusion.alphas_cumprod
    walk = sample(predict, draw_noise([42]), schedule, 20, "dpmpp")
    *states, (picture, _) = ((x_t[0], x_0[0]) for _, x_t, x_0 in walk)
    picture = picture / 2 + 0.5
    page, live, _ = visit()
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
    page, _, live = visit(server, viewport={"width": 390, "height": 800})
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
    page, live, _ = visit(viewport={"width": 390, "height": 800})
    guidance = live.get_by_role("slider", name="Guidance")
    picture = live.locator("canvas[data-part=picture]")
    set_steps(live, 5)
    live.get_by_text("wax print", exact=True).click()
    guidance.press("ArrowRight")
    guidance.press("ArrowRight")
    press(live, "Draw", "Draw again")
    expected = drawn_in_python(diffusion, 42, 5, family="wax_print", weight=2)
    assert difference(canvas(live, "picture"), expected) < VISIBLE
    assert picture.get_attribute("aria-label") == "the picture, asked for wax print"
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
    assert picture.get_attribute("aria-label") == "the picture, asked for none"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_says_what_is_wrong_and_can_be_tried_again(visit):
    fail_once = """const append = Element.prototype.append;
        Element.prototype.append = function (script) {
            if (!script.src?.endsWith("network.js")) return append.call(this, script);
            Element.prototype.append = append;
            script.onerror();
        };
        navigator.clipboard.writeText = async (text) => { window.copied = text; };"""
    page, live, _ = visit(before=fail_once)
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
    page, live, _ = visit(before=remember)
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
    page, *lives = visit(before=f"delete window.{lost}")
    for live, name in zip(lives, ("draw", "morph"), strict=True):
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


def test_firefox_draws_too(playwright, visit, diffusion):
    try:
        firefox = playwright.firefox.launch()
    except sync_api.Error:
        pytest.skip("no Firefox here: playwright install firefox")
    _, live, _ = visit(browser=firefox)
    set_steps(live, 5)
    press(live, "Draw", "Draw again")
    picture = drawn_in_python(diffusion, 42, 5)
    assert difference(canvas(live, "picture"), picture) < VISIBLE
    firefox.close()
