"""What preflight knows when it decides: frozen values, read at one moment. No effects, no decisions.

None means "could not be read", never "is not there".
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from controller.errors import Problem
from controller.names import Names
from controller.preflight.contents import Contents, Database, Refusal
from controller.server import SideName
from stacks.outputs import Outputs


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
    reset (None below PostgreSQL 14)."""

    measured: float
    average: float | None

    @property
    def rate(self) -> float:
        """The greater of both: a quiet second in a busy day must not promise anything."""
        return max(self.measured, self.average or 0.0)


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
    aurora: bool
    databases: tuple[Database, ...]
    slots: tuple[Slot, ...]
    subscriptions: tuple[Subscription, ...]
    prepared: tuple[Prepared, ...]
    writers: tuple[Session, ...]
    role_users: tuple[Session, ...]
    counts: Counts
    wal: Wal
    probes: dict[str, Refusal | None]
    records: dict[str, Any] | None
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
class CloudInstance:
    """One RDS instance (or Aurora cluster) as AWS describes it; sizes in bytes."""

    identifier: str
    resource_id: str
    status: str
    engine: str
    encrypted: bool
    encryption_type: str | None
    kms_key: str | None
    parameter_group: str
    parameter_status: str
    pending: dict[str, Any]
    public: bool
    allocated_bytes: int
    max_allocated_bytes: int | None
    read_replicas: tuple[str, ...]
    replica_of: str | None


@dataclass(frozen=True)
class CloudFacts:
    """What AWS says. An instance is None where AWS says that there is none.

    `groups` holds the user-set parameters of the stack's parameter groups (None: the group is not there);
    `free_bytes` is FreeStorageSpace of the source, None where CloudWatch has no figure, and then `free_unknown` why.
    """

    source: CloudInstance | None
    target: CloudInstance | None
    groups: dict[str, dict[str, str] | None]
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

    def ours(self, name: str) -> bool:
        """Whether a slot or subscription has a name that this stack gives."""
        return re.fullmatch(re.escape(self.names.publication) + r"_\d+(_back)?", name) is not None
