"""The slots on the source."""

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres import slots
from encryptdb.controller.steps.step import observed_source


def has_slots(m: Migration, observed: Observed) -> bool:
    return all(m.names.slot(d.oid) in observed_source(observed).slots for d in observed.migrated)


def make_slots(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        name = m.names.slot(database.oid)
        if name not in observed_source(observed).slots:
            slots.create(m.source, database.name, name, reporter=m.reporter, clock=m.clock)


def drop_slots(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        slots.drop(m.source, m.names.slot(database.oid), reporter=m.reporter, clock=m.clock, via="postgres")
