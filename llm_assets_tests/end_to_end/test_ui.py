"""The Dagster UI in a real browser, on a store that the demonstration has filled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from llm_assets_tests.end_to_end.browser import Browser, browser
from llm_assets_tests.end_to_end.servers import DagsterDev

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dagster-dev")]
expect.set_options(timeout=30_000)


@pytest.fixture
def ui(dev: DagsterDev) -> Iterator[Browser]:
    with browser(dev.url) as opened:
        yield opened
    assert opened.failed == []


def test_the_asset_graph_shows_both_sources_expanded(ui: Browser) -> None:
    page = ui.open_graph()
    for stage in ("raw", "cleaned", "deduped", "tokenized", "packed"):
        expect(page.locator("svg").get_by_text(stage, exact=True)).to_have_count(2)
    expect(page.locator("svg").get_by_text("demo_bpe", exact=True)).to_have_count(1)
    expect(page.locator("svg").get_by_text("mixed", exact=True)).to_have_count(1)


@pytest.mark.parametrize(
    ("asset", "check"),
    [("docs/raw", "quarantine_rate"), ("docs/deduped", "no_copies_kept"), ("demo/mixed", "shares_exact")],
)
def test_a_check_is_seen_passed(ui: Browser, asset: str, check: str) -> None:
    page = ui.open_asset(asset, "checks")
    page.get_by_text(check, exact=True).first.click()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    expect(page.get_by_text("This is a blocking asset check")).to_be_visible()


def test_a_partition_shows_its_ledger_its_plot_and_samples(ui: Browser) -> None:
    page = ui.open_asset("docs/cleaned", "partitions")
    page.get_by_text("2026-02", exact=True).first.click()
    for name in ("ledger", "digest", "dagster/uri", "report", "sample_kept", "sample_dropped"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    ledger = page.get_by_role("row").filter(has_text="gopher_quality.min_words")
    expect(ledger.first).to_contain_text("dropped")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/svg+xml']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
