"""The Dagster UI in headless Chromium: a page that remembers every request that went wrong, and how to get about."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Page, sync_playwright

from llm_assets_tests.end_to_end.servers import require

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Browser:
    """A page of the UI at `url`. `failed` has the requests to it that failed or were answered by 400 or more."""

    page: Page
    url: str
    failed: list[str] = field(default_factory=list[str])

    def open(self, path: str) -> Page:
        """Go to a path of the UI, without the dialog that a new browser gets."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def open_graph(self, *, alone: bool = False) -> Page:
        """The graph of all assets, all groups expanded; where `alone`, without what is left of it."""
        page = self.open("/asset-groups")
        page.get_by_text("docs").first.wait_for()
        if alone:
            page.get_by_text("Hide navigation").click()
            page.get_by_label("panel_show_right").last.click()
            page.wait_for_timeout(500)  # the graph is laid out in the room that there is when its groups expand
        size = page.viewport_size
        assert size is not None
        page.mouse.click(size["width"] * 0.65, size["height"] * 0.85, button="right")
        page.get_by_role("menuitem", name=re.compile("Expand all groups")).click()
        page.mouse.move(0, 0)  # an asset under the mouse looks otherwise
        return page

    def open_asset(self, key: str, view: str) -> Page:
        """A tab of the page of an asset: `overview`, `checks`, `partitions`, `events`."""
        return self.open(f"/assets/{key}?view={view}")


@contextmanager
def browser(url: str, width: int = 1700, height: int = 1000) -> Iterator[Browser]:
    """Chromium on a UI, as a new person sees it, but with the community dialog answered."""
    program = require(shutil.which("chromium") or shutil.which("chromium-browser"), "chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.add_init_script("localStorage.setItem('communityNux', '1')")
        opened = Browser(page, url)
        # A request that the page itself gives up when one leaves it is no failure of the server.
        page.on(
            "requestfailed",
            lambda request: (
                opened.failed.append(f"{request.url}: {request.failure}")
                if request.url.startswith(url) and request.failure != "net::ERR_ABORTED"
                else None
            ),
        )
        page.on(
            "response",
            lambda response: (
                opened.failed.append(f"{response.url}: {response.status}")
                if response.url.startswith(url) and response.status >= 400
                else None
            ),
        )
        try:
            yield opened
        finally:
            chromium.close()
