"""A record of every kind, with something in every field."""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.records import CLASSES, Record

_PLAIN: dict[Any, Any] = {
    int: 7,
    str: "a <name>",
    float: 1.5,
    bool: True,
    Any: "anything",
    LSN: LSN.parse("16/B374D848"),
    datetime: datetime(2024, 4, 27, 10, 0, 0, 123456, UTC),
}


def sample(kind: Any) -> Any:
    """A value of this type. Optional ones are there, collections hold one element."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: sample(hints[field.name]) for field in fields(kind)})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return next(sample(a) for a in arguments if a is not NoneType)
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return (sample(arguments[0]),)
    if origin is dict:
        return {sample(arguments[0]): sample(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    raise AssertionError(f"no sample of {kind}")


SAMPLES: dict[str, Record] = {key: sample(cls) for key, cls in CLASSES.items()}
