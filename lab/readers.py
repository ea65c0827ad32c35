"""Aurora's instances on servers that share nothing: a writer on the cluster's volume, and a streaming replica for each
reader, with storage of its own.

A reader needs no slot: its writer keeps WAL for it. It sends no feedback, so nothing on the writer waits for it. What
can be seen of it is one row of pg_stat_replication, of rdsadmin, whose application_name begins with APPLICATION.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import psycopg

from encryptdb.lab.binaries import Binaries
from encryptdb.lab.cluster import ADMIN, Cluster
from encryptdb.lab.plane import Host, Plane
from encryptdb.lab.processes import wait_until

APPLICATION = "aurora reader (lab)"
SQL = Path(__file__).with_name("aurora.sql")
"""What the databases of an Aurora cluster have beside what an RDS instance's have."""

KEPT_WAL = "1GB"
"""How far a reader may fall behind, or be away, before it cannot follow any more."""

FOLLOWING_SECONDS = 60.0

AT_LEAST_THE_WRITERS = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)
"""A replica stops replaying when one of these is smaller than its primary's."""


def become_writer(host: Host, identifier: str) -> None:
    """Settings of a server that is a cluster's writer; they act when it starts."""
    host.cluster.followed = True
    host.cluster.own |= {"lab.instance_identifier": identifier, "wal_keep_size": KEPT_WAL}


def mark_logical_start(host: Host, database: str = ADMIN) -> str:
    """After the first start on a volume, before anyone writes: remember where its recovery ended.

    Until the server takes connections, the one checkpoint since then is the one that ends the recovery (or the shutdown
    that left nothing to recover). `database` is one that is there already.
    """
    with host.cluster.login.connect(database) as connection:
        row = connection.execute("SELECT redo_lsn::text FROM pg_control_checkpoint()").fetchone()
    assert row is not None
    host.cluster.own["lab.volume_logical_start_lsn"] = str(row[0])
    host.cluster.configure(host.running)
    return str(row[0])


def forget_inherited_logs(host: Host) -> None:
    """Server logs are the instance's, not the volume's: a restored cluster and a new reader have none of another's."""
    shutil.rmtree(host.cluster.logs.parent, ignore_errors=True)


def seed(
    plane: Plane,
    writer: Host,
    resource: str,
    identifier: str,
    address: str,
    known_as: list[str],
    values: Mapping[str, str],
) -> Host:
    """A reader of a running writer, started and following it. Raises LabError."""
    host = plane.prepare(resource, writer.volume.key_arn, address, known_as)
    plane.still_copy(writer, host.cluster.data, plane.owner)
    forget_inherited_logs(host)
    # The writer's slots are not its own, and would keep WAL that nobody here asks for.
    for slot in (host.cluster.data / "pg_replslot").iterdir():
        shutil.rmtree(slot)
    signal = host.cluster.data / "standby.signal"
    signal.touch(mode=0o600)
    plane.owner.own(signal)
    host.cluster.own = {name: v for name, v in writer.cluster.own.items() if name.startswith("lab.")}
    follow(host.cluster, writer.cluster, identifier)
    plane.boot(host, raised(plane.binaries, values, writer.running))
    return host


def follow(reader: Cluster, writer: Cluster, identifier: str) -> None:
    """Settings by which a reader follows its writer; they act when it starts."""
    # A member of pg_read_all_settings, as the master is, can read primary_conninfo: the password is not in it.
    secret, ca = reader.keep / "writer.pgpass", reader.keep / "ca.pem"
    secret.touch(mode=0o600)
    secret.write_text(f"{writer.login.host}:{writer.login.port}:*:{ADMIN}:{writer.login.password}\n")
    ca.write_bytes(writer.login.ca.read_bytes())
    for file in (secret, ca):
        reader.owner.own(file)
    tls = f"sslmode=verify-full sslrootcert='{ca}'" if writer.login.tls else "sslmode=disable"
    reader.own |= {
        "lab.instance_identifier": identifier,
        "primary_conninfo": f"host={writer.login.host} port={writer.login.port} user={ADMIN} passfile='{secret}' "
        f"application_name='{APPLICATION} {identifier}' {tls}",
        "hot_standby": "on",
        "hot_standby_feedback": "off",
        # Five seconds by default: too long for a reader whose writer was just restarted.
        "wal_retrieve_retry_interval": "200ms",
    }


def await_following(reader: Cluster, writer: Cluster) -> None:
    """Wait until a reader that stayed up has replayed what its writer, started again, has written. Raises LabError.

    On a shared volume it would see that at once. Here it has to reconnect; and were it restarted before it has replayed
    that its writer now runs with smaller values, it would not start with as small ones.
    """
    with writer.login.connect(ADMIN) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert row is not None

    def there() -> bool:
        try:
            with reader.login.connect(ADMIN) as connection:
                seen = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [row[0]]).fetchone()
        except psycopg.OperationalError:
            return False
        return bool(seen and seen[0])

    wait_until(there, "a reader to follow its writer again", FOLLOWING_SECONDS, every=0.05)


def raised(binaries: Binaries, values: Mapping[str, str], writer: Mapping[str, str]) -> dict[str, str]:
    """A reader's parameters, with those that a replica must have from its writer at least as large as there."""

    def number(of: Mapping[str, str], name: str) -> int:
        return int(of.get(name) or binaries.known[name].default)

    return dict(values) | {n: writer[n] for n in AT_LEAST_THE_WRITERS if number(writer, n) > number(values, n)}
