"""A small vocabulary for the tests of preflight: make the world bad, look, apply the remedy, look again."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import observe_server
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.server import Server, SideName
from encryptdb.controller.preflight.check import Finding
from encryptdb.controller.preflight.checks import CHECKS
from encryptdb.controller.preflight.facts import ServerFacts
from encryptdb.controller.preflight.read import read_server
from encryptdb.controller.preflight.report import Report
from tests.kit import servers
from tests.preflight.made import CONTROLLER, judged


@dataclass
class World:
    """A running server, what this test made on it, and how preflight sees it."""

    server: servers.Server
    made: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    @property
    def major(self) -> int:
        return int(self.server.sql("SHOW server_version_num")[0][0]) // 10000

    def database(self, name: str, more: str = "") -> str:
        self.server.sql(f"CREATE DATABASE {_quoted(name)} {more}")
        self.made.append(name)
        return name

    def role(self, name: str, attributes: str = "LOGIN") -> str:
        self.server.sql(f"CREATE ROLE {_quoted(name)} {attributes}")
        self.roles.append(name)
        return name

    def sql(self, text: str, database: str = "shop") -> list[tuple[Any, ...]]:
        """Run SQL as the superuser `postgres`, many statements at once if need be."""
        return self.server.sql(text, database=database)

    def login(self, role: str = CONTROLLER, side: SideName = "source") -> Server:
        return Server(side, "127.0.0.1", self.server.port, Login(role, Secret("not needed"), "the test"))

    def facts(self, role: str = CONTROLLER, side: SideName = "source") -> ServerFacts:
        """What preflight reads of this server."""
        login = self.login(role, side)
        try:
            observed = observe_server(login, partial=True)
            given = Observed(datetime.now(UTC), observed, None)
            reads = {r: None for check in CHECKS for r in check.reads}
            moving = [d for d in observed.databases if d in given.migrated]
            return read_server(login, observed, moving, reads)
        finally:
            login.close()

    def report(self, role: str = CONTROLLER, *, source: ServerFacts | None = None, **changes: Any) -> Report:
        """What all checks say. The rate of WAL is none of these tests' business."""
        return judged(source=source or self.facts(role), **changes)

    def findings(self, check: str, role: str = CONTROLLER, **given: Any) -> tuple[Finding, ...]:
        """What one check says."""
        return tuple(f for f in self.report(role, **given).findings if f.check == check)

    def finding(self, check: str, role: str = CONTROLLER, **given: Any) -> Finding:
        """The one thing that a check says."""
        found = self.findings(check, role, **given)
        assert len(found) == 1, f"expected one finding of {check}: {[str(f) for f in found]}"
        return found[0]

    def apply(self, finding: Finding) -> None:
        """Run the remedy exactly as it was printed, where it says that it belongs."""
        assert finding.remedy is not None
        self.sql(finding.remedy, finding.database or "postgres")

    def clean(self) -> None:
        """Drop everything that tests make."""
        self.server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        for gid, database in self.server.sql("SELECT gid, database FROM pg_prepared_xacts"):
            self.server.sql(f"ROLLBACK PREPARED '{gid}'", database=database)
        for (slot,) in self.server.sql("SELECT slot_name FROM pg_replication_slots"):
            self.server.sql("SELECT pg_drop_replication_slot(%s)", [slot])
        names = {n for (n,) in self.server.sql("SELECT datname FROM pg_database")} - {
            "postgres", "template0", "template1"
        }  # fmt: skip
        for name in sorted(names):
            self.server.sql(f"ALTER DATABASE {_quoted(name)} IS_TEMPLATE false")
            self.server.sql(f"ALTER DATABASE {_quoted(name)} ALLOW_CONNECTIONS true")
            for (subscription,) in self.server.sql(
                "SELECT subname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)",
                [name],
            ):
                quoted = _quoted(subscription)
                self.server.sql(f"ALTER SUBSCRIPTION {quoted} DISABLE", database=name)
                self.server.sql(f"ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)", database=name)
                self.server.sql(f"DROP SUBSCRIPTION {quoted}", database=name)
            self.server.sql(f"DROP DATABASE {_quoted(name)} WITH (FORCE)")
        for role in self.roles:
            self.server.sql(f"DROP OWNED BY {_quoted(role)}; DROP ROLE {_quoted(role)}")
        self.server.sql(f"ALTER ROLE {CONTROLLER} RESET ALL")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
