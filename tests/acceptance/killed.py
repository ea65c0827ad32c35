"""A controller that dies, as by SIGKILL, at a named moment of a named step: `python -m tests.acceptance.killed STEP
MOMENT COMMAND …`. Test code; the product only has the observer that it is told through."""

import dataclasses
import os
import sys
from typing import Any

from encryptdb.controller import cli
from encryptdb.controller.commands import arguments
from encryptdb.controller.migration import Migration

DIED = 137


def main() -> int:
    step, moment, *argv = sys.argv[1:]

    def observer(name: str, when: str) -> None:
        if (name, when) == (step, moment):
            os._exit(DIED)

    opened = arguments.open_migration

    def open_observed(*given: Any) -> Migration:
        return dataclasses.replace(opened(*given), observer=observer)

    arguments.open_migration = open_observed
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
