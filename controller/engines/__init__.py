"""RDS and Aurora: the one place where the controller knows them apart. `engine_of` chooses, once per command."""

from encryptdb.controller.engines.aurora import Aurora
from encryptdb.controller.engines.description import Description, Leftover, Log, Member
from encryptdb.controller.engines.engine import Engine, the
from encryptdb.controller.engines.rds import Rds
from encryptdb.controller.engines.settings import Block, Parameter, ParameterGroup, Setting, Value
from encryptdb.controller.engines.settings import Server as ServerSettings
from encryptdb.controller.engines.words import Words
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.outputs import Engine as EngineName

__all__ = [
    "Block",
    "Description",
    "Engine",
    "Leftover",
    "Log",
    "Member",
    "Parameter",
    "ParameterGroup",
    "ServerSettings",
    "Setting",
    "Value",
    "Words",
    "engine_of",
    "the",
    "words_of",
]

ENGINES: dict[EngineName, type[Rds] | type[Aurora]] = {"postgres": Rds, "aurora-postgresql": Aurora}


def engine_of(name: EngineName, aws: Aws) -> Engine:
    """The engine that the stack's outputs name."""
    return ENGINES[name](aws)


def words_of(name: EngineName) -> Words:
    """What its things are called, for whoever has no AWS at hand."""
    return ENGINES[name].words
