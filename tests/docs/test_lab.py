"""The laboratory in part 1's page: its mathematics against torch, and how it is used."""

import re

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from ddpm.files import ROOT
from from_scratch import diffusion
from from_scratch.datasets import draw
from from_scratch.denoisers import MLP
from from_scratch.metrics import sliced_wasserstein
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.training import ema_decay

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
from test_page import browser  # noqa: E402, F401

LAB = ROOT / "docs" / "lab"
WIDTH, B = 8, 6
ANY = torch.zeros(B, dtype=torch.long)  # the only label of a network without any


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page of the laboratory alone, on disk."""
    page = (ROOT / "from_scratch" / "README.rst").read_text("utf-8")
    block = re.search(r' *<div class="lab">.*?</div>', page, re.S)[0]
    scripts = re.search(
        r"^LAB = \[(.*)\]$", (ROOT / "docs/conf.py").read_text("utf-8"), re.M
    )
    head = [
        f'<link rel="stylesheet" href="{(LAB / "lab.css").as_uri()}">',
        *(
            f'<script defer src="{(LAB / name).as_uri()}"></script>'
            for name in re.findall(r'"(.*?)"', scripts[1])
        ),
    ]
    path = tmp_path_factory.mktemp("lab") / "index.html"
    start = '<!doctype html><meta charset="utf-8">'
    path.write_text("\n".join([start, *head, block]), "utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, address):  # noqa: F811
    """Open the page, after a script; errors and requests elsewhere fail the test."""
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 900})
    context.set_default_timeout(120_000)  # a busy machine takes its time
    troubles = []

    def open_page(before=""):
        page = context.new_page()
        page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda r: r.url.startswith(("file:", "blob:")) or troubles.append(r.url),
        )
        page.add_init_script(before)
        page.goto(address)
        return page

    yield open_page
    context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def calculator(browser, address):  # noqa: F811
    """A page that evaluates what is asked, with the modules as M and P."""
    page = browser.new_page()
    page.goto(address)
    page.evaluate("() => { window.M = labMlp(); window.P = labProcess(); }")
    yield page
    page.close()


# --- The network against torch ----------------------------------------------


def torch_network(T, width=WIDTH):
    torch.manual_seed(0)
    net = MLP(T, width=width, depth=3, activation="silu").double()
    net.label.weight.requires_grad_(False)  # the laboratory has no labels
    return net


def learnt(net):
    return [p for p in net.parameters() if p.requires_grad]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def batch():
    generator = torch.Generator().manual_seed(1)
    shape = {"generator": generator, "dtype": torch.float64}
    return torch.randn(B, 2, **shape), torch.randn(B, 2, **shape)


LEARN = """({theta, x0, eps, t, beta, steps}) => {
    const net = M.network(8, Float64Array.from(theta));
    const process = beta ? P.diffusion(beta) : P.flow();
    const [a, b, c] = [x0, eps, t].map((list) => Float64Array.from(list));
    const memory = M.adam(net);
    const ema = M.network(8, net.theta.slice());
    let first;
    for (let k = 0; k < steps; k++) {
        const found = P.lossAndGradient(M, net, process, a, b, c);
        first ??= found;
        M.adamStep(net, found.gradient, memory, 3e-3);
        M.emaUpdate(ema, net, k, 0.9);
    }
    const [gradient, ends, mean] = [first.gradient, net, ema].map((n) => [...n.theta]);
    return { loss: first.loss, gradient, ends, mean };
}"""


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_gradient_adam_and_moving_average_are_those_of_torch(calculator, kind):
    x_0, eps = batch()
    schedule = NoiseSchedule(SCHEDULES["linear"](50))
    if kind == "diffusion":
        t = torch.tensor([0, 1, 7, 20, 48, 49])

        def loss(net):
            def eps_theta(x_t, t):
                return net(x_t, t.double(), ANY)

            return diffusion.loss(schedule, eps_theta, x_0, t, eps).mean()

    else:
        t = torch.tensor([0, 0.1, 0.3, 0.5, 0.9, 1], dtype=torch.float64)

        def loss(net):  # Lipman et al. (2023), eq. 23, with time turned round
            x_t = (1 - t[:, None]) * x_0 + t[:, None] * eps
            return (eps - x_0 - net(x_t, t, ANY)).square().mean()

    net = torch_network(50 if kind == "diffusion" else 1)
    theta = flat(learnt(net)).tolist()
    optimizer = torch.optim.Adam(learnt(net), 3e-3)
    ema = torch.tensor(theta, dtype=torch.float64)
    first = None
    for k in range(4):
        optimizer.zero_grad()
        value = loss(net)
        value.backward()
        first = first or (value.item(), flat([p.grad for p in learnt(net)]).clone())
        optimizer.step()
        ema = ema.lerp(flat(learnt(net)).detach(), 1 - ema_decay(k, 0.9))

    found = calculator.evaluate(
        LEARN,
        {
            "theta": theta,
            "x0": x_0.flatten().tolist(),
            "eps": eps.flatten().tolist(),
            "t": t.tolist(),
            "beta": schedule.beta.tolist() if kind == "diffusion" else None,
            "steps": 4,
        },
    )
    ends = flat(learnt(net)).detach()
    assert found["loss"] == pytest.approx(first[0])
    for name, expected in (("gradient", first[1]), ("ends", ends), ("mean", ema)):
        values = torch.tensor(found[name], dtype=torch.float64)
        torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-8)
    assert (ends - torch.tensor(theta)).abs().max() > 1e-3  # they have moved


def test_first_weights_have_the_spread_of_torch(calculator):
    draw_them = """w => M.randomNetwork(w, P.uniformFrom(2)).parts
        .flatMap(({ weight, bias }) => [[...weight], [...bias]])"""
    theirs = learnt(torch_network(1000, width=64))
    mine = [torch.tensor(part) for part in calculator.evaluate(draw_them, 64)]
    assert [len(part) for part in mine] == [part.numel() for part in theirs]
    for some, others in zip(mine, theirs, strict=True):
        if len(some) > 500:
            assert some.mean().abs() < 0.1 * some.std()
            torch.testing.assert_close(
                some.std(), others.std().float(), rtol=0.05, atol=0
            )


# --- Schedules and samplers against Python ----------------------------------


@pytest.mark.parametrize("T", [5, 10, 50, 200, 1000])  # the choices of the page
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_and_walks_are_those_of_python(calculator, name, T):
    schedule = NoiseSchedule(SCHEDULES[name](T))
    found = calculator.evaluate(
        f"""T => {{
        const {{ alphaBar }} = P.diffusion(P.{name}Beta(T));
        return Array.from({{ length: T }}, (_, t) => alphaBar(t));
    }}""",
        T,
    )
    torch.testing.assert_close(torch.tensor(found).double(), schedule.alpha_bar)
    for steps in (1, 2, 3, 5, 10, 20, 50):
        if steps <= T:
            times = calculator.evaluate(
                "([T, n]) => P.diffusion(P.linearBeta(T)).times(n)", [T, steps]
            )
            pairs = diffusion.timestep_pairs(T, steps)
            assert times == [pairs[0][0], *(s for _, s in pairs)]


STEP = """([beta, sampler, clip, rows]) => rows.map(([x, eps, t, s, z]) =>
    P.diffusion(beta).step(x, eps, t, s, { sampler, clip, z }))"""


@pytest.mark.parametrize("name", diffusion.SAMPLERS)
def test_steps_are_those_of_python(calculator, name):
    schedule = NoiseSchedule(SCHEDULES["cosine"](50))
    x, eps = (v[:, 0] for v in batch())
    z = x.flip(0)
    for t, s in ((49, 37), (20, 19), (3, -1)):
        x_0 = diffusion.predict_x_0(schedule, x, t, eps).clamp(-1.5, 1.5)
        expected = diffusion.SAMPLERS[name](schedule, x_0, x, t, s, z)
        rows = [
            [xi, e, t, s, zi] for xi, e, zi in torch.stack([x, eps, z], dim=1).tolist()
        ]
        found = calculator.evaluate(STEP, [schedule.beta.tolist(), name, 1.5, rows])
        torch.testing.assert_close(torch.tensor(found).double(), expected)


def test_flow_walks_a_gaussian_home(calculator):
    """Data N(m, s^2): the exact velocity is known, and so is where each point ends.

    x_t is N((1 - t) m, (1 - t)^2 s^2 + t^2), and eps = (x_1 - 0) goes to m + s eps.
    """
    end = calculator.evaluate(
        """([m, s, steps]) => {
        const u = (x, t) => x.map((xi) => {
            const variance = ((1 - t) * s) ** 2 + t * t;
            return -m + ((t - (1 - t) * s * s) / variance) * (xi - (1 - t) * m);
        });
        const eps = Float64Array.of(-1, 0, 0.5, 2);
        return [...P.walk(P.flow(), u, eps, { steps }).at(-1).x];
    }""",
        [0.8, 0.5, 2000],
    )
    assert end == pytest.approx([0.3, 0.8, 1.05, 1.8], abs=2e-3)


def test_distance_is_that_of_python(calculator):
    a, b = draw("moons", 70, 0)[0], draw("circles", 50, 1)[0]
    found = calculator.evaluate(
        "(pair) => P.slicedWasserstein(...pair.map((p) => Float64Array.from(p)))",
        [a.flatten().tolist(), b.flatten().tolist()],
    )
    assert found == pytest.approx(sliced_wasserstein(a, b), rel=1e-5)


def test_the_short_chain_is_as_short_as_the_page_says():
    first, second = NoiseSchedule(SCHEDULES["linear"](5)).alpha_bar[:2]
    page = " ".join((ROOT / "from_scratch/README.rst").read_text("utf-8").split())
    assert f"{first:.2f} at t = 0, {second:.5f} at t = 1" in page


# --- In the hands of a reader -----------------------------------------------


def main_button(page, says):
    button = page.locator("[data-part=main]")
    sync_api.expect(button).to_have_text(says, timeout=120_000)
    return button


def learn(page, steps):
    """Press the button, and pause after so many steps."""
    page.locator("[data-part=main]").click()
    page.wait_for_function(
        """steps => parseInt(document.querySelector("[data-part=main]").dataset.progress
        ?.replace(",", "")) >= steps""",
        arg=steps,
        timeout=120_000,
    )
    main_button(page, "Pause").click()
    main_button(page, "Go on")


def distances(page):
    """Of diffusion, flow and noise from the data, as the panels say them."""
    captions = [
        page.locator(f"[data-part={name}Caption]") for name in ("diffusion", "flow")
    ]
    found = [
        re.search(r"distance (.*) \(noise (.*)\)", c.inner_text()) for c in captions
    ]
    assert found[0][2] == found[1][2]
    return float(found[0][1]), float(found[1][1]), float(found[0][2])


def ink(canvas):
    """Grey levels (H, W) of what is seen of a canvas."""
    return iio.imread(canvas.screenshot())[..., :3].mean(axis=2)


def test_it_learns_two_moons_in_a_worker(visit):
    page = visit()
    main_button(page, "Train")
    assert page.locator(".lab").get_attribute("data-where") == "worker"
    learn(page, 150)
    *models, noise = distances(page)
    assert max(models) < 0.7 * noise
    loss = page.get_by_role("img", name=re.compile("Loss at step"))
    found = re.search(r"diffusion (.*), flow (.*)", loss.get_attribute("aria-label"))
    # What answering 0 costs is 1 and 2.
    assert float(found[1]) < 0.6 and float(found[2]) < 1.7

    time = page.get_by_role("slider", name="From noise to data")
    flow = page.locator("[data-part=flowCaption]")
    time.press("Home")
    assert time.get_attribute("aria-valuetext").startswith("diffusion t = 999")
    assert "t = 1.00" in flow.inner_text()
    time.fill("50")
    assert "t = 0.50" in flow.inner_text()
    before = page.locator("[data-part=flow]").screenshot()
    page.get_by_label("arrows").uncheck()
    assert page.locator("[data-part=flow]").screenshot() != before

    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    name = download.value.suggested_filename
    assert name == "laboratory_linear_T1000_width32_ddim_20.png"
    assert iio.imread(download.value.path())[..., :3].std() > 5
    assert "Saved" in page.get_by_role("status").inner_text()

    page.get_by_role("button", name="Reset").click()
    main_button(page, "Train")
    sync_api.expect(loss).to_have_count(0)


def test_points_are_drawn_by_mouse_and_by_keyboard(visit):
    page = visit()
    canvas, caption = (
        page.locator("[data-part=data]"),
        page.locator("[data-part=dataCaption]"),
    )
    page.get_by_role("button", name="Clear").press("Enter")
    assert "0 points" in caption.inner_text()
    assert page.locator("[data-part=main]").is_disabled()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    assert "6 points" in caption.inner_text()
    # 0.2 of 5.8 units to the right: eight times 6 points on the way.
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.25 * box["height"])
    assert "54 points" in caption.inner_text()
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])  # no button pressed: nothing is drawn
    assert "54 points" in caption.inner_text()
    page.keyboard.press("Tab")  # from the canvas on, and back
    page.keyboard.press("Shift+Tab")
    for key in ("ArrowRight", "Space", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert "66 points" in caption.inner_text()
    # Up left there is ink, down left there is none.
    pixels = ink(canvas)
    middle = len(pixels) // 2
    assert (
        pixels[5:middle, 5:middle].std() > 1 > pixels[middle:-5, 5 : middle - 9].std()
    )
    for name in ("Ring", "Spiral", "Eight Gaussians", "Two moons"):
        page.get_by_role("button", name=name).click()
        assert "1,000 points" in caption.inner_text()
        # Nearly centred and of variance 1, as the page's data: by the ink.
        places = np.argwhere(ink(canvas) < 128) / len(ink(canvas)) * 5.8 - 2.9
        assert np.abs(places.mean(axis=0)).max() < 0.4
        assert places.var(axis=0).mean() == pytest.approx(1, abs=0.15)
    learn(page, 1)


def test_settings_begin_anew_and_sampling_does_not(visit):
    page = visit()
    learn(page, 1)
    steps = page.get_by_role("slider", name="Sampling steps")
    steps.press("Home")
    page.get_by_text("DDPM").click()
    main_button(page, "Go on")  # what is learnt stays
    sync_api.expect(steps).to_have_attribute("aria-valuetext", "1")
    steps.press("End")
    page.get_by_role("slider", name="Timesteps T").press("Home")
    main_button(page, "Train")
    sync_api.expect(steps).to_have_attribute("aria-valuetext", "5")  # no more than T
    page.get_by_text("Cosine").click()
    page.get_by_role("slider", name="Width").press("Home")
    page.get_by_role("slider", name="Width").press("ArrowRight")
    main_button(page, "Train").click()
    assert (
        "T = 5, cosine schedule, 8 units wide"
        in page.get_by_role("status").inner_text()
    )


REFUSED = "window.Worker = class { constructor() { throw new Error('refused'); } };"
REFUSED_LATE = """window.Worker = class {
    terminate() {}
    postMessage() { setTimeout(() => this.onerror?.(new Event("error")), 50); }
};"""


@pytest.mark.parametrize("how", [REFUSED, REFUSED_LATE], ids=["at once", "late"])
def test_without_workers_it_learns_in_the_page(visit, how):
    page = visit(how)
    page.wait_for_selector(".lab[data-where=page]")
    learn(page, 5)


def test_it_learns_in_firefox(address, tmp_path):
    bidi = pytest.importorskip("firefox", reason="pip install websockets")
    if not bidi.BROWSER:
        pytest.skip("no Firefox here: apt-get install firefox-esr")
    with bidi.launched(tmp_path) as firefox:
        firefox.visit(address)
        firefox.drag("[data-part=data]", (0.2, 0.9), (0.8, 0.9))
        caption = firefox.evaluate(
            "document.querySelector('[data-part=dataCaption]').textContent"
        )
        assert int(re.search(r"([\d,]+) points", caption)[1].replace(",", "")) > 1000
        firefox.drag("[data-part=main]")
        main = "document.querySelector('[data-part=main]')"
        firefox.wait_for(f"parseInt({main}.dataset.progress) >= 5")
        firefox.drag("[data-part=main]")
        firefox.wait_for(f"{main}.textContent === 'Go on'")
        said = firefox.evaluate("document.querySelector('[role=status]').textContent")
        assert "steps learnt" in said
