"""RDS and Aurora: the only place where the controller distinguishes them."""

from collections.abc import Mapping

from encryptdb.controller.engines.aurora import Aurora
from encryptdb.controller.engines.engine import Engine, Leftover, Log
from encryptdb.controller.engines.rds import Rds
from encryptdb.controller.engines.settings import Parameter, ParameterGroup
from encryptdb.controller.engines.settings import Server as ServerSettings
from encryptdb.controller.engines.tables import Block, Setting, Value
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.outputs import Engine as EngineName

__all__ = [
    "Block",
    "Engine",
    "Leftover",
    "Log",
    "Parameter",
    "ParameterGroup",
    "ServerSettings",
    "Setting",
    "Value",
    "engine_of",
]

ENGINES: Mapping[EngineName, type[Engine]] = {"postgres": Rds, "aurora-postgresql": Aurora}


def engine_of(name: EngineName, aws: Aws) -> Engine:
    """The engine that the stack's outputs name."""
    return ENGINES[name](aws)
