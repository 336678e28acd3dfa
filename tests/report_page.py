"""The report of an analysis, read as a browser would."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Elements that load what an attribute names, and the attributes.
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "manifest", "formaction"}


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        loaded: Values of attributes that a browser would fetch.
        texts: The text of each script and style.
        data: The JSON of the page.
        words: All other text.
        tags: Names of all elements.
        labelled: Values of ``for`` attributes.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.loaded: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.words = ""
        self.tags: list[str] = []
        self.labelled: set[str] = set()
        self.ids: list[str] = []
        self._inside = ""
        self.feed(text)

    @property
    def data(self) -> dict[str, Any]:
        """The page's data."""
        (found,) = (text for kind, text in self.texts if kind == "application/json")
        made: dict[str, Any] = json.loads(found)
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is loaded."""
        named = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.loaded += [value for name, value in named.items() if name in LOADING]
        self.labelled |= {named["for"]} if "for" in named else set()
        self.ids += [named["id"]] if "id" in named else []
        self._inside = named.get("type", tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or style."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Keep texts apart."""
        if self._inside:
            self.texts.append((self._inside, data))
        else:
            self.words += data


def in_browser(folder: Path, text: str, ask: str, *further: str) -> Any:
    """What a script that is added to a page leaves as JSON in its title; errors of the page are in ``faults``."""
    head, body, rest = text.partition("<body>")
    watch = "<script>window.faults = []; addEventListener('error', (event) => faults.push(event.message))</script>"
    file = folder / "page.html"
    file.write_text(head + body + watch + rest.replace("</body>", f"<script>{ask}</script></body>"), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", *further]
    command = [str(CHROMIUM), *options, "--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as browser:
        try:
            page, _ = browser.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(browser.pid, signal.SIGKILL)
            pytest.fail("the page draws forever")
    found = re.search(r"<title>(.*?)</title>", page.decode(), re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))
