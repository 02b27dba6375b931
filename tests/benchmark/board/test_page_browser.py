"""The page in a real browser, opened from a file: sorted, filtered, shared, by keyboard, with and without JavaScript.

Needs Debian's `chromium`, or another one named by $SEIZURE_BENCH_CHROMIUM; without it these tests are skipped, but
fail where CI or SEIZURE_BENCH_CI is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmark.board.page import page_files
from tests.benchmark.board.boards import board, files_in, hostile_board

QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
DEMO = "#demo-forecast-5s-clinical-patient-disjoint-table"
SUBMISSION = "submissions/demo-8-xspecies-videomae.html"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1440, "height": 900}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("SEIZURE_BENCH_CHROMIUM") or shutil.which("chromium")
    if path is None:
        missing = "no chromium: install it (apt-get install chromium), or name one by SEIZURE_BENCH_CHROMIUM"
        if os.environ.get("CI") or os.environ.get("SEIZURE_BENCH_CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*QUIET, *root])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    files_in(made, page_files(board()))
    files_in(made / "hostile", page_files(hostile_board()))
    return made


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Iterator[Open]:
    """Opens a file of the page; in the end, nothing was asked of another host and nothing was complained of."""
    contexts, complaints, asked = [], [], []

    def opening(name: str = "index.html", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{folder.as_uri()}/{name}")
        return page

    yield opening
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:,"))] == []


def methods(page: Page) -> list[str]:
    """Of the demo track's shown rows, from top to bottom."""
    return page.locator(f"{DEMO} tbody tr:visible th a").all_text_contents()


def head(page: Page, key: str) -> Any:
    return page.locator(f"{DEMO} th[data-key={key}]")


def test_a_heading_sorts_down_then_up_then_as_the_board_had_it(opened: Open) -> None:
    page = opened()
    as_made = methods(page)
    button = head(page, "roc_auc").get_by_role("button", name="ROC-AUC", exact=True)
    button.click()
    assert head(page, "roc_auc").get_attribute("aria-sort") == "descending"
    assert methods(page)[:3] == ["motion_features", "probe_first_frame", "linear_probe"]
    assert methods(page)[3] == "chance", "0.507 stands above 0.505, though the board keeps it at the bottom"
    button.click()
    assert head(page, "roc_auc").get_attribute("aria-sort") == "ascending"
    assert methods(page)[0] == "zero_shot(head=rodent-prototype)"
    button.click()
    assert head(page, "roc_auc").get_attribute("aria-sort") == "none"
    assert methods(page) == as_made


def test_ties_keep_the_boards_order_and_what_is_missing_goes_last(opened: Open) -> None:
    page = opened()
    as_made = methods(page)
    head(page, "size").get_by_role("button").click()
    sizes = [methods_size.strip() for methods_size in page.locator(f"{DEMO} tbody td.size").all_text_contents()]
    assert sizes == ["tiny"] * 8 + ["-"] * 4
    tiny = methods(page)[:8]
    assert tiny == [name for name in as_made if name in tiny]
    head(page, "size").get_by_role("button").click()
    assert page.locator(f"{DEMO} tbody td.size").all_text_contents()[-1].strip() == "-"
    head(page, "brier").get_by_role("button").click()
    assert head(page, "brier").get_attribute("aria-sort") == "ascending", "of an error the lowest comes first"
    ward = page.locator("table[data-track^=ward] tbody tr th a")
    brier = page.locator("table[data-track^=ward] th[data-key=brier] button")
    for _ in range(2):
        brier.click()
        assert ward.all_text_contents() == ["xspecies_videomae", "x3d", "chance"], "withheld ones stay below"


def test_words_and_boxes_filter_and_the_count_is_told(opened: Open) -> None:
    page = opened()
    told = page.get_by_role("status")
    expect(told).to_have_text("23 of 23 rows shown.")
    page.get_by_label("Find").fill("Zero_Shot RODENT")
    expect(told).to_have_text("1 of 23 rows shown.")
    assert methods(page) == ["zero_shot(head=rodent-prototype)"]
    expect(page.locator("#reported-paper-2603-12887 .no-rows")).to_be_visible()
    page.get_by_label("Find").fill("")
    page.get_by_label("rendered video").uncheck()
    page.get_by_label("ablations").uncheck()
    expect(told).to_have_text("10 of 23 rows shown.")
    assert methods(page) == []
    page.get_by_role("button", name="Show all").click()
    expect(told).to_have_text("23 of 23 rows shown.")


def test_a_filtered_and_sorted_view_can_be_shared_by_its_address(opened: Open) -> None:
    page = opened()
    page.get_by_label("Find").fill("random-init & <b>")
    page.get_by_label("Find").fill("random-init")
    page.get_by_label("chance and trivial cues").uncheck()
    page.get_by_label("each number of shots").check()
    head(page, "brier").get_by_role("button").first.click()
    seen = methods(page)
    assert len(seen) == 7
    other = opened(f"index.html#{page.url.partition('#')[2]}")
    assert methods(other) == seen
    assert head(other, "brier").get_attribute("aria-sort") == "ascending"
    expect(other.locator(f"{DEMO} th[data-key=roc_auc-2]")).to_be_visible()
    expect(other.get_by_role("status")).to_have_text("7 of 23 rows shown.")


def test_nonsense_in_the_address_is_ignored(opened: Open) -> None:
    page = opened("index.html#sort=x.y.z,.,constructor.up.down&without=status&find=%00%3Cscript%3E&shots=__proto__")
    expect(page.get_by_role("status")).to_have_text("0 of 23 rows shown.")
    page.get_by_role("button", name="Show all").click()
    assert len(methods(page)) == 12


