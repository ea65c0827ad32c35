"""Minimal HTML. Escaping is by type: a `str` is escaped once, `Html` is not."""

import html
from collections.abc import Iterable, Sequence
from datetime import datetime


class Html(str):
    """Markup, already escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value, escaped unless it is Html."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(text(part) for part in parts))


def tag(name: str, *children: object, **attributes: str) -> Html:
    """One element. `class_` stands for `class`."""
    shown = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def code(value: object) -> Html:
    return tag("code", value)


def lsn(value: object) -> Html:
    """An LSN, kept on one line."""
    return tag("code", value, class_="lsn")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], **attributes: str) -> Html:
    """A table with a head."""
    head = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in headings)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("table", head, body, **attributes)


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """A table of names and values."""
    lines = (tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows)
    return tag("table", *lines, class_="facts")


def section(title: str, *children: object) -> Html:
    return tag("section", tag("h2", title), *children)


def paragraph(*children: object, **attributes: str) -> Html:
    return tag("p", *children, **attributes)


def moment(value: object) -> str:
    """A time to the millisecond, in UTC."""
    try:
        return datetime.fromisoformat(str(value)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    except ValueError:
        return str(value)
