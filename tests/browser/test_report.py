"""The report in a real browser: it complains of nothing, draws every plot, filters by keyboard, and fits desktop,
telephone and paper, by day and by night."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.browser.conftest import Open
from tests.conftest import ROOT
from tests.unit.report.conftest import MakeStudy, write
from tests.unit.report.test_analysis import folder_with_units
from tests.unit.report.test_robustness import robustness_rows
from topotune.files import write_csv
from topotune.folder import ROBUSTNESS_COLUMNS, StudyFolder
from topotune.report.page import write_report
from topotune.report.study import ReportStudy

pytestmark = pytest.mark.slow

IMPORTANCES = {"weight": 0.7, "learning_rate": 0.3}
# how much was drawn in each plot: marks of traces, lines, bars
DRAWN = """[...document.querySelectorAll("[data-plot]")].map(
  (one) => [one.dataset.plot, one.querySelectorAll(".point, .js-line, .js-fill, .shapelayer path").length])"""


@pytest.fixture
def whole(make_study: MakeStudy) -> StudyFolder:
    """A study in which every stage has run."""
    folder = folder_with_units(make_study)
    write_csv(folder.robustness_table, ROBUSTNESS_COLUMNS, robustness_rows(perturbations=("weight", "white", "fog")))
    for number in range(5):
        curve = [{"epoch": epoch, "validation_accuracy": 0.1 * epoch} for epoch in (1, 2, 3)]
        write_csv(folder.trial(number) / "metrics.csv", list(curve[0]), curve)
    return folder


def _until(page: Page, condition: str, seconds: int = 60) -> None:
    """Wait for a condition; the page's own policy forbids Playwright to look again and again by itself."""
    for _ in range(10 * seconds):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"not within {seconds} s: {condition}")


def _curves(page: Page, plot: str) -> set[Any]:
    """The topographies that a plot shows."""
    found = page.evaluate(f'document.querySelector("[data-plot={plot}]").data.map((one) => one.meta?.topography)')
    return set(found)


def test_every_plot_is_drawn_and_nothing_is_wrong(whole: StudyFolder, open_page: Open, complaints: list[str]) -> None:
    page = open_page(write(whole, IMPORTANCES))
    drawn = dict(page.evaluate(DRAWN))
    wanted = {"weight", "parallel", "importances", "settings", "learning", "history", "confirmed", "differences"}
    wanted |= {"pruning-1", "robustness", "correlation", "map-1", "map-2", "map-3"}
    assert set(drawn) == wanted
    assert all(count > 1 for count in drawn.values()), drawn
    assert complaints == []


def test_the_browser_sees_what_is_wrong(whole: StudyFolder, open_page: Open, complaints: list[str]) -> None:
    """A plot without data, and a script that is not the page's own, so that the test above can fail."""
    text = write(whole).read_text(encoding="utf-8")
    worse = whole.path / "worse.html"
    worse.write_text(text.replace("</main>", '<div data-plot="gone"></div><script>1</script></main>'), encoding="utf-8")
    page = open_page(worse, drawn=False)
    _until(page, "document.querySelectorAll('[data-plot=weight] .point').length > 0")
    assert any("Content Security Policy" in one for one in complaints)
    page.wait_for_timeout(3000)
    assert any("undefined" in one for one in complaints)
    assert dict(page.evaluate(DRAWN))["gone"] == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_a_desktop_and_a_telephone(width: int, whole: StudyFolder, open_page: Open) -> None:
    page = open_page(write(whole, IMPORTANCES), width)
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1] == width
    ends = page.evaluate("[...document.querySelectorAll('.main-svg')].map((one) => one.getBoundingClientRect().right)")
    assert max(ends) <= width


# of each plot with small panels: their domains, and of maps how large a square is, in steps to the nearest neighbour
PANELS = """[...document.querySelectorAll("[data-plot]")].filter((one) => one.layout.meta?.grid).map((one) => {
  const axes = Object.keys(one.layout).filter((key) => /^xaxis/.test(key));
  const domains = axes.map((x) => [...one.layout[x].domain, ...one.layout[x.replace("x", "y")].domain]);
  const maps = one.data.filter((trace) => trace.meta?.extent).map((trace) => {
    const axis = one._fullLayout[trace.xaxis.replace("x", "xaxis")];
    const at = [...new Set(trace.x.map((x) => Math.round(100 * axis.l2p(x)) / 100))].sort((a, b) => a - b);
    return trace.marker.size / Math.min(...at.slice(1).map((x, place) => x - at[place]));
  });
  return [one.dataset.plot, domains, maps];
})"""


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (400, 1)])
def test_small_panels_stand_beside_each_other(width: int, columns: int, whole: StudyFolder, open_page: Open) -> None:
    """As many as there is room for, none over another; the squares of a map touch and do not overlap."""
    found = {name: (domains, maps) for name, domains, maps in open_page(write(whole), width).evaluate(PANELS)}
    assert {"robustness", "correlation", "map-1"} <= set(found)
    for name, (domains, maps) in found.items():
        for place, (left, right, bottom, top) in enumerate(domains):
            assert 0 <= left < right <= 1.0001, name
            assert -0.0001 <= bottom < top <= 1.0001, name
            apart = [right <= one[0] or one[1] <= left or top <= one[2] or one[3] <= bottom for one in domains[:place]]
            assert all(apart), name
        assert all(0.9 < size < 1.05 for size in maps), (name, maps)
    assert len({round(left, 3) for left, *_ in found["robustness"][0]}) == columns


