"""The report as a reader uses it: a real Chromium, the page opened from disk."""

import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from amodal_bench.metrics.compare import compare
from amodal_bench.metrics.protocol import find_protocol, protocols
from amodal_bench.metrics.scores import metrics
from amodal_bench.report.build import WrittenReport
from amodal_bench.report.pairs import signed
from amodal_bench.store.folder import find_runs

WHITE = "rgb(255, 255, 255)"


def rows(page: Page) -> Locator:
    return page.locator("#overview tbody tr:visible")


def labels(page: Page) -> list[str]:
    return page.locator("#overview tbody tr:visible th").all_inner_texts()


def column(page: Page, metric: str) -> list[float]:
    texts = page.locator(f'#overview tbody tr:visible [data-metric="{metric}"] .value').all_inner_texts()
    return [float(text) for text in texts]


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


@pytest.fixture(scope="module")
def tables(results: Path, draws: int) -> dict[str, pd.DataFrame]:
    """label -> the scores of every protocol, computed apart from the page."""
    every = list(protocols().values())
    return {run.record()["preset"]: metrics(run.instances(), every, draws=draws) for run in find_runs(results)}


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order(page: Page) -> None:
    heading = page.get_by_role("columnheader", name="mIoU_full")
    heading.get_by_role("button").click()
    down = column(page, "mIoU_full")
    assert down == sorted(down, reverse=True)
    expect(heading).to_have_attribute("aria-sort", "descending")
    heading.get_by_role("button").click()
    assert column(page, "mIoU_full") == sorted(down)
    expect(heading).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="method", exact=True).click()
    assert labels(page) == sorted(labels(page), key=str.lower)


def test_undefined_values_come_last_in_both_orders(page: Page) -> None:
    page.select_option("#subset", "bucket {0}")
    for _ in range(2):
        page.get_by_role("button", name="mIoU_inv ↑").click()
        cells = page.locator('#overview tbody tr [data-metric="mIoU_inv"]').all_inner_texts()
        assert cells == ["undefined"] * 5  # an instance in full view has no hidden part


def test_filters_leave_what_fits_and_reset_brings_all_back(page: Page) -> None:
    page.fill("#method", "HULL")
    assert labels(page) == ["convex_hull"]
    expect(page.locator("#count")).to_have_text("1 of 5 runs")
    assert page.locator("#curves-body polyline").count() == 2
    page.fill("#method", "")
    page.select_option("#data", index=2)
    assert labels(page) == ["dilate-part"]
    page.get_by_role("button", name="Reset").click()
    expect(rows(page)).to_have_count(5)


def test_every_number_of_every_protocol_and_bucket_is_the_one_python_prints(
    page: Page, tables: dict[str, pd.DataFrame]
) -> None:
    for protocol in protocols().values():
        page.select_option("#protocol", protocol.id)
        for subset in page.locator("#subset option").evaluate_all("options => options.map(o => o.value)"):
            page.select_option("#subset", subset)
            texts = page.locator("#overview tbody").evaluate(
                "body => Object.fromEntries([...body.rows].map(r => [r.querySelector('th').innerText, "
                "[...r.querySelectorAll('[data-metric]')].map(c => [c.dataset.metric, c.innerText.trim()])]))"
            )
            for label, cells in texts.items():
                assert dict(cells) == expected(tables[label], protocol.id, subset)


def expected(table: pd.DataFrame, protocol: str, subset: str) -> dict[str, str]:
    """What the two cells of a run must say."""
    kind, _, rates = subset.partition(" ")
    mine = table[(table["protocol"] == protocol) & (table["subset"] == kind) & (table["rates"] == rates)]
    said = {"mIoU_full": "not scored", "mIoU_inv": "not scored"}
    for row in mine.to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        said[str(row["metric"])] = "undefined" if pd.isna(row["value"]) else f"{row['value']:.2f}{interval}"
    return said


def test_best_and_second_are_marked_among_whole_runs_on_the_same_data(page: Page) -> None:
    cells = page.locator('#overview tr:has(a:text-is("convex_hull")) [data-metric="mIoU_full"]')
    expect(cells).to_have_class(re.compile("best"))
    part = page.locator('#overview tr:has(a:text-is("dilate-part"))')
    expect(part).to_contain_text("partial: 9 of 24")
    assert part.locator(".best, .second").count() == 0


def test_curves_and_bars_follow_the_numbers(page: Page, tables: dict[str, pd.DataFrame]) -> None:
    titles = page.locator("#curves-body title").all_text_contents()
    table = tables["convex_hull"]
    row = table[(table["protocol"] == "instance-mean/1") & (table["rates"] == "[0.4, 0.7)")].iloc[0]
    text = f"convex_hull, rate in [0.4, 0.7): mIoU_full {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}], n 6"
    assert text in titles
    bars = page.locator("#errors-body .stack")
    assert bars.count() == 5
    shares = [float(share) for share in re.findall(r"([\d.]+) %", bars.first.get_attribute("aria-label") or "")]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_a_picture_opens_turns_with_the_arrow_keys_and_closes_with_escape(page: Page) -> None:
    page.locator("[data-card='0']").click()
    viewer = page.get_by_role("dialog")
    expect(viewer).to_be_visible()
    images = viewer.locator("img")
    assert images.count() == 3 + 4  # image, visible, truth, and the errors of four runs
    for k in range(images.count()):
        images.nth(k).scroll_into_view_if_needed()
        expect(images.nth(k)).to_have_js_property("naturalWidth", 256)
    first = page.locator("#v-title").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#v-title").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#v-title").inner_text() == first
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator("[data-card='0']")).to_be_focused()


