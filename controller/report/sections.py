"""The sections of the report, each a function from the data to HTML."""

from collections.abc import Mapping
from typing import Any

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.report.claims import claims, encrypted_as_asked
from encryptdb.controller.report.html import Html, code, facts, join, lsn, moment, paragraph, section, table, tag, text
from encryptdb.controller.report.moves import moves

Data = Mapping[str, Any]


def summary(data: Data) -> Html:
    """The state, and what could not be read."""
    records = data["records"]
    source, target = data["instances"]["source"], data["instances"]["target"]
    rows: list[tuple[str, object]] = [
        ("Source", code(source["identifier"]) if source else "unknown"),
        ("Target", code(target["identifier"]) if target else "not there yet"),
        ("Stack, attempt", f"{data['stack']}, {data['attempt']} (phase {data['phase']})"),
        ("Account, region", f"{data['account']}, {data['region']}"),
        ("Databases", ", ".join(d["name"] for d in records.get("databases", {}).get("listed", ())) or "none recorded"),
        ("Report made", f"{moment(data['at'])} by {data['by']}"),
    ]
    if data["evidence_at"] and data["evidence_at"] != data["at"]:
        rows.append(("Evidence read", moment(data["evidence_at"])))
    notes = []
    if not records:
        notes.append(
            paragraph(
                "No evidence could be read: there is no control database. prepare creates it; retire and abandon drop "
                "it, and the report that retire wrote holds its content.",
                class_="warn",
            )
        )
    for problem in data["problems"]:
        what = f"Unknown: {problem['what']}. {problem['message']} {problem['detail'] or ''}"
        notes.append(paragraph(what, class_="warn"))
    return join([paragraph(data["summary"], class_="lead"), *notes, facts(rows)])


def encryption(data: Data) -> Html:
    """Both sides as AWS describes them now."""
    sides = [data["instances"]["source"], data["instances"]["target"]]
    rows = [
        ("Instance", *(code(s["identifier"]) if s else "not there yet" for s in sides)),
        ("Resource id", *(code(s["resource_id"]) if s else "" for s in sides)),
        ("State", *(_of(s, "status") for s in sides)),
        ("Storage encrypted", *(_encrypted(s) for s in sides)),
        ("Key", *(code(s["kms_key_arn"]) if s and s.get("kms_key_arn") else "none" for s in sides)),
        ("Engine version", *(_of(s, "engine_version") for s in sides)),
        ("Protected against deletion", *(_of(s, "deletion_protection") for s in sides)),
    ]
    verdict: object = ""
    if (holds := encrypted_as_asked(data)) is not None:
        verdict = paragraph(
            f"The target is {'encrypted' if holds else 'NOT encrypted'} under the key that the stack asks for, ",
            code(data["kms_key_arn"]),
            ".",
            class_="good" if holds else "bad",
        )
    return section("Encryption", verdict, table(["", "Source", "Target"], rows))


def _of(side: Data | None, key: str) -> object:
    if not side or not side["known"]:
        return "" if not side else "not known"
    value = side.get(key)
    return "" if value is None else {True: "yes", False: "no"}.get(value, value)


def _encrypted(side: Data | None) -> object:
    if not side or side.get("encrypted") is None:
        return _of(side, "encrypted")
    kind = f" ({side['encryption_type']})" if side.get("encryption_type") else ""
    return tag("strong", ("yes" if side["encrypted"] else "no") + kind)


