"""How soon a picture follows the finger in the lesson page, beside Python.

    sphinx-build -n -q -c docs . docs/_build
    python -m benchmarks.page_speed

Opens the page from disk in Chromium, begins a morph, moves its slider, and waits for
the picture of two learnt steps; then Python draws one picture in as many. Prints
medians in milliseconds. Needs playwright and Chromium; leave the machine alone
meanwhile.
"""

import shutil
import statistics
import time

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import run, script_parser
from ddpm.files import ROOT, UserError
from ddpm.sampling import FAST
from ddpm.steering import draw

PLACES = (29, 5, 23, 11, 17, 31, 8, 26, 14)  # of 32, none of them drawn yet
# Moves the slider to another place, and tells when the picture has changed.
FOLLOW = """async ([live, value]) => {
    const slider = live.querySelector("[data-part=time]");
    const picture = live.querySelector("[data-part=picture]");
    const before = picture.toDataURL();
    const began = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (picture.toDataURL() === before)
        await new Promise((done) => setTimeout(done, 2));
    return performance.now() - began;
}"""


def python(diffusion, seed):
    """Milliseconds of one picture in two learnt steps."""
    began = time.perf_counter()
    draw(diffusion, [seed], 2, FAST)
    return 1000 * (time.perf_counter() - began)


def main():
    script_parser(__doc__).parse_args()
    page_file = ROOT / "docs" / "_build" / "README.html"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not page_file.exists() or not browser:
        raise UserError("Render the page first (see above), and install Chromium.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("This needs a package: pip install playwright.") from None
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        page = chromium.new_page()
        page.goto(page_file.as_uri())
        live = page.locator(".live").nth(1)
        live.locator("[data-part=main]").click()
        slider = live.locator("[data-part=time]").element_handle()
        page.wait_for_function("slider => !slider.disabled", arg=slider)
        element = live.element_handle()
        times = {"page": [page.evaluate(FOLLOW, [element, k]) for k in PLACES]}
        chromium.close()
    times["Python"] = [python(diffusion, seed) for seed in PLACES]
    for where, found in times.items():
        middle = statistics.median(found)
        print(f"{where:8} {middle:5.0f} ms a picture, 2 learnt steps")


if __name__ == "__main__":
    run(main)
