"""Pulumi's resource monitor, in-process: the SDK's requests, turned into goals for a deployment.

A subclass of the SDK's own mock monitor, so that everything that is not about resources stays the SDK's. `Mocks` alone
would see neither ignoreChanges, protect nor timeouts, and there is no delete in them.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import empty_pb2, struct_pb2  # type: ignore[import-untyped]
from pulumi import get_project, get_stack
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import provider_pb2, resource_pb2

from encryptdb.lab.provider.base import Properties, ProviderError
from encryptdb.lab.provider.functions import Function
from encryptdb.lab.pulumi.deployment import Deployment, DeploymentError
from encryptdb.lab.pulumi.step import Goal

STACK_TYPE = "pulumi:pulumi:Stack"
SECRET = rpc._special_sig_key


class _NoMocks(Mocks):
    """The base class wants mocks; every request is answered before it would ask them."""

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError(args.token)

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError(args.typ)


class Monitor(MockMonitor):
    """Answers the program from a deployment and the provider's functions."""

    def __init__(self, deployment: Deployment, functions: Mapping[str, Function]) -> None:
        super().__init__(_NoMocks())
        self.deployment, self.functions = deployment, functions
        self.outputs: Properties = {}

    def RegisterResource(self, request: Any) -> Any:  # the method's name in the protocol
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        identity, outputs = self.deployment.register(goal_of(request, urn))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identity, object=to_struct(outputs))

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if f"::{STACK_TYPE}::" in request.urn:
            self.outputs = from_struct(request.outputs)
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> Any:
        raise DeploymentError(f"the lab's engine reads no existing resources ({request.type})")

    def Invoke(self, request: Any) -> Any:
        function = self.functions.get(request.tok)
        if function is None:
            raise DeploymentError(f"the lab's provider does not know the function {request.tok}")
        try:
            answer = function(self.deployment.calls, from_struct(request.args))
        except ProviderError as error:
            # Raised, it would end the program even where that handles it; the SDK raises failures where it was called.
            failure = provider_pb2.CheckFailure(property=request.tok.split(":")[-1], reason=str(error))
            return resource_pb2.ResourceInvokeResponse(failures=[failure])
        return resource_pb2.ResourceInvokeResponse(**{"return": to_struct(answer)})

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """A URN as the engine builds it: the stack itself is no part of the type of what is in it."""
        above = parent.split("::")[2] if parent and f"::{STACK_TYPE}::" not in parent else ""
        qualified = f"{above}${type_}" if above else type_
        return "::".join([f"urn:pulumi:{get_stack()}", get_project(), qualified, name])


def goal_of(request: Any, urn: str) -> Goal:
    """The declaration in one RegisterResource request."""
    depends = dict.fromkeys([*request.dependencies, *([request.parent] if request.parent else [])])
    for of_property in request.propertyDependencies.values():
        depends |= dict.fromkeys(of_property.urns)
    timeouts = {k: getattr(request.customTimeouts, k) for k in ("create", "update", "delete")}
    return Goal(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=from_struct(request.object),
        dependencies=tuple(depends),
        protect=request.protect,
        retain=request.retainOnDelete,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
        timeouts={k: v for k, v in timeouts.items() if v},
    )


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """Properties off the wire. Raises DeploymentError for a secret: the lab's state could only hold it in the clear."""
    return {k: _plain(v, k) for k, v in sorted(struct.fields.items())}


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Properties as they go over the wire."""
    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def _plain(value: struct_pb2.Value, path: str) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SECRET in fields and fields[SECRET].string_value == rpc._special_secret_sig:
            raise DeploymentError(f"{path} is a secret, and the lab keeps none: its state is a plain file")
        # A protobuf map comes in no particular order.
        return {k: _plain(v, f"{path}.{k}") for k, v in sorted(fields.items())}
    if kind == "list_value":
        return [_plain(v, path) for v in value.list_value.values]
    if kind == "number_value":
        # The wire knows doubles only.
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return None if kind in (None, "null_value") else getattr(value, kind)
