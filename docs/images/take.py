"""Take the pictures of the docs from a running UI: `python docs/images/take.py http://127.0.0.1:3000`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from llm_assets_tests.end_to_end.browser import browser

HERE = Path(__file__).parent


def main(url: str) -> None:
    """Write the asset graph, and what the UI shows of a partition and of a check."""
    # At this width the graph shows what is in its boxes: checks, partitions, kinds.
    with browser(url, width=2000, height=1020) as ui:
        page = ui.open_graph(alone=True)
        page.get_by_text("Passed").first.wait_for()
        page.wait_for_timeout(2000)
        page.screenshot(path=HERE / "asset-graph.png")
    with browser(url, width=1600, height=900) as ui:
        page = ui.open_asset("docs/cleaned", "partitions")
        page.get_by_text("2026-02").first.click()
        page.get_by_text("ledger", exact=True).wait_for()
        page.wait_for_timeout(1000)
        page.screenshot(path=HERE / "asset-partition.png")
        page = ui.open_asset("docs/cleaned", "checks&checkDetail=drop_rate")
        page.get_by_text("Passed", exact=True).wait_for()
        page.wait_for_timeout(2000)
        page.screenshot(path=HERE / "asset-checks.png")


main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
