"""Properties as the engine sends them: a protobuf struct, with the SDK's marks in it for what is not known yet."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Properties off the wire. A map comes in no particular order, a whole number as a double."""
    return {k: _plain(v) for k, v in sorted(struct.fields.items())}


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Properties as they go over the wire."""
    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def _plain(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_plain(v) for v in value.list_value.values]
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return None if kind in (None, "null_value") else getattr(value, kind)
