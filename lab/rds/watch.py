"""What RDS does when a server dies under an available instance: it starts it again."""

import logging
import threading
import time
from collections.abc import Callable

from moto.rds.models import RDSBackend

from encryptdb.lab.plane import Host, Plane
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.transitions import LOCK, background

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds."""


class Watch:
    """A thread that looks at every available instance once a second."""

    def __init__(self, plane: Plane, backend: Callable[[], RDSBackend]) -> None:
        self._plane, self._backend = plane, backend

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            with LOCK:
                for database in list(self._backend().databases.values()):
                    if isinstance(database, LabInstance) and database.status == "available":
                        host = self._plane.hosts.get(database.dbi_resource_id)
                        if host is not None and host.cluster.postmaster() is None:
                            database.status = "rebooting"
                            self._recover(database, host)

    def _recover(self, database: LabInstance, host: Host) -> None:
        def work() -> None:
            self._plane.halt(host)
            self._plane.boot(host, host.running)
            with LOCK:
                database.status = "available"

        def failed(_: Exception) -> None:
            database.status = "failed"

        background(f"recovery of {database.db_instance_identifier}, whose server has died", work, failed)
