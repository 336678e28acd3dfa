"""The report of an analysis, read as a browser would."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

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
