"""Which component declares which engine: the one place of the program that tells them apart by name."""

from collections.abc import Mapping

from encryptdb.stacks.aurora import EncryptedCluster
from encryptdb.stacks.component import Encrypted
from encryptdb.stacks.contract.outputs import Engine
from encryptdb.stacks.plan import Plan
from encryptdb.stacks.rds import EncryptedInstance

COMPONENTS: Mapping[Engine, type[Encrypted]] = {
    "postgres": EncryptedInstance,
    "aurora-postgresql": EncryptedCluster,
}


def declare(plan: Plan) -> Encrypted:
    """Declare everything of the plan."""
    return COMPONENTS[plan.engine](plan.settings.stack, plan)
