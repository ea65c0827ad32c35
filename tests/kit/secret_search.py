"""Looks for secrets where none may be: in texts, in files, in the command lines and environments of processes.

A secret is searched for in the forms in which it travels: as it is, URL-encoded, in base64 (whatever stands before it),
in hexadecimal, in UTF-16, escaped for JSON. What is reported names the secret and the place, never the secret itself.
"""

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Bytes. Anything shorter would be found by chance."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class Found:
    """One secret in one place. `secret` is the name the test gave it."""

    secret: str
    form: str
    where: str


def forms(secret: str) -> dict[str, bytes]:
    """Every form in which the secret is searched for."""
    plain = secret.encode()
    if len(plain) < SHORTEST:
        raise ValueError(f"a secret of {len(plain)} bytes is too short to be searched for")
    found = {
        "plain": plain,
        "URL-encoded": quote(secret, safe="").encode(),
        "form-encoded": quote_plus(secret).encode(),
        "hexadecimal": plain.hex().encode(),
        "JSON-escaped": json.dumps(secret)[1:-1].encode(),
        "UTF-16 LE": secret.encode("utf-16-le"),
        "UTF-16 BE": secret.encode("utf-16-be"),
    }
    for shift in range(3):
        # Only the characters that do not depend on the neighbours.
        whole = base64.b64encode(b"\0" * shift + plain)
        inner = whole[(8 * shift + 5) // 6 : (8 * (shift + len(plain))) // 6]
        found[f"base64, shifted by {shift}"] = inner
        found[f"base64url, shifted by {shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return {form: text for n, (form, text) in enumerate(found.items()) if text not in list(found.values())[:n]}


class Search:
    """A search for several secrets, each under a name that may be shown."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if not secrets:
            raise ValueError("there is nothing to search for")
        self._wanted = {name: forms(secret) for name, secret in secrets.items()}
        self._longest = max(len(text) for wanted in self._wanted.values() for text in wanted.values())

    def text(self, text: str | bytes, where: str) -> list[Found]:
        """Occurrences in one text: the first form of each secret that is in it."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return [
            Found(name, form, where)
            for name, wanted in self._wanted.items()
            if (form := next((f for f, hidden in wanted.items() if hidden in data), None)) is not None
        ]

    def paths(self, paths: Iterable[Path]) -> list[Found]:
        """Occurrences in files, and in all files below directories; names count too. A file that went away meanwhile
        is passed over, one that may not be read is an error. Raises ValueError where there was no file at all."""
        found: list[Found] = []
        looked = 0
        for path in paths:
            for file in _files(path):
                looked += 1
                found += self.text(str(file), f"the name of {file.parent}/…")
                found += self._file(file)
        if not looked:
            raise ValueError("no file was searched, so nothing is proved")
        return found

    def _file(self, file: Path) -> list[Found]:
        found: set[Found] = set()
        try:
            with file.open("rb") as stream:
                kept = b""
                while piece := stream.read(CHUNK):
                    data = kept + piece
                    found.update(self.text(data, str(file)))
                    kept = data[-self._longest :]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda f: (f.secret, f.form))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (p for p in sorted(path.rglob("*")) if p.is_file() and not p.is_symlink())
    elif path.exists():
        yield path


class ProcessWatch:
    """Samples the command lines of all processes while a block runs, as `ps` would show them to everyone.

    Environments are readable by their owner and root only, and are where secrets are meant to be passed: they are
    sampled where `environments` says so. Processes that end between two samples can be missed: a server's children
    rewrite their titles with what they run, so let a run last for longer than one sample.
    """

    def __init__(self, search: Search, *, environments: bool = False, every: float = 0.01) -> None:
        self._search, self._every = search, every
        self._names = ("cmdline", "environ") if environments else ("cmdline",)
        self._seen: set[tuple[str, bytes]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="process watch", daemon=True)
        self.samples = 0

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def found(self) -> list[Found]:
        """What was seen. Raises ValueError where nothing was sampled."""
        if not self.samples:
            raise ValueError("no process was looked at, so nothing is proved")
        return [f for place, data in sorted(self._seen) for f in self._search.text(data, place)]

    def _watch(self) -> None:
        while True:
            self._sample()
            if self._stop.wait(self._every):
                return

    def _sample(self) -> None:
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            for name in self._names:
                try:
                    data = (process / name).read_bytes()
                except OSError:
                    # It has ended, or is somebody else's environment.
                    continue
                if data:
                    self._seen.add((f"{name} of a process", data.replace(b"\0", b" ")))
        self.samples += 1


def wait_for_sample(watch: ProcessWatch, seconds: float = 10) -> None:
    """Wait until every process that runs now has been looked at."""
    deadline, wanted = time.monotonic() + seconds, watch.samples + 2
    while watch.samples < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError("the process watch does not sample")
        time.sleep(0.005)
