"""Jobs shorter than what AWS needs: each ends by itself, green, and a later one goes on; nothing is made twice."""

import json
import signal
import time
from collections.abc import Iterator

import boto3
import psutil
import pytest

from tests.engine.engines import SECONDS, identities, is_kept
from tests.engine.pipeline import Database, Pipeline, make_databases

DELAY = 8.0
"""Of every state: a snapshot, a copy or a restore lasts longer than what a job waits for it."""

JOBS = (8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 300)
"""Seconds of each job: the first ones see nothing finished, and on a slow machine nothing begun."""

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def databases(pipeline: Pipeline) -> Iterator[dict[str, Database]]:
    yield make_databases(["short", "killed"])


def prepared(pipeline: Pipeline, database: Database) -> None:
    pipeline.configure(database.name, source=database.name, phase="prepare", sourceSecret=database.secret_arn)
    pipeline.run("advance", database.name).ended(0, "**Waits:**", "--allow-reboot", "ENCRYPTDB_ALLOW_REBOOT=1")
    pipeline.run("advance", database.name, ENCRYPTDB_ALLOW_REBOOT="1").ended(0, "encryptdb:phase restore")
    pipeline.configure(database.name, phase="restore")


def made(name: str) -> dict[str, str]:
    """Snapshots and target of a stack, by name."""
    return {key: value for key, value in identities().items() if key.startswith((f"{name}-", f"encryptdb-{name}-"))}


def test_jobs_that_end_before_aws_does_come_back_until_all_is_there(
    pipeline: Pipeline, databases: dict[str, Database]
) -> None:
    database = databases["short"]
    prepared(pipeline, database)
    seen: dict[str, str] = {}
    cut_off_in_the_middle = 0
    for seconds in JOBS:
        database.write(5)
        job = pipeline.run("advance", "short", ENCRYPTDB_JOB_SECONDS=str(seconds)).ended(0, "**Waits:**")
        now = made("short")
        # What an earlier job has begun is what it was: nothing is made anew.
        assert is_kept(seen, now)
        cut_off_in_the_middle += "**Waits:** for the next job" in job.summary and seen != now
        seen = now
        if "The cutover waits for its approval" in job.summary:
            break
    else:
        pytest.fail("the jobs never came to an end")
    assert cut_off_in_the_middle
    assert len(seen) == 3
    pipeline.run("cutover", "short", ENCRYPTDB_APPROVED_BY="a reviewer").ended(0, "State: open.")
    database.side = pipeline.outputs("short")["target"]
    assert database.rows() == database.written


def test_a_runner_that_dies_leaves_nothing_that_the_next_job_does_not_take_over(
    pipeline: Pipeline, databases: dict[str, Database]
) -> None:
    prepared(pipeline, databases["killed"])
    process, _ = pipeline.begin("advance", "killed")
    ends = time.monotonic() + SECONDS
    while "encryptdb-killed-1" not in made("killed"):
        assert time.monotonic() < ends
        time.sleep(0.2)
    # The runner's shell and the CLI, as a machine that is switched off.
    kill_all(process.pid)
    process.communicate(timeout=SECONDS)
    (pending,) = json.loads(pipeline.state("killed"))["checkpoint"]["latest"]["pending_operations"]
    assert pending["type"] == "creating"
    begun = made("killed")

    pipeline.run("advance", "killed").ended(0, "**Waits:** AWS is still creating encryptdb-killed-1")
    assert made("killed").keys() == begun.keys()
    rds = boto3.client("rds")
    rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="encryptdb-killed-1", WaiterConfig={"Delay": 1})
    begun = made("killed")
    pipeline.run("advance", "killed").ended(0, "+ 2 created", "The cutover waits for its approval")
    assert is_kept(begun, made("killed"))
    assert len(made("killed")) == 3


def kill_all(pid: int) -> None:
    """A process with everything below it."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGKILL)
