"""What holds for every test: signals, the fixtures of plain servers, and how tests are spread over workers."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.kit import servers
from tests.kit.fixtures import bin_folder, blank, room

__all__ = ["bin_folder", "blank", "room"]

# Started in the background by a shell, this process ignores SIGINT, and so would every command that a test starts and
# then interrupts: what is ignored stays ignored over exec, what is handled does not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST_FIRST = ("acceptance", "cutover", "engine", "infra", "lab", "postgres")
"""Areas in the order of what one of their groups takes: a long one that begins last would be waited for alone."""

TOGETHER = ("init", "preflight", "verify")
"""Areas whose files share labs or servers that are made for the whole of them."""

SERVER = re.compile(r"\[(system|wheel|\d\d-\d+)\b")
"""The parameter that stands for a server of its own."""


def pytest_report_header() -> str:
    return f"PostgreSQL of the system: {servers.newest_system() or 'none, so those tests fail'}; and the wheel's"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    here = Path(__file__).parent
    items.sort(key=lambda item: ranks.get(item.path.relative_to(here).parts[0], len(ranks)))


class ByServers(LoadScopeScheduling):
    """Keeps together on one worker what shares servers: the tests of one file, and of one version in it."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        area, name = Path(file).parent.name, Path(file).name
        if area == "acceptance" and name != "test_wrong_copies.py":
            # Each of these has a lab of its own.
            return nodeid
        server = SERVER.search(test)
        return " ".join((area if area in TOGETHER else file, server[1] if server else ""))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByServers(config, log)
