"""What preflight knows of one database when it decides. No effects, no decisions."""

from dataclasses import dataclass

from encryptdb.stacks.contract.errors import Problem


@dataclass(frozen=True)
class Refusal:
    """The server's answer to a probe that failed: SQLSTATE and its first line."""

    sqlstate: str
    message: str

    @property
    def privilege(self) -> bool:
        """Whether a missing privilege is the reason (insufficient_privilege)."""
        return self.sqlstate == "42501"


@dataclass(frozen=True)
class Table:
    """One table or partition of the owner's. `identity` is pg_class.relreplident; size in bytes.

    `usable` is whether UPDATE and DELETE can be published (a valid, immediate identity index, or FULL).
    `candidate` is a unique index that could serve. `unequal` are columns whose type has no equality, which
    FULL cannot compare. `writes` counts updates and deletes since the statistics were reset.
    """

    schema: str
    name: str
    oid: int
    owner: str
    owner_superuser: bool
    partitioned: bool
    partition: bool
    unlogged: bool
    extension: bool
    identity: str
    usable: bool
    keyed: bool
    generated_in_key: bool
    generated: bool
    candidate: str | None
    unequal: tuple[str, ...]
    row_security: bool
    forced: bool
    missing: tuple[str, ...]
    schema_usage: bool
    bytes: int
    writes: int
    signature: str

    @property
    def path(self) -> tuple[str, str]:
        return self.schema, self.name


@dataclass(frozen=True)
class Thing:
    """One object of another kind: `kind` as `queries.THINGS_SQL` has it, with what it belongs to and how it stands."""

    kind: str
    schema: str | None
    name: str
    of: str | None
    state: str | None


@dataclass(frozen=True)
class Contents:
    """What is in one migrated database, as far as it matters."""

    tables: tuple[Table, ...]
    things: tuple[Thing, ...]
    large_objects: int
    large_objects_sum: int
    large_objects_written: int
    publications: tuple[str, ...]
    heartbeat: bool
    foreign_schema: bool
    cron_jobs: int | None
    partman: bool
    audit: str | None
    statements: str | None
    statements_utility: str | None
    statements_loaded: bool
    probes: dict[str, Refusal | None]

    def of_kind(self, kind: str) -> tuple[Thing, ...]:
        return tuple(t for t in self.things if t.kind == kind)


@dataclass(frozen=True)
class Database:
    """One database. `contents` is None where it takes no connections, does not move, or gave `problem` instead."""

    oid: int
    name: str
    owner: str
    owned: bool
    connect: bool
    allow_connections: bool
    template: bool
    bytes: int
    read_only: bool
    moves: bool = False
    contents: Contents | None = None
    problem: Problem | None = None
