"""Pages that need no network: one file each, with their figures, their style and their scripts written into it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from lcot.analysis.charts import Chart
from lcot.analysis.fields import fields_of
from lcot.analysis.summaries import as_text

_LONG = ("percentiles", "top1", "top2", "top3")  # lines of figures
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_ID = re.compile(r'(\bid="|url\(#|href="#)')


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
        template: Its file's name; it may import others.
        values: What it is made of.
    """
    from jinja2 import Environment, FunctionLoader
    from markupsafe import Markup

    made = Environment(autoescape=True, loader=FunctionLoader(read)).get_template(template)
    return made.render(style=Markup(read("report.css")), **values)


def read(name: str) -> str:
    """A file of pages."""
    return (resources.files("lcot.analysis") / "page" / name).read_text(encoding="utf-8")


def drawn(charts: Sequence[tuple[Chart, str]]) -> list[dict[str, Any]]:
    """Figures as pages show them.

    Args:
        charts: Each with its SVG.
    """
    from markupsafe import Markup

    return [
        {"name": one.name, "title": one.title, "caption": one.caption, "svg": Markup(inline(svg, one.name))}
        for one, svg in charts
    ]


def told_tables(
    summary: Mapping[str, Sequence[Mapping[str, Any]]], kinds: Mapping[str, type], titles: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Summaries as tables of text.

    Args:
        summary: Rows by the summary's name.
        kinds: The record of a row of each.
        titles: What stands above each.
    """
    for name, rows in summary.items():
        if not rows:
            continue
        flat = [_flat(row) for row in rows]
        what = fields_of(kinds[name])
        heads = [{"name": as_text(head), "what": what.get(head, "")} for head in flat[0]]
        meant = [(as_text(column), what[column]) for column in rows[0] if column in what and column not in _LONG]
        yield {
            "title": titles[name],
            "heads": heads,
            "meant": meant,
            "rows": [[_cell(value) for value in row.values()] for row in flat],
        }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name in _LONG:
            continue
        if isinstance(value, dict):
            flat |= value
        elif isinstance(value, list | tuple):
            flat |= {f"{name} {place}": one for place, one in enumerate(value, start=1)}
        else:
            flat[name] = value
    return flat


def _cell(value: Any) -> str:
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else as_text(str(value))


def inline(svg: str, name: str) -> str:
    """An SVG as part of a page: without its head, with ids that are its own, and named by its heading there."""
    own = _ID.sub(rf"\g<1>{name}-", _METADATA.sub("", svg[svg.index("<svg") :]))
    named = f'<svg role="img" aria-labelledby="figure-{name}" aria-describedby="caption-{name}"'
    return own.replace("<svg", named, 1)


def in_page(data: Any) -> str:
    """JSON for a script element, which a text that ends the element would end."""
    written = json.dumps(plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c")


def plain(value: Any) -> Any:
    """What JSON can hold: numbers that are not finite, of a model whose weights are broken, become ``None``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