def exact_lsn(data: Data) -> Html:
    """The exact LSN and its proof."""
    found = data["records"].get("exact_lsn")
    if not found:
        return section("Where the changes join the snapshot", paragraph("Not determined yet."))
    proof = found["proof"]
    return section(
        "Where the changes join the snapshot",
        paragraph(
            "The snapshot holds every transaction committed before ",
            lsn(found["value"]),
            " in the source's write-ahead log, and none after it. Replication began exactly there, so nothing is "
            "missing and nothing was applied twice.",
            class_="lead",
        ),
        paragraph(
            f"{proof['transactions']} transactions around that place were looked up on the copy, by {proof['by']}. The "
            "last one that is in the copy was committed at ",
            lsn(proof["last_included"]),
            ", the first one that is not at ",
            lsn(proof["first_missing"]),
            ". Any position after the first and up to the second joins them exactly.",
        ),
        table(
            ["Database", "Last included", "First missing", "Looked up: included", "missing"],
            [
                (name, lsn(b["last_included"]), lsn(b["first_missing"]), b.get("included", ""), b.get("missing", ""))
                for name, b in proof.get("databases", {}).items()
            ],
        ),
        tag("h3", "Candidates"),
        table(
            ["Candidate", "LSN", "In the bracket", "Valid", "Detail"],
            [
                (c["source"], lsn(c["lsn"]), "yes" if _holds(proof, c["lsn"]) else "no", c["valid"], c["detail"])
                for c in found["candidates"]
            ],
        ),
        *(paragraph(remark) for remark in found["remarks"]),
    )


def _holds(proof: Data, position: str) -> bool:
    low, high = (LSN.parse(proof[end]) for end in ("last_included", "first_missing"))
    return low < LSN.parse(position) <= high


def verification(data: Data) -> Html:
    """The last row-level comparison."""
    found = data["records"].get("verify")
    if not found:
        return section("Row by row", paragraph("Not compared: verify was not run, or what it found cannot be read."))
    verdict = (
        f"Source and target were equal: {found['rows']:,} rows in {found['tables']} tables."
        if found["equal"]
        else f"Of {found['tables']} tables, {len(found['differing'])} differed and "
        f"{len(found['not_compared'])} could not be compared."
    )
    not_covered = [
        (database, item["kind"], item["count"], ", ".join(item["names"]))
        for database, items in found["not_covered"].items()
        for item in items
    ]
    return section(
        "Row by row",
        paragraph(verdict, class_="good" if found["equal"] else "bad"),
        paragraph(
            f"Compared {moment(found.get('at'))} by {found.get('by', 'unknown')}, both sides at the same point, while "
            f"applications used the {found['publisher']}. No writer waited longer than {found['writers_waited_ms']} ms "
            "for it.",
        ),
        table(["Database", "Point (LSN)"], [(name, lsn(point)) for name, point in found["point"].items()]),
        _list("Different", found["differing"]),
        _list("Not compared", found["not_compared"]),
        *(
            (
                paragraph("Not carried by logical replication, so not compared:"),
                table(["Database", "Kind", "How many", "Named (at most ten)"], not_covered),
            )
            if not_covered
            else ()
        ),
    )


def _list(title: str, items: list[str]) -> Html:
    return join([tag("h3", title), tag("ul", *(tag("li", item) for item in items))]) if items else text("")


def plaintext(data: Data) -> Html:
    """What in AWS may still hold plaintext."""
    found = data["leftovers"]
    if found is None:
        return section("What still holds plaintext", paragraph("Listed once the applications have been moved."))
    if not found:
        return section(
            "What still holds plaintext", paragraph("AWS lists nothing that came from the source and is unencrypted.")
        )
    rows = [(item["kind"], code(item["name"]), code(item["remedy"])) for item in found]
    return section("What still holds plaintext", table(["Kind", "Name", "What removes it"], rows))


def journal(data: Data) -> Html:
    rows = [(moment(line["at"]), line["who"], line["event"], _detail(line["detail"])) for line in data["journal"]]
    if not rows:
        return section("Journal", paragraph("Empty."))
    return section("Journal", table(["When", "Who", "What", "Detail"], rows, class_="journal"))


def _detail(detail: object) -> str:
    if not isinstance(detail, Mapping):
        return str(detail)
    return ", ".join(f"{key}: {value}" for key, value in detail.items())


ALL = (summary, encryption, exact_lsn, verification, moves, plaintext, claims, journal)
