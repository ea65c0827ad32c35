"""The checks by subject, in the order in which they are reported and documented.

A subject is a module of definitions: adding a check is adding one there, then `make docs`.
"""

from collections.abc import Mapping
from types import ModuleType

from encryptdb.controller.preflight.check import Check
from encryptdb.controller.preflight.checks import (
    activity,
    cloud,
    databases,
    rights,
    roles,
    servers,
    storage,
    surroundings,
    tables,
)

SUBJECTS: Mapping[str, ModuleType] = {
    "The servers": servers,
    "The controller's role": roles,
    "Its rights in the databases": rights,
    "The databases": databases,
    "The tables": tables,
    "What else is on the servers": surroundings,
    "What runs on the servers": activity,
    "What AWS says": cloud,
    "Storage": storage,
}


def of(subject: ModuleType) -> tuple[Check, ...]:
    """The checks of one module, in the order of their definition."""
    return tuple(value for value in vars(subject).values() if isinstance(value, Check))


CHECKS: tuple[Check, ...] = tuple(check for subject in SUBJECTS.values() for check in of(subject))
