"""The lab's server process: moto's HTTP server with the lab's RDS behind it. It outlives `lab start`.

Its standard output and error are DIR/lab.log. It ends by a signal and cleans nothing up: `lab stop` does, in the same
way whether this process was ended or had died.
"""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
from moto.rds import models as rds_models
from moto.rds import urls as rds_urls
from moto.route53 import urls as route53_urls
from moto.server import ThreadedMotoServer

from encryptdb.lab import binaries
from encryptdb.lab.endpoint import Endpoints
from encryptdb.lab.layout import Layout
from encryptdb.lab.plane import Clients, Plane
from encryptdb.lab.processes import Owner
from encryptdb.lab.rds.base import LabBackend
from encryptdb.lab.rds.exports import Exports
from encryptdb.lab.rds.responses import LabBackendOfAll, LabResponse
from encryptdb.lab.rds.watch import Watch
from encryptdb.lab.route53 import LabRoute53
from encryptdb.lab.volumes import encryption

log = logging.getLogger("lab")

REGION = "eu-central-1"
ACCOUNT = "123456789012"


def main(directory: Path) -> int:
    """Serve until a signal comes. Ready when DIR/run/server.json is there, which names the endpoint."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("werkzeug", "botocore", "urllib3", "boto3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    layout = Layout.of(directory)
    settings = json.loads(layout.settings.read_text())
    owner = Owner.current()
    found = binaries.inspect(Path(settings["pg_bin"]), owner)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    clients = Clients(endpoint, REGION)
    plane = Plane(layout, found, owner, settings["network"], settings["port"], clients, settings["delay"])
    LabBackend.plane = plane
    LabBackendOfAll.endpoints = Endpoints(settings["port"])
    rds_models.rds_backends.backend = LabBackendOfAll
    rds_urls.url_paths = {"{0}/$": LabResponse.dispatch}
    route53_urls.url_paths = dict.fromkeys(route53_urls.url_paths, LabRoute53.dispatch)

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    for watcher in (Exports, Watch):
        watcher(plane, lambda: rds_models.rds_backends[ACCOUNT][REGION]).start()
    ready = {
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
        "endpoint_url": endpoint,
        "version": found.version,
        "family": found.family,
        "aurora_family": found.aurora_family,
        "tls": found.tls,
        "encrypted_storage": encryption(),
    }
    draft = layout.server.with_suffix(".new")
    draft.write_text(json.dumps(ready))
    draft.rename(layout.server)
    log.info("serving %s with PostgreSQL %s from %s", endpoint, found.version, found.folder)
    done.wait()
    log.info("ending on a signal")
    # Threads may be in the midst of a copy; what they leave is found and removed by whoever stops the lab.
    os._exit(0)