def test_a_submission_opens_and_going_back_keeps_the_view(opened: Open) -> None:
    page = opened()
    page.get_by_label("Find").fill("videomae")
    page.locator(DEMO).get_by_role("link", name="xspecies_videomae").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("xspecies_videomae")
    expect(page.get_by_text("Rendered video: says nothing about patients.")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("status")).to_have_text("2 of 23 rows shown.")
    assert methods(page) == ["xspecies_videomae"]


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(opened: Open, system: str) -> None:
    other = {"light": "dark", "dark": "light"}[system]
    page = opened(color_scheme=system)
    paper = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(paper)
    page.get_by_role("button", name=f"{other.capitalize()} theme").click()
    chosen = page.evaluate(paper)
    assert chosen != first
    page.reload()
    assert page.evaluate(paper) == chosen, "it is remembered"
    page.emulate_media(color_scheme=other)  # type: ignore[arg-type]
    assert page.evaluate(paper) == chosen
    page.get_by_role("button", name=f"{system.capitalize()} theme").click()
    assert page.evaluate(paper) == first


def test_all_works_where_storage_is_forbidden(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))
    forbid = (
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page.add_init_script(forbid)
    page.goto(f"{folder.as_uri()}/index.html")
    page.get_by_role("button", name="Dark theme").click()
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()
    page.get_by_label("Find").fill("chance")
    expect(page.get_by_role("status")).to_have_text("2 of 23 rows shown.")
    assert errors == []
    page.close()


def test_the_keyboard_alone_is_enough(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()

    def tab_to(what: Any) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if what.evaluate("e => e === document.activeElement"):
                outline = what.evaluate("e => getComputedStyle(e).outlineStyle")
                assert outline != "none", "the focus is seen"
                return
        raise AssertionError("never reached")

    tab_to(page.get_by_label("Find"))
    page.keyboard.type("motion")
    assert methods(page) == ["motion_features", "motion_energy"]
    tab_to(page.get_by_label("chance and trivial cues"))
    page.keyboard.press("Space")
    assert methods(page) == ["motion_features"]
    page.keyboard.press("Space")
    tab_to(page.locator(f"{DEMO} >> xpath=.."))
    tab_to(head(page, "roc_auc").get_by_role("button"))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert methods(page) == ["motion_energy", "motion_features"]
    expect(head(page, "roc_auc").get_by_role("button")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("2 of 23 rows shown. Sorted by ROC-AUC, ascending.")
    tab_to(page.locator(DEMO).get_by_role("link", name="motion_features"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("motion_features")


@pytest.mark.parametrize("name", ["index.html", SUBMISSION, "submissions/paper-2603-12887.html"])
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_serious(opened: Open, name: str, look: str) -> None:
    size = PHONE if look == "phone" else DESKTOP
    page = opened(name, viewport=size, color_scheme="dark" if look == "dark" else "light", reduced_motion="reduce")
    for closed in page.locator("details").all():
        closed.evaluate("e => e.open = true")
    response = Axe().run(page).response
    found = response["violations"]
    assert len(response["passes"]) > 20, "it looked"
    assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("name", ["index.html", SUBMISSION, "hostile/index.html", "hostile/submissions/evil.html"])
def test_a_phone_never_scrolls_the_page_sideways(opened: Open, name: str) -> None:
    page = opened(name, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_on_a_phone_the_table_scrolls_and_the_method_stays(opened: Open) -> None:
    page = opened(viewport=PHONE)
    region = page.get_by_role("region", name="Table: Demo set: will a seizure begin within 5 s?")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    name = page.locator(f"{DEMO} tbody th").first
    before = name.bounding_box()
    region.evaluate("e => { e.scrollLeft = 300; }")
    assert name.bounding_box() == before


def test_print_is_light_whole_and_without_controls(opened: Open) -> None:
    page = opened(color_scheme="dark", viewport={"width": 1032, "height": 700})  # A4 landscape between its margins
    page.get_by_role("button", name="Light theme").click()
    page.get_by_role("button", name="Dark theme").click()
    page.get_by_label("Find").fill("chance")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(methods(page)) == 12, "a filter does not cut what is printed"
    for control in ("#controls", "#theme", ".skip", ".no-rows"):
        expect(page.locator(control).first).to_be_hidden()
    for region in page.locator(".scroll").all():
        assert region.evaluate("e => e.scrollWidth <= e.clientWidth && getComputedStyle(e).overflowX === 'visible'")


def test_in_portrait_nothing_falls_off_the_paper(opened: Open) -> None:
    page = opened(viewport={"width": 794, "height": 1123})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    expect(page.locator(f"{DEMO} th[data-key=pool]")).to_be_hidden()


def test_without_javascript_it_is_the_boards_tables(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    expect(page.locator(DEMO).get_by_role("row")).to_have_count(13)
    expect(page.locator(f"{DEMO} th[data-key=roc_auc-2]")).to_be_visible()
    expect(page.locator("#controls")).to_be_hidden()
    assert page.get_by_role("button").count() == 0, "no button that would do nothing"


@pytest.mark.parametrize("name", ["hostile/index.html", "hostile/submissions/evil.html"])
def test_hostile_text_does_nothing(opened: Open, name: str) -> None:
    page = opened(name)
    assert page.title() != "OWNED"
    assert page.locator("img").count() == 0


def test_the_policy_stops_a_script_that_got_in(browser: Browser, folder: Path) -> None:
    index = (folder / "index.html").read_text(encoding="utf-8")
    injected = index.replace(
        "<h1>", "<script>document.title = 'OWNED'</script><img src=x onerror=\"document.title='OWNED'\"><h1>"
    )
    (folder / "injected.html").write_text(injected, encoding="utf-8")
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{folder.as_uri()}/injected.html")
    assert page.title() == "seizure-bench leaderboard"
    assert any("Content Security Policy" in text for text in refused)
    page.close()
