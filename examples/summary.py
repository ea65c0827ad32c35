"""What the jobs of pipeline.sh have found, as Markdown for a person and as single values for the shell.

    python summary.py WHAT [ARGUMENT]... FILE

Every function of WHAT_THERE_IS gets the arguments and returns what goes to standard output and the exit status: 0, or 1
for "no" and for "somebody has to look". Nothing here asks AWS, a server or Pulumi.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]
Answer = tuple[str, int]

FOLLOWING = ("replicating", "caught-up")
"""States at which the target must be following."""

ENDED = ("retired", "abandoned")
"""States at which nothing runs any more, and the source may be gone."""

OPERATIONS = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "create, in the place of the one before",
    "delete-replaced": "delete, replaced",
    "import": "import",
}
"""What `pulumi preview --json` calls a change, and how it is told."""


def read(path: str) -> Document:
    """The document, or an empty one where a command ended before it wrote any."""
    file = Path(path)
    text = file.read_text() if file.exists() else ""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def plain(text: object) -> str:
    """Words that others wrote, on one line, so that Markdown takes none of them for its own."""
    return re.sub(r"([\\`*_<>|\[\]~#])", r"\\\1", " ".join(str(text).split()))


def get(path: str, keys: str) -> Answer:
    """One value, its keys joined by dots; empty where there is none."""
    value: Any = read(path)
    for key in keys.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else value if isinstance(value, str) else json.dumps(value), 0


def names() -> Answer:
    """The stacks whose files are named on standard input."""
    found = [re.fullmatch(r"Pulumi\.([\w.-]+)\.yaml", line.strip()) for line in sys.stdin]
    return json.dumps(sorted(m[1] for m in found if m)), 0


def pending(path: str) -> Answer:
    """Whether an update was cut off in the middle of something, by `pulumi stack export`."""
    state = read(path).get("deployment") or {}
    half_made = any(r.get("initErrors") for r in state.get("resources") or ())
    return "", 0 if state.get("pending_operations") or half_made else 1


def due(path: str, now: datetime | None = None) -> Answer:
    """Whether the rollback path has closed, by `controller status`; until when it is open."""
    until = (read(path).get("rollback_path") or {}).get("until")
    over = until is None or (now or datetime.now(UTC)) > datetime.fromisoformat(until)
    return until or "", 0 if over else 1


def preview(phase: str, wanted: str, path: str) -> Answer:
    """What an update would change, by `pulumi preview --json`."""
    found = read(path)
    changes = [s for s in found.get("steps") or () if s.get("op") in OPERATIONS and "pulumi:pulumi:" not in s["urn"]]
    errors = [d["message"] for d in found.get("diagnostics") or () if d.get("severity") == "error"]
    lines = [f"### What would change, in phase `{phase}`", ""]
    if phase != wanted:
        lines += [f"`{phase}` comes first: the YAML says `{wanted}`, and `advance` goes there step by step.", ""]
    if changes:
        lines += ["| | resource | type |", "|---|---|---|", *map(_change, changes), ""]
    elif found and not errors:
        lines += ["Nothing.", ""]
    for message in errors or ([] if found else ["There was no preview: the job's log says why."]):
        lines += [f"**Refused:** {plain(message.removeprefix('error: '))}", ""]
    return "\n".join(lines), 0


def _change(step: Document) -> str:
    kind, name = step["urn"].split("::")[-2:]
    keys = ", ".join(sorted(step.get("replaceReasons") or step.get("diffReasons") or ()))
    return f"| {OPERATIONS[step['op']]}{f' ({plain(keys)})' if keys else ''} | {plain(name)} | {kind.split('$')[-1]} |"


def preflight(status: str, path: str) -> Answer:
    """What blocks, then what warns, each with its remedy, by `controller preflight`."""
    found = read(path)
    if "findings" not in found:
        return ended("preflight", status, path)
    lines = ["### Preflight", ""]
    for severity, told in (("unavailable", "Unavailable"), ("blocks", "Blocks"), ("warns", "Warns")):
        for finding in (f for f in found["findings"] if f["severity"] == severity):
            database = finding["database"] and f"database {finding['database']}"
            place = ", ".join(plain(p) for p in (finding["side"], database) if p)
            lines.append(f"- **{told}**: {plain(finding['check'])}{f' ({place})' if place else ''}.")
            lines.append(f"  {plain(finding['found'])} Needed: {plain(finding['needed'])}")
            lines += _block(finding["remedy"])
    if found["unavailable"]:
        lines.append(f"- Not checked, because something is unavailable: {plain(', '.join(found['unavailable']))}")
    lines += ["", f"{found['blocks']} block, {found['warns']} warn, {len(found['passed'])} checks passed.", ""]
    return "\n".join(lines), 0


def _block(remedy: str | None) -> list[str]:
    """What is to be pasted, fenced so that nothing in it ends the fence."""
    if not remedy:
        return []
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", remedy)), default=0))
    return ["", *(f"  {line}" for line in (fence, *remedy.splitlines(), fence)), ""]


def needs_a_person(found: Document) -> list[str]:
    """What of `controller status` does not come right by itself."""
    if found["state"] in ENDED:
        return []
    reasons = [str(warning) for warning in found["warnings"]]
    following = found["state"] in FOLLOWING or (found.get("rollback_path") or {}).get("until")
    if found["state"] in FOLLOWING and not found["slots"]:
        reasons.append("there is no slot: the target follows nothing")
    if following:
        reasons += [f"nobody follows by slot {n}" for n, s in sorted(found["slots"].items()) if not s["active"]]
    return reasons


def status(path: str) -> Answer:
    """Where the migration stands, and whether somebody has to look."""
    found = read(path)
    state, lag, back = found["state"], found["lag_bytes"], found.get("rollback_path") or {}
    lines = [f"State: {state or 'not prepared'}. Next step: {found['step'] or 'none'}."]
    if lag is not None:
        lines.append(f"{lag:,} bytes behind.")
    if back.get("until"):
        is_open = "open" if back.get("open") else "closed"
        lines.append(f"The rollback path is {is_open} (rollbackWindow: until {back['until']}).")
    reasons = needs_a_person(found)
    lines += ["", *(f"- **Somebody has to look:** {plain(reason)}" for reason in reasons), ""]
    return "\n".join(lines), 1 if reasons else 0


def up(phase: str, ended_with: str, path: str) -> Answer:
    """How an update ended, by what `pulumi up` printed."""
    text = Path(path).read_text()
    # The preview's come first, the update's last.
    counts = re.findall(r"^Resources:\n((?: +\S.*\n)+)", text, re.MULTILINE)
    told = ", ".join(" ".join(line.split()) for line in counts[-1].splitlines()) if counts else "nothing was changed"
    lines = [f"`pulumi up` in phase `{phase}`: {plain(told)}.", ""]
    if ended_with != "0":
        errors = re.findall(r"^ *error: (.*(?:\n {4,}.*)?)", text, re.MULTILINE)
        lines += [f"**Failed:** {plain(error)}\n" for error in errors] or ["**Failed:** the job's log says why.", ""]
    return "\n".join(lines), 0


def ended(command: str, with_status: str, path: str) -> Answer:
    """Why a command of the controller did not reach its goal: message, what it means, what to do."""
    error = read(path).get("error") or {}
    said = {key: plain(error[key]) for key in ("message", "detail", "hint") if error.get(key)}
    if with_status == "3" and "hint" in said:
        lines = [f"**Waits for:** {said.pop('hint')}"]
    else:
        lines = [f"**{'Waits' if with_status == '3' else 'Failed'}:** `{command}` ended with status {with_status}."]
    if command == "prepare" and with_status == "3":
        lines.append("Here: `advance` with ENCRYPTDB_ALLOW_REBOOT=1, in the job that stands behind an approval.")
    return "\n\n".join([*lines, *(said.values() if said else ["The job's log says why."])]) + "\n", 0


def moved(path: str) -> Answer:
    """How long the applications waited."""
    found = read(path)
    return f"State: {found['state']}. The applications waited {found['pause_ms']:.0f} ms.\n", 0


def retired(path: str) -> Answer:
    """What still holds plaintext."""
    found = read(path)
    lines = ["Replication is taken down.", ""]
    if "report" in found:
        lines += [f"The report is {plain(found['report'])}: keep it, what it tells of is gone.", ""]
    for item in found["leftovers"]:
        lines += [f"- May still hold plaintext: {plain(item['kind'])} {plain(item['name'])}", *_block(item["remedy"])]
    return "\n".join([*lines, ""]), 0


WHAT_THERE_IS: Mapping[str, Callable[..., Answer]] = {
    f.__name__: f for f in (get, names, pending, due, preview, preflight, status, up, ended, moved, retired)
}


def main(arguments: list[str]) -> int:
    """Write one answer; its exit status."""
    text, answer = WHAT_THERE_IS[arguments[0]](*arguments[1:])
    if text:
        sys.stdout.write(text + "\n")
    return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
