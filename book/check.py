"""What Sphinx cannot know: theorems and claims are the same, each has its proof, nothing is remote.

python book/check.py labels     the sources against the registry of claims
python book/check.py site       the built pages: no reference to elsewhere, no object unshown
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

BOOK = Path(__file__).parent
HTML = BOOK / "_build" / "html"
BLOCK = re.compile(r"^:{3,}\{prf:(theorem|proof)\}.*\n(?::label: (\S+))?", re.MULTILINE)
REMOTE = re.compile(r"\s*(https?:)?//")
UNSHOWN = re.compile(r"&lt;[\w.]+ object[^&]{0,40}&gt;")
# Elements whose `src` or `href` a browser loads by itself, as opposed to links that it follows.
LOADED = {"audio", "embed", "iframe", "image", "img", "link", "object", "script", "source", "use"}
STYLE = re.compile(r"url\(['\"]?\s*(?:https?:)?//[^)]*|@import[^;]*//[^;]*")


def labels() -> Iterator[str]:
    """Theorem blocks and labels of claims that lack each other, and theorems without a proof."""
    from stopping.claims import CLAIMS

    found: set[str] = set()
    for page in sorted(BOOK.glob("pages/*.md")):
        blocks = [(m.group(1), m.group(2)) for m in BLOCK.finditer(page.read_text("utf-8"))]
        for (kind, label), (after, _) in pairwise([*blocks, ("", None)]):
            if kind != "theorem":
                continue
            found.add(str(label))
            if after != "proof":
                yield f"{page.name}: theorem {label} has no proof block after it"
    claimed = {f"thm:{claim.label}" for claim in CLAIMS}
    for missing in sorted(claimed - found):
        yield f"no theorem block with the label {missing}, though the registry checks its claims"
    for idle in sorted(found - claimed):
        yield f"the theorem {idle} has no claim in the registry that could refute it"
    print(f"labels: {len(found)} theorems, {len(claimed & found)} of them with claims")


class References(HTMLParser):
    """Collects what a page makes the browser load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in LOADED or given.get("rel") == "canonical":
            return
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
            if REMOTE.match(given.get(name) or ""):
                self.remote.append(f"<{tag} {name}={given[name]}>")


def site() -> Iterator[str]:
    """References of pages and style sheets to other hosts, and objects that were not shown."""
    pages = sorted(HTML.rglob("*.html"))
    if not pages:
        yield f"{HTML}: no pages"
    for page in pages:
        parser = References()
        parser.feed(page.read_text("utf-8"))
        yield from (f"{page.relative_to(HTML)}: {what}" for what in parser.remote)
        if found := UNSHOWN.search(page.read_text("utf-8")):
            yield f"{page.relative_to(HTML)}: an object in place of its text: {found.group()}"
    for sheet in HTML.rglob("*.css"):
        yield from (
            f"{sheet.relative_to(HTML)}: {what}" for what in STYLE.findall(sheet.read_text())
        )
    size = sum(file.stat().st_size for file in HTML.rglob("*") if file.is_file())
    print(f"site: {len(pages)} pages, {size / 1e6:.1f} MB")


def main(what: str) -> int:
    faults = list({"labels": labels, "site": site}[what]())
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
