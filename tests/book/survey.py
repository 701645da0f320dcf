"""Open pages and list what is wrong with each.

Many pages are open at once: most of a page's time is waiting for formulas to be set.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.book.browser import CHROMIUM, FLAGS, PATIENCE, View

AT_ONCE = 4
Faults = dict[tuple[str, str], list[str]]
"""What is wrong, by view and page."""

_FORMULAS = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
_LOOK = """() => {
  const list = (selector, wrong, say) =>
    [...document.querySelectorAll(selector)].filter(wrong).slice(0, 3).map(say);
  // A phone zooms out to show what sticks out, and innerWidth grows with it.
  const screen = document.documentElement.clientWidth;
  const scrolls = (e) => getComputedStyle(e).overflowX !== "visible";
  const sticksOut = (e) => {
    const box = e.getBoundingClientRect();
    if (!box.width || box.right <= screen + 1) return false;
    for (let p = e; p && p !== document.body; p = p.parentElement) if (scrolls(p)) return false;
    return true;
  };
  const cutOff = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement)
      if (scrolls(p)) return p.scrollWidth > p.clientWidth + 1;
    return false;
  };
  const name = (e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") ?? ""}">`;
  const wide = document.documentElement.scrollWidth - screen;
  return [
    ...list(".math", (e) => !e.querySelector("mjx-container"),
            (e) => `formula not set: ${e.textContent.slice(0, 60)}`),
    ...list("mjx-merror, [data-mml-node=merror], mjx-container [fill=red]", () => true,
            (e) => `formula in error: ${e.textContent.slice(0, 60)}`),
    ...list("img", (e) => e.complete && !e.naturalWidth, (e) => `broken image: ${e.src}`),
    ...list("img", (e) => !e.hasAttribute("alt") || (!e.alt && !e.closest("[aria-hidden]")),
            (e) => `image without alternative text: ${e.src}`),
    ...list("svg[role=img]",
            (e) => !e.ariaLabel && !e.closest("mjx-container, button, a, [aria-hidden=true]"),
            (e) => `drawing without a label: ${name(e)}`),
    ...(document.querySelector("h1") ? [] : ["no title"]),
    ...(screen < 1200 ? [] : list(".bd-article table", cutOff,
            (e) => `table cut off: ${e.textContent.trim().slice(0, 60)}`)),
    ...(wide > 0 ? [`${wide} px wider than the screen: ${list("body *", sticksOut, name)}`] : []),
  ];
}"""


async def look(page: Page, address: str, base: str) -> list[str]:
    """Open one address; return what the browser complains of and what is seen to be wrong."""
    faults: list[str] = []

    def request(asked: Any) -> None:
        if not asked.url.startswith((base, "data:", "blob:")):
            faults.append(f"request to elsewhere: {asked.url}")

    def response(answer: Any) -> None:
        if answer.status >= 400:
            faults.append(f"status {answer.status}: {answer.url}")

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"console {message.type}: {message.text}")

    page.on("console", console)
    page.on("pageerror", lambda error: faults.append(f"error on the page: {error}"))
    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", lambda asked: faults.append(f"failed: {asked.url} {asked.failure}"))
    await page.goto(address, wait_until="load", timeout=PATIENCE)
    await page.evaluate(_FORMULAS)
    faults += await page.evaluate(_LOOK)
    return faults


async def _visit(context: BrowserContext, address: str, base: str) -> list[str]:
    page = await context.new_page()
    try:
        return await look(page, address, base)
    finally:
        await page.close()


async def _survey(pages: Mapping[View, Sequence[str]], bases: Mapping[View, str]) -> Faults:
    found: Faults = {}
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(browser: Browser, view: View, base: str) -> None:
        context = await browser.new_context(**view.options)

        async def visit(page: str) -> None:
            async with turns:
                found[str(view), page] = await _visit(context, base + page, base)

        # The first page alone fills the cache; several would wait for one another to fill it.
        await visit(pages[view][0])
        await asyncio.gather(*map(visit, pages[view][1:]))
        await context.close()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for view, base in bases.items():
            await one(browser, view, base)
        await browser.close()
    return found


def survey(pages: Mapping[View, Sequence[str]], bases: Mapping[View, str]) -> Faults:
    """Open the pages of every view; `bases` gives the address of the site in each."""
    # In a thread of its own, for the tests' own browser has a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_survey(pages, bases))).result()


def pages_of(site: Path) -> list[str]:
    """Every page of a built site, as paths below it."""
    return sorted(
        page.relative_to(site).as_posix()
        for page in site.rglob("*.html")
        if "_static" not in page.parts
    )
