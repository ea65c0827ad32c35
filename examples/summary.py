"""How a command of a pipeline's job ended, as Markdown for a person, and whether the job goes on.

    python summary.py JOB COMMAND STATUS FILE

FILE is the document that the command left, STATUS its exit status. The exit status is the job's: the command's, but 0
where the schedule brings the job back, and it only waits. Nothing here asks AWS, a server or Pulumi.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]
Answer = tuple[str, int]

NOT_YET = 3
CUT_OFF = (124, 137)
"""How `timeout` ends."""

BY_ITSELF = ("check", "advance", "status")
"""Jobs that the schedule brings back. Of one that a person started, "not yet" is a failure."""

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


def answer(job: str, command: str, status: int, found: Document) -> Answer:
    """What is told, and the job's exit status."""
    lines = _done(found)
    if job == "check":
        lines += preview(found) + preflight(found)
    if status == 0 and command == "status":
        lines_of_status, status = _status(job, found)
        lines += lines_of_status
    elif status == 0 and "pause_ms" in found:
        lines += [f"State: {found['state']}. The applications waited {found['pause_ms']:.0f} ms.", ""]
    elif status == 0 and "leftovers" in found:
        lines += retired(found)
    elif status in CUT_OFF and job in BY_ITSELF:
        lines += [
            "**Waits:** for the next job: this one was cut off (ENCRYPTDB_JOB_SECONDS). What was done stays done.",
            "",
        ]
        status = 0
    elif status:
        lines += ended(command, status, found)
    return "\n".join(lines), 0 if status == NOT_YET and job in BY_ITSELF else status


def _done(found: Document) -> list[str]:
    """What `advance` did before it ended, in order."""
    lines: list[str] = []
    for item in found.get("done") or ():
        if "pulumi" in item:
            lines += [f"`pulumi up` in phase `{item['phase']}`: {plain(item['changes'])}.", ""]
        elif "leftovers" in item:
            lines += retired(item)
    return lines


def preview(found: Document) -> list[str]:
    """What an update would change, by `pulumi preview --json`."""
    if "preview" not in found:
        return []
    told, phase, wanted = found["preview"] or {}, found["first_phase"], found["phase"]
    changes = [s for s in told.get("steps") or () if s.get("op") in OPERATIONS and "pulumi:pulumi:" not in s["urn"]]
    errors = [d["message"] for d in told.get("diagnostics") or () if d.get("severity") == "error"]
    lines = [f"### What would change, in phase `{phase}`", ""]
    if phase != wanted:
        lines += [f"`{phase}` comes first: the YAML says `{wanted}`, and `advance` goes there step by step.", ""]
    if changes:
        lines += ["| | resource | type |", "|---|---|---|", *map(_change, changes), ""]
    elif told and not errors:
        lines += ["Nothing.", ""]
    for message in errors or ([] if told else ["There was no preview: the job's log says why."]):
        lines += [f"**Refused:** {plain(message.removeprefix('error: '))}", ""]
    return lines


def _change(step: Document) -> str:
    kind, name = step["urn"].split("::")[-2:]
    keys = ", ".join(sorted(step.get("replaceReasons") or step.get("diffReasons") or ()))
    return f"| {OPERATIONS[step['op']]}{f' ({plain(keys)})' if keys else ''} | {plain(name)} | {kind.split('$')[-1]} |"


def preflight(found: Document) -> list[str]:
    """What blocks, then what warns, each with its remedy, by `controller preflight`."""
    told = found.get("preflight")
    if not told and "preview" in found and found["state"]:
        return [f"No preflight: the migration is {found['state']}.", ""]
    if not told and "preview" in found:
        return ["A new stack: preflight needs its outputs, and runs before anything is prepared, on merge.", ""]
    if not told or "findings" not in told:
        return []
    lines = ["### Preflight", ""]
    for severity, title in (("unavailable", "Unavailable"), ("blocks", "Blocks"), ("warns", "Warns")):
        for finding in (f for f in told["findings"] if f["severity"] == severity):
            database = finding["database"] and f"database {finding['database']}"
            place = ", ".join(plain(p) for p in (finding["side"], database) if p)
            lines.append(f"- **{title}**: {plain(finding['check'])}{f' ({place})' if place else ''}.")
            lines.append(f"  {plain(finding['found'])} Needed: {plain(finding['needed'])}")
            lines += _block(finding["remedy"])
    if told["unavailable"]:
        lines.append(f"- Not checked, because something is unavailable: {plain(', '.join(told['unavailable']))}")
    return [*lines, "", f"{told['blocks']} block, {told['warns']} warn, {len(told['passed'])} checks passed.", ""]


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


def _status(job: str, found: Document) -> tuple[list[str], int]:
    """Where the migration stands; for `status` whether somebody has to look, for others whether they may go on."""
    state, lag, back = found["state"], found["lag_bytes"], found.get("rollback_path") or {}
    lines = [f"State: {state}. Next: {plain(found['next'])}"]
    if job == "cutover" and state != "open" and not (found.get("verified") or {}).get("equal"):
        return [*lines, "**Waits:** no comparison has found both sides equal: advance first.", ""], NOT_YET
    if job != "status":
        return [*lines, ""], 0
    if lag is not None:
        lines.append(f"{lag:,} bytes behind.")
    if back.get("until"):
        is_open = "open" if back.get("open") else "closed"
        lines.append(f"The rollback path is {is_open} (rollbackWindow: until {back['until']}).")
    reasons = needs_a_person(found)
    lines += ["", *(f"- **Somebody has to look:** {plain(reason)}" for reason in reasons), ""]
    return lines, 1 if reasons else 0


def ended(command: str, status: int, found: Document) -> list[str]:
    """Why a command did not reach its goal: message, detail, hint."""
    error = found.get("error") or {"message": f"{command} ended with status {status}; the job's log says why."}
    lines = [f"**{'Waits' if status == NOT_YET else 'Failed'}:** {plain(error['message'])}", ""]
    for key in ("detail", "hint"):
        lines += [plain(error[key]), ""] if error.get(key) else []
    if "--allow-reboot" in str(error.get("hint")) and status == NOT_YET:
        lines += ["Here: `advance` with ENCRYPTDB_ALLOW_REBOOT=1, in the job that stands behind an approval.", ""]
    return lines


def retired(found: Document) -> list[str]:
    """What still holds plaintext."""
    lines = ["Replication is taken down.", ""]
    if found.get("report"):
        lines += [f"The report is {plain(found['report'])}: keep it, what it tells of is gone.", ""]
    for item in found["leftovers"]:
        lines += [f"- May still hold plaintext: {plain(item['kind'])} {plain(item['name'])}", *_block(item["remedy"])]
    return [*lines, ""]


def main(arguments: list[str]) -> int:
    """Write what is told; the job's exit status."""
    job, command, status, path = arguments
    text, ending = answer(job, command, int(status), read(path))
    sys.stdout.write(text + "\n")
    return ending


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
