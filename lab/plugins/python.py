"""`pulumi-language-python`, where the `pulumi` there is came without one: starts a program in its virtualenv.

Only what `pulumi preview`, `up`, `refresh`, `destroy` and `import` ask of a language host is here. The program itself
is started by the release's own `pulumi-language-python-exec`, which lies beside the CLI.
"""

import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from encryptdb.lab.plugins.serve import serve

EXEC = "pulumi-language-python-exec"

TOLD = 32
"""The program's exit status where the operator has been told what is wrong already."""


class Host(language_pb2_grpc.LanguageRuntimeServicer):
    """One host process: one engine, one project."""

    def __init__(self, executor: Path, engine: str) -> None:
        self.executor, self.engine = executor, engine
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def Handshake(self, request: Any, context: Any) -> Any:
        self.engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        packages = [
            plugin_pb2.PackageDependency(name=name, kind="resource", version=version)
            for name, version in required(interpreter(request.info).parents[1])
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=packages)

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        text = "The virtual environment is this project's own matter: make setup, or pip install -r requirements.txt\n"
        yield language_pb2.InstallDependenciesResponse(stdout=text.encode())

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def Cancel(self, request: Any, context: Any) -> Any:
        with self._lock:
            for process in self._running:
                process.terminate()
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> Any:
        command = [str(interpreter(request.info)), "-u", str(self.executor), *arguments(request, self.engine)]
        environment = os.environ | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        # What the program prints goes where this process prints: the engine shows it.
        process = subprocess.Popen(
            command, cwd=request.info.program_directory, env=environment, stdin=subprocess.DEVNULL
        )
        with self._lock:
            self._running.add(process)
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        if status == TOLD:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"the program ended with status {status}" if status else "")


def arguments(request: Any, engine: str) -> Iterable[str]:
    """What the SDK's own starter of programs is told."""
    told: Mapping[str, str] = {
        "monitor": request.monitor_address,
        "engine": engine,
        "project": request.project,
        "stack": request.stack,
        "organization": request.organization,
        "root_directory": request.info.root_directory,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
    }
    options = [word for name, value in told.items() if value for word in (f"--{name}", value)]
    return [*options, request.info.entry_point, *request.args]


def interpreter(info: Any) -> Path:
    """The project's Python: runtime.options.virtualenv of Pulumi.yaml, or the one that runs this."""
    name = info.options.fields["virtualenv"].string_value if "virtualenv" in info.options.fields else ""
    found = Path(info.root_directory, name, "bin", "python")
    return found if name and found.exists() else Path(sys.executable)


def required(virtualenv: Path) -> list[tuple[str, str]]:
    """The provider plugins (name, version) that the packages in a virtual environment say they need."""
    found = []
    for path in sorted(virtualenv.glob("lib/python*/site-packages/*/pulumi-plugin.json")):
        document = json.loads(path.read_text())
        if document.get("resource"):
            found.append((document["name"], "v" + document["version"].removeprefix("v")))
    return found


def main(argv: list[str]) -> int:
    """The process that the engine starts: its address is the last argument, the executor's directory the first."""
    host = Host(Path(argv[0], EXEC), argv[-1])
    return serve(lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
