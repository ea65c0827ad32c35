"""RDS and Aurora: the one place where the controller knows them apart. `engine_of` chooses, once per command."""

from controller.aws import Aws
from controller.engines.aurora import Aurora
from controller.engines.description import Description, Leftover, Log, Member
from controller.engines.engine import Engine, the
from controller.engines.rds import Rds
from controller.engines.settings import Block, Parameter, ParameterGroup, Setting, Value
from controller.engines.settings import Server as ServerSettings
from controller.engines.words import Words
from stacks.outputs import Engine as EngineName

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
