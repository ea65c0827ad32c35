"""What `__main__.py` is made of: the component of each engine, the outputs, and how a refusal is shown."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pulumi

from encryptdb.stacks.aurora import EncryptedCluster
from encryptdb.stacks.component import Encrypted
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Engine, Outputs, camel
from encryptdb.stacks.plan import Plan
from encryptdb.stacks.rds import EncryptedInstance

COMPONENTS: Mapping[Engine, type[Encrypted]] = {
    "postgres": EncryptedInstance,
    "aurora-postgresql": EncryptedCluster,
}


def declare(plan: Plan) -> Encrypted:
    """Declare everything of the plan."""
    return COMPONENTS[plan.engine](plan.settings.stack, plan)


def export(document: pulumi.Output[dict[str, object]]) -> None:
    """Export every key of the contract; a key whose value is not there yet is `null`, never absent."""
    for field in dataclasses.fields(Outputs):
        key = camel(field.name)
        pulumi.export(key, document.apply(lambda d, key=key: d[key]))  # type: ignore[misc]


@contextmanager
def plainly() -> Iterator[None]:
    """Translate a Problem into a RunError, which Pulumi prints without a stack trace."""
    try:
        yield
    except Problem as problem:
        problem.name_again(f"pulumi up --stack {pulumi.get_stack()}")
        raise pulumi.RunError(problem.plain()) from problem