def test_topographies_are_filtered_with_the_keyboard(
    whole: StudyFolder, open_page: Open, complaints: list[str]
) -> None:
    page = open_page(write(whole))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "none"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "grid2d"
    rows = page.locator('tr[data-topography="grid2d"]')
    assert rows.count() > 4
    assert "grid2d" in _curves(page, "pruning-1")
    page.keyboard.press("Space")
    page.wait_for_selector("html[data-drawn]", timeout=120_000)
    assert all("grid2d" not in _curves(page, plot) for plot in ("weight", "pruning-1", "confirmed", "robustness"))
    assert "sphere" in _curves(page, "pruning-1")
    assert not any(one.is_visible() for one in rows.all())
    assert page.locator('tr[data-topography="sphere"]').first.is_visible()
    assert page.get_by_role("status").inner_text() == "3 of 4 shown"
    maps = page.locator('figure[data-topography="grid2d"]')
    assert maps.count() == 1
    assert not maps.is_visible()
    page.get_by_role("button", name="All").press("Enter")
    page.wait_for_selector("html[data-drawn]", timeout=120_000)
    assert "grid2d" in _curves(page, "pruning-1")
    assert rows.first.is_visible()
    assert complaints == []


def test_nothing_leaves_the_page(whole: StudyFolder, open_page: Open, complaints: list[str]) -> None:
    """Plotly's own button that uploads a plot is not there, and the page's policy would not let it."""
    page = open_page(write(whole))
    buttons = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map((one) => one.ariaLabel)")
    assert set(buttons) == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
    page.evaluate("fetch('https://cloud.example/x').catch(() => {})")
    _until(page, "true")
    assert any("Content Security Policy" in one and "connect-src" in one for one in complaints)


def test_a_screen_reader_is_told_what_is_there(whole: StudyFolder, open_page: Open) -> None:
    page = open_page(write(whole))
    assert page.get_by_role("img", name="Accuracy against the proportion pruned").is_visible()
    assert page.get_by_role("checkbox", name="sphere").is_checked()
    assert page.get_by_role("group", name="Topographies in plots and tables").is_visible()
    for heading in ("Confirmed results", "Pruning", "Robustness", "Methods, for a paper", "Provenance"):
        assert page.get_by_role("region", name=heading, exact=True).is_visible()


@pytest.mark.parametrize(("scheme", "background"), [("light", (255, 255, 255)), ("dark", (22, 25, 29))])
def test_day_and_night(scheme: str, background: tuple[int, ...], whole: StudyFolder, open_page: Open) -> None:
    """Also while the page is open; the control's colour is that of the text."""
    page = open_page(write(whole), color_scheme=scheme)
    look = 'document.querySelector("[data-plot=pruning-1]").data.find((one) => one.name == "none (control)").line.color'
    colours = {"light": "#1c1f23", "dark": "#e4e7ea"}
    assert page.evaluate(look) == colours[scheme]
    picture = Image.open(io.BytesIO(page.locator("[data-plot=pruning-1]").screenshot())).convert("RGB")
    assert picture.getpixel((3, 3)) == background
    assert len(picture.getcolors(1_000_000) or []) > 50
    other = "dark" if scheme == "light" else "light"
    page.emulate_media(color_scheme=other)
    _until(page, f"{look} == '{colours[other]}'")


def test_it_prints_on_paper(whole: StudyFolder, open_page: Open) -> None:
    """Plots are as wide as the paper, and light, and are the screen's own again afterwards."""
    page = open_page(write(whole), color_scheme="dark")
    width = 'document.querySelector("[data-plot=pruning-1] .main-svg").getBoundingClientRect().width'
    before = page.evaluate(width)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    _until(page, f"{width} == 680")
    colour = 'document.querySelector("[data-plot=pruning-1]").layout.font.color'
    assert page.evaluate(colour) == "#1c1f23"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    _until(page, f"{width} == {before}")
    assert len(page.pdf(format="A4")) > 100_000


def test_several_studies(make_study: MakeStudy, open_page: Open, complaints: list[str], tmp_path: Path) -> None:
    studies = [ReportStudy.read(make_study(stage, within=stage, name=stage)) for stage in ("prune", "search")]
    page = open_page(write_report(studies, tmp_path / "both.html"))
    assert all(count > 1 for _name, count in page.evaluate(DRAWN))
    page.get_by_role("navigation").get_by_role("link", name="search").click()
    assert page.get_by_role("heading", name="search", exact=True).is_visible()
    assert complaints == []


def test_a_photograph_of_a_report(whole: StudyFolder, browser: object, tmp_path: Path) -> None:
    """docs/screenshots.py, as a person runs it: with its plots."""
    write(whole)
    command = [sys.executable, ROOT / "docs" / "screenshots.py", whole.path, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'report.png'}\n"
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size == (1100, 2600)
        colours = {colour: count for count, colour in picture.convert("RGB").getcolors(1_000_000) or []}
        assert colours[0, 114, 178] > 300  # grid2d's, in plots and not in the filter alone
