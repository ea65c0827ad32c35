"""Which component declares which engine: the one place of the program that tells them apart by name."""

from collections.abc import Mapping

from stacks.aurora import EncryptedCluster
from stacks.component import Encrypted
from stacks.outputs import Engine
from stacks.plan import Plan
from stacks.rds import EncryptedInstance

COMPONENTS: Mapping[Engine, type[Encrypted]] = {
    "postgres": EncryptedInstance,
    "aurora-postgresql": EncryptedCluster,
}


def declare(plan: Plan) -> Encrypted:
    """Declare everything of the plan."""
    return COMPONENTS[plan.engine](plan.settings.stack, plan)
