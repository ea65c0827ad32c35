"""The report's file. A later report reads the evidence that an earlier one holds."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from encryptdb.controller.migration import Migration
from encryptdb.controller.report.page import DATA_ID, render
from encryptdb.stacks.contract.errors import Usage

Data = dict[str, Any]

_DATA = re.compile(rf'<script type="application/json" id="{DATA_ID}">(.*?)</script>', re.DOTALL)

EVIDENCE = ("records", "journal", "evidence_at")
"""The data that come from the control databases."""


def path_of(m: Migration) -> Path:
    """`--output`, or encryptdb-<stack>.html in the working directory."""
    return Path(m.options.output or f"encryptdb-{re.sub(r'[^A-Za-z0-9_.-]', '_', m.outputs.stack)}.html")


def write(m: Migration, data: Data) -> str:
    """Write the report and return its path. Without control databases (after retire), the evidence of an earlier report
    at that path is kept. Raises Usage if the file cannot be written."""
    path = path_of(m)
    with _writing(path):
        _replace(path, render(with_evidence(data, read(path))))
    return str(path)


def check_writable(m: Migration) -> None:
    """Raise Usage if the report could not be written."""
    path = path_of(m)
    with _writing(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
        pass


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Usage(
            f"Could not write the report to {path}.",
            detail=error.strerror or type(error).__name__,
            hint="Name a file in a writable directory with --output FILE.",
        ) from None


def read(path: Path) -> Data | None:
    """The data of a report, or None if the file holds none."""
    try:
        found = _DATA.search(path.read_text(encoding="utf-8"))
        document = json.loads(found.group(1)) if found else None
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def with_evidence(data: Data, earlier: Data | None) -> Data:
    """`data`, with the evidence of an earlier report of the same attempt if it has none. Pure."""
    if data["records"] or earlier is None or earlier.get("version") != data["version"]:
        return data
    if (earlier.get("stack"), earlier.get("attempt")) != (data["stack"], data["attempt"]):
        return data
    return data | {key: earlier.get(key) for key in EVIDENCE}


def _replace(path: Path, text: str) -> None:
    """Write atomically."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        # mkstemp gives 0600; the report is meant to be shared.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
