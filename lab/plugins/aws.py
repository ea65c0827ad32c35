"""`pulumi-resource-aws` for the real engine: lab/provider behind the ResourceProvider protocol.

What goes wrong after AWS has begun (a wait that ended, a thing that broke) is told with the thing's id, so that it is
in the state: pulumi-aws does the same, and an `up` that was interrupted loses nothing.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import any_pb2, empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from encryptdb.lab.plugins.serve import serve
from encryptdb.lab.plugins.wire import from_struct, to_struct
from encryptdb.lab.provider import HANDLERS
from encryptdb.lab.provider.base import Calls, Handler, Interrupted, Properties, ProviderError
from encryptdb.lab.provider.functions import FUNCTIONS, Function
from encryptdb.lab.pulumi.step import DEFAULT_SECONDS, UNKNOWN, deletes_first

T = TypeVar("T")

VERSION = "7.51.1"
"""The pulumi-aws whose behaviour lab/provider has (requirements.txt)."""

STATUS_DETAILS = "grpc-status-details-bin"


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One provider process; the engine may call it from many threads at once."""

    def __init__(self, handlers: Mapping[str, Handler], functions: Mapping[str, Function], calls: Calls) -> None:
        self.handlers, self.functions, self.calls = handlers, functions, calls

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "aws", "version": VERSION}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        region = from_struct(request.args).get("region") or request.variables.get("aws:config:region")
        if region and region != UNKNOWN:
            self.calls.region = str(region)
        # An engine that shakes hands takes this for granted.
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Cancel(self, request: Any, context: Any) -> Any:
        self.calls.stop.set()
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        function = self.functions.get(request.tok) or _unknown(request.tok, context)
        try:
            answer = function(self.calls, from_struct(request.args))
        except ProviderError as error:
            failure = provider_pb2.CheckFailure(property=request.tok.split(":")[-1], reason=str(error))
            return provider_pb2.InvokeResponse(failures=[failure])
        return provider_pb2.InvokeResponse(**{"return": to_struct(answer)})

    def Check(self, request: Any, context: Any) -> Any:
        self._handler(request, context)
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        handler = self._handler(request, context)
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        changed = handler.changed(old, new)
        replaces = changed & handler.replaced_by
        kinds = provider_pb2.DiffResponse
        return provider_pb2.DiffResponse(
            changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE,
            diffs=sorted(changed),
            replaces=sorted(replaces),
            deleteBeforeReplace=bool(replaces) and deletes_first(handler, changed),
            hasDetailedDiff=False,
        )

    def Create(self, request: Any, context: Any) -> Any:
        handler, inputs = self._handler(request, context), from_struct(request.properties)
        if request.preview:
            # What is not in the answer is known only afterwards.
            return provider_pb2.CreateResponse(properties=request.properties)
        seconds = request.timeout or DEFAULT_SECONDS["create"]
        try:
            identity, outputs = handler.create(self.calls, inputs, seconds)
        except (ProviderError, Interrupted) as error:
            begun = self._or_none(lambda: handler.find(self.calls, inputs))
            if begun is None:
                _fail(context, str(error))
            self._unfinished(context, handler, begun, inputs, str(error))
        return provider_pb2.CreateResponse(id=identity, properties=to_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        handler, known = self._handler(request, context), from_struct(request.inputs)
        outputs = self._do(context, lambda: handler.read(self.calls, request.id))
        if outputs is None:
            return provider_pb2.ReadResponse()
        inputs = handler.inputs(outputs, known)
        properties = from_struct(request.properties) | inputs | outputs
        identity = handler.identity(outputs, request.id)
        return provider_pb2.ReadResponse(id=identity, properties=to_struct(properties), inputs=to_struct(inputs))

    def Update(self, request: Any, context: Any) -> Any:
        handler, inputs = self._handler(request, context), from_struct(request.news)
        changed = handler.changed(from_struct(request.old_inputs), inputs)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=to_struct(from_struct(request.olds) | inputs))
        seconds = request.timeout or DEFAULT_SECONDS["update"]

        def update() -> Properties:
            # Nothing differs where a creation that ended too early is taken up again: then it has to become ready.
            handler.settle(self.calls, request.id, inputs, seconds)
            return handler.update(self.calls, request.id, inputs, changed, seconds)

        return provider_pb2.UpdateResponse(properties=to_struct(self._do(context, update)))

    def Delete(self, request: Any, context: Any) -> Any:
        handler = self._handler(request, context)
        inputs = from_struct(request.old_inputs) or from_struct(request.properties)
        seconds = request.timeout or DEFAULT_SECONDS["delete"]
        self._do(context, lambda: handler.delete(self.calls, request.id, inputs, seconds))
        return empty_pb2.Empty()

    def _handler(self, request: Any, context: Any) -> Handler:
        # An URN is urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME; older engines send no type beside it.
        token = request.type or request.urn.split("::")[2].split("$")[-1]
        return self.handlers.get(token) or _unknown(token, context)

    def _do(self, context: Any, action: Callable[[], T]) -> T:
        try:
            return action()
        except (ProviderError, Interrupted) as error:
            _fail(context, str(error))

    def _or_none(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except ProviderError:
            return None

    def _unfinished(self, context: Any, handler: Handler, identity: str, inputs: Properties, reason: str) -> NoReturn:
        outputs = self._or_none(lambda: handler.read(self.calls, identity)) or {}
        detail = any_pb2.Any()
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(
                id=identity, properties=to_struct(inputs | outputs), reasons=[reason], inputs=to_struct(inputs)
            )
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason, details=[detail])
        context.set_trailing_metadata(((STATUS_DETAILS, status.SerializeToString()),))
        _fail(context, reason)


def _unknown(token: str, context: Any) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the lab's provider does not know {token}")
    raise AssertionError("abort raises")


def _fail(context: Any, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")


def main() -> int:
    """The process that the engine starts; its standard output is the port alone."""
    calls = Calls(say=lambda text: print(text, file=sys.stderr, flush=True))
    provider = Provider(HANDLERS, FUNCTIONS, calls)
    return serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server))


if __name__ == "__main__":
    sys.exit(main())
