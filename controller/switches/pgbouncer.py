"""PgBouncer: hold clients at the pooler, change the host in its configuration file, resume them. No client sees an
error; each waits for as long as the pause lasts.

    {"kind": "pgbouncer",
     "admin": "postgresql://user@host:port/pgbouncer",
     "configFile": "/etc/pgbouncer/pgbouncer.ini",
     "passwordEnv": "ENCRYPTDB_PGBOUNCER_PASSWORD",    optional: the environment variable with the password
     "databases": {"pool": "database"} or ["pool"]}    optional: by default every entry that points to `from`
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encryptdb.controller.postgres.login import Secret
from encryptdb.controller.switches import Context, Endpoint, Switch, ini, text
from encryptdb.controller.switches.console import Console, ConsoleError, Row
from encryptdb.stacks.contract.errors import Failed, Refused, Usage


@dataclass
class PgBouncer(Switch):
    """One pooler: its admin console, its configuration file, and those of its pools that move."""

    admin: str
    password: Secret | None
    config_file: Path
    chosen: frozenset[str] | None
    kind = "pgbouncer"
    holds_clients = True
    _pools: list[str] = field(default_factory=list)
    _console: Console | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "PgBouncer":
        admin = text(document, "admin")
        if Console.has_password(admin):
            raise Usage(
                "admin: contains a password, which would be visible in the stack's outputs.",
                hint="Remove it, and set passwordEnv to the name of an environment variable that holds it.",
            )
        variable = document.get("passwordEnv")
        if variable is not None and variable not in context.environ:
            raise Usage(f"passwordEnv: the environment variable {variable!r} is not set.")
        chosen = document.get("databases")
        if chosen is not None and not isinstance(chosen, list | tuple | Mapping):
            raise Usage(f"databases: expected an object or a list, found {chosen!r}.")
        return cls(
            context,
            admin=admin,
            password=Secret(context.environ[variable]) if variable else None,
            config_file=Path(text(document, "configFile")),
            chosen=frozenset(map(str, chosen)) if chosen else None,
        )

    @property
    def name(self) -> str:
        return f"PgBouncer at {Console.where(self.admin)}"

    def probe(self) -> None:
        """The console answers and may pause, the file can be written, and the pools point to the leaving side."""
        selected = self._selected(self._text())
        if not os.access(self.config_file, os.W_OK) or not os.access(self.config_file.parent, os.W_OK):
            raise Failed(
                f"{self.name}: no permission to write {self.config_file}.",
                detail="The new version is written beside it and renamed, so the directory must be writable too.",
                hint="Run the controller on the pooler's host, as a user with write permission.",
            )
        pools = self._show_databases()
        self._pools = [
            p["name"] for p in pools if (p["name"] in selected or "*" in selected) and self._is(p, self.from_)
        ]
        missing = [s for s in selected if s != "*" and s not in {p["name"] for p in pools}]
        if missing or not self._pools:
            raise Refused(
                f"{self.name} does not run with the settings in {self.config_file}.",
                detail=f"It has no pool that points to {self.from_} named: {', '.join(missing or sorted(selected))}.",
                hint="In its admin console: RELOAD; or set configFile to the file that it reads.",
            )
        session = [p["name"] for p in pools if p["name"] in self._pools and self._mode(p) == "session"]
        if session:
            raise Refused(
                f"{self.name} uses pool_mode = session for {', '.join(session)}.",
                detail="PAUSE would wait until every client has disconnected.",
                hint="Set pool_mode = transaction for them, or remove this switch and have the clients reconnect.",
            )
        for pool in pools:
            if pool["name"] in self._pools:
                self._may_pause(pool)

    def pause(self, seconds: float) -> None:
        try:
            with contextlib.ExitStack() as stack:
                waiting = []
                for pool in self._pools:
                    console = stack.enter_context(self._connect())
                    console.send(f"PAUSE {_quoted(pool)}")
                    waiting.append(console)
                for console in waiting:
                    console.wait(seconds)
        except ConsoleError as error:
            raise Failed(
                f"{self.name} could not hold its clients within {seconds:g} s.",
                detail=str(error),
                hint="Look for a long transaction in its pools. In its admin console: SHOW SERVERS;",
            ) from None

    def apply(self) -> None:
        before = self._text()
        changed = ini.repoint(before, self._points_to(self.from_), self.to.host, self.to.port)
        if changed != before:
            self._write(changed)
        self._do("RELOAD")

    def check(self) -> None:
        selected = self._selected(self._text(), either=True)
        wrong = [p["name"] for p in self._show_databases() if p["name"] in selected and not self._is(p, self.to)]
        if wrong:
            raise Failed(
                f"{self.name} does not point to {self.to} after RELOAD: {', '.join(wrong)}.",
                hint=f"Check that it reads {self.config_file}.",
            )

    def resume(self) -> None:
        try:
            self._resume()
        except ConsoleError:
            # The kept connection may be broken: clients are held, so try once more over a new one.
            self._console = None
            try:
                self._resume()
            except ConsoleError as error:
                raise Failed(
                    f"{self.name} may still be holding its clients.",
                    detail=str(error),
                    hint="In its admin console: RESUME;",
                ) from None

    def _resume(self) -> None:
        for pool in self._pools or [p["name"] for p in self._query("SHOW DATABASES") if p.get("paused") == "1"]:
            try:
                self._query(f"RESUME {_quoted(pool)}")
            except ConsoleError as error:
                if "not paused" not in str(error):
                    raise

    def held(self) -> dict[str, Any]:
        password = self.password.reveal() if self.password else None
        return {"admin": self.admin, "password": password, "pools": list(self._pools)}

    @staticmethod
    def resume_held(held: Mapping[str, Any]) -> None:
        password = Secret(held["password"]) if held["password"] else None
        with Console(held["admin"], password) as console:
            for pool in console.query("SHOW DATABASES"):
                if pool["name"] in held["pools"] and pool.get("paused") == "1":
                    console.query(f"RESUME {_quoted(str(pool['name']))}")

    def _text(self) -> str:
        try:
            return self.config_file.read_bytes().decode()
        except OSError as error:
            raise Failed(
                f"{self.name}: could not read {self.config_file}.",
                detail=str(error.strerror),
                hint="Run the controller on the pooler's host, or correct configFile.",
            ) from None

    def _selected(self, content: str, either: bool = False) -> set[str]:
        points = {e.name for e in ini.entries(content) if self._points_to(self.from_)(e)}
        if either:
            points |= {e.name for e in ini.entries(content) if self._points_to(self.to)(e)}
        if not points or (self.chosen and not self.chosen <= points):
            absent = sorted(self.chosen - points) if self.chosen else []
            raise Refused(
                f"{self.name}: {self.config_file} has no entry that points to {self.from_}"
                + (f" for {', '.join(absent)}." if absent else "."),
                detail=f"It has: {', '.join(f'{e.name} → {e.host}:{e.port}' for e in ini.entries(content)) or 'none'}.",
                hint="The switch changes entries of [databases] in this file whose host is the database's.",
            )
        return points

    def _points_to(self, endpoint: Endpoint) -> Any:
        def matches(entry: ini.Entry) -> bool:
            chosen = self.chosen is None or entry.name in self.chosen
            return chosen and entry.port == endpoint.port and _same_host(entry.host, endpoint.host)

        return matches

    def _is(self, pool: Row, endpoint: Endpoint) -> bool:
        return pool.get("port") == str(endpoint.port) and _same_host(pool.get("host"), endpoint.host)

    def _mode(self, pool: Row) -> str:
        if pool.get("pool_mode"):
            return str(pool["pool_mode"])
        return next((str(r["value"]) for r in self._query("SHOW CONFIG") if r["key"] == "pool_mode"), "session")

    def _may_pause(self, pool: Row) -> None:
        # RESUME of a pool that is not paused changes nothing; a user who may not pause gets another error for it.
        try:
            self._do(f"RESUME {_quoted(pool['name'])}")
        except Failed as problem:
            if "not paused" not in (problem.detail or ""):
                raise Failed(
                    f"{self.name}: no permission to PAUSE.",
                    detail=problem.detail,
                    hint="Add the user named in `admin` to the pooler's admin_users.",
                ) from None

    def _show_databases(self) -> list[Row]:
        try:
            return self._query("SHOW DATABASES")
        except ConsoleError as error:
            raise Failed(
                f"{self.name} does not answer.",
                detail=str(error),
                hint="Check `admin` and passwordEnv, and that the user is one of admin_users.",
            ) from None

    def _do(self, command: str) -> None:
        try:
            self._query(command)
        except ConsoleError as error:
            raise Failed(f"{self.name} refused {command}.", detail=str(error)) from None

    def _query(self, command: str) -> list[Row]:
        """Over a connection that is kept open: in the pause, connecting costs more than the command."""
        if self._console is None or not self._console.alive:
            self._console = self._connect()
        return self._console.query(command)

    def _connect(self) -> Console:
        return Console(self.admin, self.password)

    def _write(self, content: str) -> None:
        """Replace the file atomically, keeping its mode and owner: PgBouncer must never read half of it."""
        target = self.config_file.resolve()
        beside = target.with_name(f".{target.name}.encryptdb")
        try:
            beside.write_bytes(content.encode())
            shutil.copymode(target, beside)
            found = target.stat()
            os.chown(beside, found.st_uid, found.st_gid)
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise Failed(f"{self.name}: could not replace {target}.", detail=str(error.strerror)) from None


def _quoted(pool: str) -> str:
    if '"' in pool:
        raise Usage(f"databases: the pool name {pool!r} cannot be quoted in PgBouncer's console.")
    return f'"{pool}"'


def _same_host(one: str | None, other: str) -> bool:
    if not one:
        return False
    return one == other or bool(_addresses(one) & _addresses(other))


def _addresses(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)}
    except OSError:
        return set()


SWITCH = PgBouncer
