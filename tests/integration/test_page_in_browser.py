"""The pages in a real browser: nothing is fetched, nothing is wider than a phone, all is there without scripts."""

import pytest
from browser import browser_in
from comparisons import compared
from html_pages import check_page
from PIL import Image

from tuner.reports.comparison_page import GALLERY, write_comparison_page
from tuner.reports.figures.comparison import FIGURES

pytestmark = pytest.mark.slow

DESKTOP, PHONE = 1280, 390
COUNTS = (
    "['figure', 'figure svg', 'svg image', 'table', 'tbody tr'].map(each => document.querySelectorAll(each).length)"
)
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
READABLE = "[...document.querySelectorAll('p, td, th, dd, caption, code')].every(each => each.getClientRects().length)"
HEIGHTS = (  # an axis's single letter stands on its side, and is as high as it is wide
    "[...document.querySelectorAll('svg text')].filter(each => each.textContent.length > 1)"
    ".map(each => each.getBoundingClientRect().height)"
)
COLOUR_BARS = 1


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A comparison's page with all that one can have."""
    folder = tmp_path_factory.mktemp("page")
    gallery = {what: folder / f"{what}.png" for what in GALLERY}
    for file in gallery.values():
        Image.new("L", (240, 120), 128).save(file)
    comparison = compared("geco", "beta", "linear", "cyclical", "free-bits", "gqn")
    return write_comparison_page(comparison, folder, f"vae-tuner compare {'--set a=b ' * 40}", gallery)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_in(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_it_opens_from_disk_without_a_request_or_a_complaint(width, dark, browser, page):
    browser.open(page, width, dark=dark)
    requested = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
    assert {url for url in requested if not url.startswith("data:")} == {page.as_uri()}
    assert browser.of("Log.entryAdded") == browser.of("Runtime.consoleAPICalled") == []
    assert browser.of("Runtime.exceptionThrown") == browser.of("Network.loadingFailed") == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_it_is_no_wider_than_the_screen(width, browser, page):
    wide, shown = browser.open(page, width).ask(WIDTHS)
    assert wide <= shown <= width


def test_all_is_there_without_scripts(browser, page):
    root = check_page(page.read_text(encoding="utf-8"))
    tables = list(root.all("table"))
    browser.open(page, DESKTOP, scripts=False)
    rows = sum(len(table.rows()) for table in tables)
    assert browser.ask(COUNTS) == [
        *[len(FIGURES) + len(GALLERY)] * 2, len(GALLERY) + COLOUR_BARS, len(tables), rows,
    ]  # fmt: skip
    browser.ask("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert browser.ask(READABLE)


@pytest.mark.parametrize(("width", "pixels"), [(DESKTOP, 10), (PHONE, 8)])
def test_the_text_of_figures_can_be_read(width, pixels, browser, page):
    assert min(browser.open(page, width).ask(HEIGHTS)) >= pixels


@pytest.mark.parametrize("dark", [False, True])
def test_figures_and_tables_follow_the_readers_colours(dark, browser, page):
    browser.open(page, DESKTOP, dark=dark)
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(23, 23, 27)" if dark else "rgb(255, 255, 255)")
    text = browser.ask("getComputedStyle(document.body).color")
    colours = "[...new Set([...document.querySelectorAll('svg text')].map(each => getComputedStyle(each).fill))]"
    assert browser.ask(colours) == [text]


def test_keys_reach_all_that_scrolls_and_opens(browser, page):
    browser.open(page, PHONE)
    reached = []
    for _ in range(8):
        for kind in ("rawKeyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(browser.ask("document.activeElement.className || document.activeElement.tagName"))
    assert reached[:4] == ["skip", "scroll", "SUMMARY", "A"]


def test_what_has_the_focus_is_seen(browser, page):
    browser.open(page, DESKTOP)
    for kind in ("rawKeyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    style = browser.ask("(style => [style.outlineStyle, style.outlineWidth])(getComputedStyle(document.activeElement))")
    assert style == ["solid", "3px"]


def test_figures_stand_side_by_side_where_there_is_room(browser, page):
    lefts = "new Set([...document.querySelectorAll('#q1-the-path ~ .figures figure')].map(e => e.offsetLeft)).size"
    assert browser.open(page, DESKTOP).ask(lefts) == 2
    assert browser.open(page, PHONE).ask(lefts) == 1


def test_the_screenshots_show_it(browser, page, tmp_path):
    for width in (DESKTOP, PHONE):
        browser.open(page, width).screenshot(tmp_path / f"{width}.png")
        with Image.open(tmp_path / f"{width}.png") as image:
            assert image.width <= width
            assert image.height > 3_000
            assert len(image.convert("RGB").getcolors(1 << 24)) > 500
