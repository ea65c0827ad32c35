"""The page around the sections: one printable file without scripts or external resources."""

import json
from typing import Any

from encryptdb.controller.report import sections
from encryptdb.controller.report.html import Html, join, tag

DATA_ID = "encryptdb-report"

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
p.lead { font-size: 1.1rem; }
p.good, p.bad, p.warn { border-left: 4px solid; padding: .4rem .8rem; }
p.good { border-color: #2a7d46; } p.bad { border-color: #b3261e; font-weight: 600; } p.warn { border-color: #b8860b; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #8884; }
table.facts th { width: 14rem; font-weight: 500; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; } code.lsn { white-space: nowrap; }
table.steps td:nth-child(2) { text-align: right; width: 6rem; } table.steps td:nth-child(3) { width: 60%; }
span.bar { display: inline-block; height: .7rem; background: #4a78b0; min-width: 1px; }
table.journal { font-size: .9em; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } section { break-inside: avoid-page; }
  section:last-of-type { break-inside: auto; } span.bar { print-color-adjust: exact; } }
"""


def render(data: dict[str, Any]) -> str:
    """The report as HTML. `data`, from `collect`, is embedded as JSON."""
    source = data["instances"]["source"]["identifier"]
    title = f"Encryption of {source}"
    # Inside <script> nothing is escaped.
    kept = Html(json.dumps(data, default=str).replace("<", "\\u003c"))
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    body = tag(
        "body",
        tag("h1", title),
        join(section(data) for section in sections.ALL),
        tag("script", kept, type="application/json", id=DATA_ID),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"
