"""The data plane: the real servers and snapshots behind the API. It knows nothing of moto; every call blocks."""

import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.exceptions import ClientError

from encryptdb.lab import freeze, roles
from encryptdb.lab.agent import Agent, hand_out_transaction_ids
from encryptdb.lab.binaries import Binaries
from encryptdb.lab.certificates import Authority
from encryptdb.lab.cluster import DISCARD, STOP, Cluster, Login
from encryptdb.lab.errors import LabError
from encryptdb.lab.layout import Layout
from encryptdb.lab.processes import Owner
from encryptdb.lab.vault import Keys, Stored
from encryptdb.lab.volumes import Volume

log = logging.getLogger(__name__)


@dataclass
class Host:
    """What stands behind one DB instance. `running` are the parameters of the last start, with reloads since."""

    volume: Volume
    cluster: Cluster
    running: dict[str, str] = field(default_factory=dict)
    agent: Agent | None = None
    still: threading.Lock = field(default_factory=threading.Lock)
    """Held while the server is stopped for a copy: one that ends would let it go on under another."""
    log_offsets: dict[str, int] = field(default_factory=dict)
    """Bytes of each log file that were there before this instance was: they are not exported to CloudWatch."""

    @property
    def address(self) -> str:
        return self.cluster.login.host

    @property
    def follows(self) -> bool:
        """Whether it is a replica, which nobody writes to."""
        return self.cluster.follows


class KeyUnavailable(LabError):
    """The KMS key is disabled, scheduled for deletion or gone."""


class KmsKeys(Keys):
    """Data keys through the KMS API. Raises KeyUnavailable."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def generate(self, key_arn: str) -> tuple[bytes, bytes]:
        self._require_enabled(key_arn)
        answer = self._client("kms").generate_data_key(KeyId=key_arn, KeySpec="AES_256")
        return answer["Plaintext"], answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes) -> bytes:
        answer = self._client("kms").decrypt(CiphertextBlob=wrapped)
        self._require_enabled(answer["KeyId"])
        plaintext: bytes = answer["Plaintext"]
        return plaintext

    def _require_enabled(self, key_arn: str) -> None:
        # moto encrypts and decrypts under a disabled key too; KMS does not.
        try:
            state = self._client("kms").describe_key(KeyId=key_arn)["KeyMetadata"]["KeyState"]
        except ClientError as error:
            raise KeyUnavailable(f"KMS does not know the key {key_arn}") from error
        if state != "Enabled":
            raise KeyUnavailable(f"the key {key_arn} is {state}")


class Clients:
    """boto3 clients to the lab's own endpoint, made when first used and then shared: they are safe across threads."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._session = boto3.session.Session("test", "test", region_name=region)
        self._endpoint, self._made, self._lock = endpoint, dict[str, Any](), threading.Lock()

    def __call__(self, service: str) -> Any:
        with self._lock:
            if service not in self._made:
                self._made[service] = self._session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]
            return self._made[service]