def card_scores(page: Page, name: str) -> list[float]:
    texts = page.locator("#g-cards .scores").all_inner_texts()
    return [float(match[1]) for text in texts if (match := re.search(rf"{name} ([\d.]+)", text))]


def test_the_gallery_sorts_by_worst_best_and_difference(page: Page) -> None:
    page.select_option("#g-a", "convex_hull")
    page.select_option("#g-b", "visible")
    for order, sign in (("worst", 1), ("best", -1)):
        page.select_option("#g-order", order)
        found = card_scores(page, "convex_hull")
        assert len(found) == 24
        assert found == sorted(found, key=lambda value, sign=sign: sign * value)  # type: ignore[misc]
    page.select_option("#g-order", "difference")
    pairs = zip(card_scores(page, "convex_hull"), card_scores(page, "visible"), strict=True)
    gaps = [abs(a - b) for a, b in pairs]
    assert gaps == sorted(gaps, reverse=True)


def test_the_slider_leaves_the_rates_between_its_ends(page: Page) -> None:
    page.locator("#g-low").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#g-count")).to_contain_text("rate 0.50 to 1.00: 10 of 24")
    rates = [float(r) for r in re.findall(r"rate ([\d.]+)", " ".join(page.locator("#g-cards .id").all_inner_texts()))]
    assert min(rates) >= 0.5
    page.fill("#g-high", "0.2")
    assert page.input_value("#g-low") == "0.2"


def test_the_comparison_is_the_one_python_makes(page: Page, results: Path, draws: int) -> None:
    page.select_option("#pair", label="convex_hull against visible (squares/test (files c015154f))")
    frames = {run.record()["preset"]: run.instances() for run in find_runs(results)}
    found = compare(frames["convex_hull"], frames["visible"], find_protocol("instance-mean/1"), draws=draws)
    row = found.metrics.iloc[0]
    cells = page.locator("#pair-body tbody tr").first.locator("td").all_inner_texts()
    assert cells[1:5] == [f"{row['a']:.2f}", f"{row['b']:.2f}", signed(row["difference"]),
                          f"[{signed(row['low'])}, {signed(row['high'])}]"]  # fmt: skip
    assert cells[6:] == [str(row[name]) for name in ("wins", "ties", "losses", "n")]


def test_the_keyboard_reaches_everything(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    name = "({id, dataset, tagName}) => id || dataset.sort || dataset.card || tagName"
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"({name})(document.activeElement)"))
    wanted = ["theme", "protocol", "subset", "data", "method", "mIoU_full", "g-order", "g-low", "g-high", "0"]
    assert [name for name in wanted if name not in reached] == []
    page.locator('[data-sort="mIoU_inv"]').focus()
    page.keyboard.press("Enter")
    assert column(page, "mIoU_inv") == sorted(column(page, "mIoU_inv"), reverse=True)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_names_with_markup_stay_text(page: Page, markup: tuple[str, str]) -> None:
    label, category = markup
    assert label in labels(page)
    assert page.locator("#overview b").count() == 1  # the word "Best" below the table
    expect(page.locator("#g-cards")).to_contain_text(category)
    page.select_option("#pair", index=1)
    expect(page.locator("#provenance")).to_contain_text(label)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0


def test_a_link_opens_the_provenance_of_its_run(page: Page) -> None:
    page.get_by_role("link", name="convex_hull").click()
    details = page.locator("details[open]")
    expect(details).to_contain_text("fingerprint")
    expect(details).to_contain_text("make_golden.py")


def test_print_hides_the_controls_and_is_black_on_white(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("nav", "#filters", "#theme", "#gallery-filters"):
        expect(page.locator(hidden)).to_be_hidden()
    assert background(page) == WHITE
    page.set_viewport_size({"width": 720, "height": 1000})  # A4 with margins
    assert page.evaluate("document.documentElement.scrollWidth") == 720
    page.emulate_media(media="screen", color_scheme="light")
    page.pdf()
    assert page.locator("details:not([open])").count() == 0


def test_dark_follows_the_system_and_the_button_turns_it(page: Page) -> None:
    assert background(page) == WHITE
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert dark == "rgb(20, 23, 27)"
    page.get_by_role("button", name="Switch to light colours").click()
    assert background(page) == WHITE
    page.get_by_role("button", name="Switch to dark colours").click()
    assert background(page) == dark


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_sticks_out_sideways_on_a_phone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_without_scripts_the_table_is_there(browser: Browser, written: WrittenReport) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(written.page.as_uri())
        expect(page.locator("#overview tbody")).to_contain_text("75.00")
        expect(page.locator("noscript p")).to_contain_text("Scripts are off")
