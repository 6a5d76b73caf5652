"""The lesson page, rendered, in a real browser without a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm.files import ROOT

pytest.importorskip("sphinx_design", reason="pip install -r docs/requirements.txt")
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
PLACES = ("*.rst", "*/README.rst", "docs/*.rst", "from_scratch/*.rst")  # as in conf.py
PAGES = sorted(
    {
        str(path.relative_to(ROOT).with_suffix(".html"))
        for place in PLACES
        for path in ROOT.glob(place)
    }
)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The rendered pages; rendering them says nothing, as instructors should see."""
    out = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-c", "docs", "."]
    built = subprocess.run(
        [sys.executable, *command, str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return out


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, site):
    """Open a page of the site from disk; returns it with lists of what went wrong."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)  # a busy machine takes its time
    page = context.new_page()
    troubles = []
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on(
        "request",
        lambda r: (
            r.url.split(":")[0] in ("file", "data", "blob") or troubles.append(r.url)
        ),
    )

    def open_page(name):
        page.goto((site / name).as_uri())
        page.wait_for_function("window.MathJax?.startup?.promise !== undefined || true")
        page.wait_for_load_state("load")
        if page.locator(".math").count():
            page.evaluate("() => MathJax.startup.promise")
        return page, troubles

    yield open_page
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete_without_a_network(visit, name):
    page, troubles = visit(name)
    for dropdown in page.locator("details.sd-dropdown > summary").all():
        dropdown.press("Enter")
    for image in page.locator("main img:visible").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("i => i.complete", arg=image.element_handle())
    # Of a wide and a narrow figure, the one that is not shown is not fetched.
    shown = "[...document.images].filter(i => i.checkVisibility())"
    page.wait_for_function(f"{shown}.every(i => i.complete)")
    broken = f"{shown}.filter(i => !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert page.locator("main img:not([alt])").count() == 0
    formulas = page.locator(".math").count()
    assert page.locator("mjx-container").count() == formulas
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    shut = page.locator("details.sd-dropdown:not([open])").count()
    assert shut == 0
    assert troubles == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(visit, site, name):
    page, _ = visit(name)
    hrefs = page.eval_on_selector_all(
        "a[href]", "links => links.map(a => a.getAttribute('href'))"
    )
    local = {h.split("#")[0] for h in hrefs if "://" not in h} - {""}
    here = (site / name).parent
    missing = [h for h in local if not (here / h).exists()]
    assert missing == []
    for anchor in {h[1:] for h in hrefs if h.startswith("#") and len(h) > 1}:
        assert page.locator(f'[id="{anchor}"]').count(), anchor


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_screen(visit, name, width):
    page, _ = visit(name)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES)
def test_no_formula_is_cut_on_a_phone(visit, name):
    page, _ = visit(name)
    page.set_viewport_size({"width": 390, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    width = "getBoundingClientRect().width"  # a container that slides hides the end
    cut = f"""divs => divs.filter(d => d.querySelector('svg').{width} > d.clientWidth)
        .map(d => d.textContent)"""
    assert page.locator("div.math").evaluate_all(cut) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_word_is_broken_in_a_table_on_a_phone(visit, name):
    page, _ = visit(name)
    page.set_viewport_size({"width": 390, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    broken = """cells => cells.flatMap(cell => {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        const found = [];
        while (texts.nextNode())
            for (const word of texts.currentNode.data.matchAll(/[^\\s/-]+/g)) {
                const range = document.createRange();
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                const lines = [...range.getClientRects()].map(r => Math.round(r.top));
                if (new Set(lines).size > 1) found.push(word[0]);
            }
        return found;
    })"""
    assert page.locator("main td").evaluate_all(broken) == []


def test_dark_theme_leaves_pictures_alone_and_all_wait_until_they_are_seen(visit):
    page, _ = visit("README.html")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    images = page.locator("main img")
    filters = images.evaluate_all("all => all.map(i => getComputedStyle(i).filter)")
    assert set(filters) == {"none"}
    assert set(images.evaluate_all("all => all.map(i => i.loading)")) == {"lazy"}


def test_animations_stop_at_a_click_and_for_those_who_want_less_motion(visit):
    page, troubles = visit("README.html")
    films = page.locator("main img[src$='.gif']")
    count = films.count()
    assert count == 8  # three of them for screens and for phones
    film, button = films.first, page.locator(".film-button").first
    film.click()
    still = page.locator("main img[src$='.still.png']")
    still.scroll_into_view_if_needed()
    page.wait_for_function(
        "i => i.complete && i.naturalWidth", arg=still.element_handle()
    )
    assert (still.count(), button.text_content()) == (1, "Play")
    assert page.url.endswith("README.html")  # the figure is a link, too
    button.focus()
    page.keyboard.press("Enter")
    assert (still.count(), button.text_content()) == (0, "Stop")
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    assert (still.count(), films.count()) == (count, 0)
    assert troubles == []


def test_quiz_shows_sixteen_in_random_order_and_counts(visit):
    page, troubles = visit("README.html")
    cloth, text = page.locator(".quiz canvas"), page.locator(".quiz p")
    cloth.wait_for()
    orders = []
    for key, go_on in (("D", "Enter"), ("m", "Space")):
        page.locator(".quiz").focus()
        seen = []
        for i in range(16):
            assert text.text_content() == f"Cloth {i + 1} of 16"
            seen.append(cloth.screenshot())
            page.keyboard.press(key)
            said = text.text_content()
            kind = ["from the data set", "by the model"].index(
                re.match(r"(?:Right|Wrong): it is (.*?)\.", said)[1]
            )
            assert said.startswith("Right") == (kind == "dm".index(key.lower()))
            page.keyboard.press("d")  # is no second answer
            assert text.text_content() == said and cloth.screenshot() == seen[-1]
            if i < 15:
                page.keyboard.press(go_on)
        # Eight of them are right, whichever of the two one says throughout.
        assert "You got 8 of 16" in said
        orders.append(seen)
        page.get_by_role("button", name="Again", exact=True).click()
    assert len(set(orders[0])) == 16 and set(orders[0]) == set(orders[1])
    assert orders[0] != orders[1]
    assert troubles == []


@pytest.mark.parametrize("width", [390, 1280])
def test_quiz_stays_as_high_as_it_is(visit, width):
    page, _ = visit("README.html")
    page.set_viewport_size({"width": width, "height": 900})
    card = page.locator(".quiz")
    card.locator("canvas").wait_for()
    heights = set()
    for _ in range(16):
        heights.add(card.bounding_box()["height"])
        page.get_by_role("button", name="By the model").click()
        heights.add(card.bounding_box()["height"])
        page.get_by_role("button", name=re.compile("Next|Again")).click()
    assert len(heights) == 1


def test_questions_answer_what_was_chosen(visit):
    """By keyboard alone, in words, to those who listen, too."""
    page, troubles = visit("README.html")
    boxes = page.locator("div.question").all()
    assert len(boxes) >= 15 and page.locator("div.question details").count() == 0
    for box in boxes[:3]:
        choices, verdict = box.locator("input"), box.locator("[aria-live=polite]")
        said = box.locator("ol li").all_text_contents()  # hidden
        assert choices.count() == len(said)
        box.get_by_role("button", name="Check").press("Enter")
        assert verdict.text_content() == ""  # nothing was chosen yet
        choices.first.focus()
        page.keyboard.press("Space")
        for words in said:
            page.keyboard.press("Enter")
            assert verdict.text_content().strip() == words.strip()
            page.keyboard.press("ArrowDown")
            assert verdict.text_content() == ""
        assert box.get_by_role("group").get_by_role("radio").count() == len(said)
        assert box.get_by_role("radio", name=re.compile(r"\w")).count() == len(said)
    assert troubles == []


def test_questions_are_a_list_with_folded_answers_without_javascript(browser, site):
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto((site / "README.html").as_uri(), wait_until="domcontentloaded")
    box = page.locator("#check-alpha-bar")
    assert box.locator("> ol > li").count() == 4
    assert not box.get_by_text("Right.").is_visible()
    box.locator("summary").click()
    assert box.get_by_text("Right.").is_visible()
    context.close()


@pytest.mark.parametrize(("width", "shown"), [(390, "phones"), (1280, "screens")])
def test_one_of_a_wide_and_a_narrow_figure_is_shown(visit, width, shown):
    page, _ = visit("README.html")
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for name in ("screens", "phones"):
        boxes = page.locator(f".on-{name}")
        drawn = [
            path
            for folder in ("visuals", "comparison/results")
            for path in (ROOT / folder).glob("*.narrow.*")
        ]
        assert boxes.count() == len(drawn)
        assert all(box.is_visible() == (name == shown) for box in boxes.all())
        narrow = boxes.locator("img").evaluate_all("all => all.map(i => i.src)")
        assert all(("narrow" in src) == (name == "phones") for src in narrow)


@pytest.mark.parametrize("width", [390, 1280])
def test_wide_figures_show_that_they_slide_where_they_do(visit, width):
    page, _ = visit("README.html")
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.locator(".wide").evaluate_all(
        """all => all.map(box => [box.scrollWidth > box.clientWidth,
        getComputedStyle(box, '::after').position === 'sticky'])"""
    )
    assert len(found) > 3 and {tuple(pair) for pair in found} == {2 * (width == 390,)}


def test_lesson_has_formulas_dropdowns_and_downloads(visit):
    page, _ = visit("README.html")
    assert page.locator("mjx-container").count() > 10
    assert page.locator("details.sd-dropdown").count() > 10
    for exercise in ("1_generate", "2_explore", "3_morph", "3_sampler", "3_train"):
        assert page.locator(f'main a[href="exercise{exercise}.py"]').count()


def test_front_door_leads_to_the_lesson(visit):
    page, _ = visit("index.html")
    page.wait_for_url(re.compile(r"/README\.html$"))


def test_vendored_files_come_with_their_licence():
    folder = ROOT / "docs" / "_static" / "mathjax"
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    assert "3.2.2" in Path(folder / "tex-svg.js").read_text("utf-8")
