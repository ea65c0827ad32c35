"""What preflight knows when it decides: frozen values, read at one moment. No effects, no decisions.

None means "could not be read", never "is not there".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from encryptdb.controller.engines import Description, Words, words_of
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.preflight.contents import Contents, Database, Refusal
from encryptdb.controller.records import Records
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Engine, Outputs, Side


class Stage(IntEnum):
    """How far the migration is, as far as a check must know. OPEN is also everything after it."""

    UNPREPARED = 0
    PREPARED = 1
    RESTORED = 2
    OPEN = 3


@dataclass(frozen=True)
class Role:
    """The controller's role on one server; memberships count as PostgreSQL counts them for the privilege at hand."""

    name: str
    superuser: bool
    inherit: bool
    create_database: bool
    may_replicate: bool
    may_signal: bool
    may_see: bool
    may_read_settings: bool
    tls: bool
    rds: bool


@dataclass(frozen=True)
class Slot:
    name: str
    database: str | None
    plugin: str | None
    wal_status: str | None
    safe_wal_bytes: int | None


@dataclass(frozen=True)
class Subscription:
    name: str
    database: str
    enabled: bool


@dataclass(frozen=True)
class Prepared:
    gid: str
    owner: str
    database: str


@dataclass(frozen=True)
class Session:
    """A session that matters to us: one that writes in a long transaction, or one of our own role's."""

    pid: int
    role: str | None
    database: str | None
    application: str | None
    transaction_seconds: float | None


@dataclass(frozen=True)
class Wal:
    """How fast WAL is written, in bytes/s: measured while preflight ran, and on average since the statistics were
    reset. None where the server has no such figure (the average below PostgreSQL 14; on Aurora, both at times)."""

    measured: float | None
    average: float | None

    @property
    def rate(self) -> float | None:
        """The greater of both: a quiet second in a busy day must not promise anything."""
        return max((r for r in (self.measured, self.average) if r is not None), default=None)


@dataclass(frozen=True)
class Counts:
    """What is in use: sessions, WAL senders of others, background workers other than apply and parallel ones."""

    connections: int
    senders: int
    workers: int


@dataclass(frozen=True)
class ServerFacts:
    """One server."""

    side: SideName
    settings: dict[str, str]
    role: Role
    in_recovery: bool
    engine: Engine
    databases: tuple[Database, ...]
    slots: tuple[Slot, ...]
    subscriptions: tuple[Subscription, ...]
    prepared: tuple[Prepared, ...]
    writers: tuple[Session, ...]
    role_users: tuple[Session, ...]
    counts: Counts
    wal: Wal
    probes: dict[str, Refusal | None]
    records: Records | None
    foreign_control: bool = False

    @property
    def major(self) -> int:
        return int(self.settings["server_version_num"]) // 10000

    @property
    def moving(self) -> tuple[Database, ...]:
        return tuple(d for d in self.databases if d.moves)

    @property
    def readable(self) -> tuple[tuple[Database, Contents], ...]:
        return tuple((d, d.contents) for d in self.moving if d.contents is not None)

    def number(self, setting: str) -> int:
        return int(self.settings[setting])


@dataclass(frozen=True)
class CloudFacts:
    """What AWS says. A side is None where AWS says that there is none.

    `groups` holds the user-set parameters of the stack's parameter groups (None: the group is not there);
    `free_bytes` is the source's free storage, None where there is no figure: then `free_unknown` says why, or the
    storage grows by itself and there is none to give.
    """

    source: Description | None
    target: Description | None
    groups: dict[str, Mapping[str, str] | None]
    free_bytes: int | None
    free_unknown: str | None = None


@dataclass(frozen=True)
class Silence:
    """A server, or AWS, that did not answer, with the reason."""

    side: str
    problem: Problem


@dataclass(frozen=True)
class Facts:
    """Everything. `source`, `target` and `cloud` are None where there is none or where it is in `silent`."""

    outputs: Outputs
    names: Names
    stage: Stage
    source: ServerFacts | None
    target: ServerFacts | None
    cloud: CloudFacts | None
    silent: tuple[Silence, ...] = field(default=())

    @property
    def servers(self) -> tuple[ServerFacts, ...]:
        """The servers to judge. After OPEN the source is history: nothing that is still to do needs it."""
        sides = (None if self.stage == Stage.OPEN else self.source, self.target)
        return tuple(s for s in sides if s is not None)

    @property
    def words(self) -> Words:
        """What this engine's things are called."""
        return words_of(self.outputs.engine)

    def known(self, side: str) -> Side:
        """One side as the stack knows it; the source where there is no target."""
        return self.outputs.target if side == "target" and self.outputs.target is not None else self.outputs.source

    def ours(self, name: str) -> bool:
        """Whether a slot or subscription has a name that this stack gives."""
        return re.fullmatch(re.escape(self.names.publication) + r"_\d+(_back)?", name) is not None