class Plane:
    """All servers and snapshots of one lab.

    `network` is the first two octets after 127 ("A.B"): each instance gets 127.A.B.n. `delay` is the least duration in
    seconds of every state in between.
    """

    def __init__(
        self, layout: Layout, binaries: Binaries, owner: Owner, network: str, port: int, clients: Clients, delay: float
    ) -> None:
        self.layout, self.binaries, self.owner, self.port, self.delay = layout, binaries, owner, port, delay
        self.clients, self.keys = clients, KmsKeys(clients)
        self.hosts: dict[str, Host] = {}
        self._network, self._numbers, self._lock = network, iter(range(10, 250)), threading.Lock()
        self._password = secrets.token_urlsafe(24)
        self._authority = Authority.create()
        layout.ca.write_bytes(self._authority.pem())

    def pause(self) -> None:
        """Stay in a state in between for its duration."""
        time.sleep(self.delay)

    def create(self, resource: str, key_arn: str | None, values: Mapping[str, str]) -> Host:
        """A fresh server, started, with only rdsadmin in it."""
        host = self.prepare(resource, key_arn, self.reserve())
        host.cluster.initdb()
        self.boot(host, values)
        return host

    def furnish(self, host: Host, master: str, password: str, database: str | None, more: Sequence[Path] = ()) -> None:
        """Give a fresh server its roles, its master and, if named, its first database. `more` is SQL that each of its
        databases gets."""
        roles.install(host.cluster.login, master, password, more)
        if database is not None:
            roles.create_database(host.cluster.login, database, master)

    def restore(self, resource: str, key_arn: str | None, stored: Stored, values: Mapping[str, str]) -> Host:
        """A server from a snapshot: crash recovery, and a few transaction ids of its own before anyone knows it."""
        host = self.prepare(resource, key_arn, self.reserve())
        self.unpack(host, stored)
        host.log_offsets = {p.name: p.stat().st_size for p in host.cluster.log_files()}
        self.boot(host, values)
        self.awake(host)
        return host

    def unpack(self, host: Host, stored: Stored) -> None:
        """Put what a snapshot holds into a server's empty storage."""
        host.volume.data.mkdir(mode=0o700)
        self.owner.own(host.volume.data)
        stored.unpack(host.volume.data, self.keys, self.owner)

    def awake(self, host: Host) -> None:
        """What a restored server does before its user arrives: it hands out transaction ids of its own."""
        hand_out_transaction_ids(host.cluster.login)

    def boot(self, host: Host, values: Mapping[str, str]) -> None:
        """Start a stopped server."""
        try:
            host.cluster.start(values)
        except psycopg.Error as error:
            raise LabError(f"the server does not answer: {error}") from error
        host.running = dict(values)
        if not host.follows:
            host.agent = Agent(host.cluster.login)
            host.agent.start()

    def halt(self, host: Host, how: Sequence[tuple[signal.Signals, float]] = STOP) -> None:
        """Stop a server, its agent first."""
        if host.agent is not None:
            host.agent.stop()
            host.agent = None
        host.cluster.stop(how)

    def reload(self, host: Host, values: Mapping[str, str]) -> None:
        host.cluster.reload(values)
        host.running = dict(values)

    def snapshot(self, host: Host, stored: Stored, key_arn: str | None) -> float:
        """Store what the volume holds at one instant; returns the seconds for which the server was held.

        An encrypted instance's copy is plain only inside its own encrypted filesystem, until it is sealed.
        """
        stored.directory.mkdir()
        if key_arn is None:
            return self.still_copy(host, stored.plain)
        staging = host.volume.mount / f"staging-{secrets.token_hex(4)}"
        try:
            held = self.still_copy(host, staging)
            stored.seal(staging, self.keys, key_arn)
        finally:
            freeze.discard(staging)
        return held

    def still_copy(self, host: Host, to: Path, owner: Owner | None = None) -> float:
        """Copy the data directory as it is at one instant; returns the seconds for which the server was held. `owner`
        is who copies, where it is not us."""
        with host.still:
            cluster = host.cluster
            return freeze.copy(cluster.data, to, cluster.postmaster(), not host.volume.encrypted, owner)

    def copy(self, source: Stored, target: Stored, key_arn: str | None) -> None:
        target.directory.mkdir()
        source.copy_to(target, self.keys, key_arn)

    def store(self) -> Stored:
        """A place for a new snapshot."""
        return Stored(self.layout.snapshots / secrets.token_hex(8))

    def destroy(self, resource: str) -> None:
        """Remove an instance's server and storage."""
        host = self.hosts.pop(resource, None)
        if host is not None:
            self.halt(host, DISCARD)
            host.volume.destroy()

    def set_password(self, host: Host, role: str, password: str) -> None:
        roles.set_password(host.cluster.login, role, password)

    def disk_usage(self, host: Host) -> tuple[int, int]:
        """Bytes on the volume, and those of them that are WAL."""
        return freeze.size(host.cluster.data), freeze.size(host.cluster.data / "pg_wal")

    def reserve(self) -> str:
        """An address that nobody has."""
        with self._lock:
            return f"127.{self._network}.{next(self._numbers)}"

    def prepare(self, resource: str, key_arn: str | None, address: str, known_as: Sequence[str] = ()) -> Host:
        """Empty storage for a server at `address`; its certificate is also good for the addresses `known_as`."""
        directory = self.layout.instances / resource
        volume = Volume(directory, self.owner, key_arn)
        login = Login(address, self.port, self.layout.ca, self.binaries.tls, self._password)
        host = Host(volume, Cluster(volume.data, directory, login, self.binaries, self.owner))
        # Known from here on, so that whatever fails next is still found and removed with the instance.
        self.hosts[resource] = host
        volume.create(self.keys)
        host.cluster.certify(self._authority, known_as)
        return host
