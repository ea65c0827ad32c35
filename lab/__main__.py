"""python -m lab: start, up, pulumi, status, stop."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encryptdb.lab.errors import LabError

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
        return status
    except LabError as error:
        print(f"lab: {error.message}", file=sys.stderr)
        for label, text in (("meaning", error.meaning), ("hint", error.hint)):
            if text:
                print(f"  {label}: {text}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lab", description="A local AWS with real PostgreSQL servers behind it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    start = commands.add_parser("start", help="start a lab; ready when it returns")
    start.add_argument("--engine", default="rds", help="rds (the default) or aurora")
    start.add_argument("--database", action="append", metavar="NAME", help="a database to make (repeatable; orders)")
    start.add_argument("--pg-bin", type=Path, metavar="DIR", help="the folder of `postgres` and `initdb`")
    start.add_argument(
        "--delay", type=float, default=0.3, metavar="SECONDS", help="how long states in between last (0.3)"
    )
    start.set_defaults(command=_start)

    up = commands.add_parser("up", help="what `pulumi up` does, on this lab")
    up.add_argument("--stack", required=True, metavar="NAME")
    up.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="kept in DIR; lists are JSON")
    up.set_defaults(command=_up)

    pulumi = commands.add_parser("pulumi", help="the real `pulumi` on this lab: everything after -- is its own")
    pulumi.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="for instance: -- preview --diff")
    pulumi.set_defaults(command=_pulumi)

    status = commands.add_parser("status", help="what runs")
    status.set_defaults(command=_status)
    stop = commands.add_parser("stop", help="stop a lab; nothing stays behind")
    stop.set_defaults(command=_stop)
    serve = commands.add_parser("serve")
    serve.set_defaults(command=_serve)
    for command in (start, up, pulumi, status, stop, serve):
        command.add_argument("--dir", type=Path, required=True, metavar="DIR", help="the lab's directory")
        command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _tell(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)


def _answer(as_json: bool, document: dict[str, Any], lines: Sequence[str]) -> None:
    print(json.dumps(document, indent=1) if as_json else "\n".join(lines))


def _start(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import start

    wanted = start.Wanted(
        directory=arguments.dir,
        databases=tuple(dict.fromkeys(arguments.database or ["orders"])),
        engine=arguments.engine,
        pg_bin=arguments.pg_bin,
        delay=arguments.delay,
    )
    document = start.start(wanted, _tell)
    source = document["source"]
    _answer(
        arguments.json,
        document,
        [
            f"AWS endpoint    {document['endpoint_url']}   (source {document['directory']}/env)",
            f"PostgreSQL      {document['postgres_version']}, TLS {'on' if document['tls'] else 'not in this build'}",
            f"storage         encrypted instances: {document['encrypted_storage']}",
            f"{'cluster ' if 'members' in source else 'instance'}        {source['identifier']}, unencrypted, at "
            f"{source['host']}:{source['port']}"
            + (f", readers at {source['reader_host']}" if "members" in source else ""),
            f"login           {source['user']} / {source['password']}",
            f"databases       {', '.join(source['databases'])}",
        ],
    )
    return 0


def _up(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import status
    from encryptdb.lab.layout import Layout

    status.require_running(Layout.of(arguments.dir))
    pairs = {}
    for item in arguments.config:
        key, equals, value = item.partition("=")
        if not equals:
            raise LabError(f"--config {item!r} has no '='", hint="--config KEY=VALUE", status=2)
        pairs[key] = value
    from encryptdb.lab.pulumi import up

    result: int = up.main(arguments.dir.absolute(), arguments.stack, pairs, arguments.json)
    return result


def _pulumi(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import status
    from encryptdb.lab.layout import Layout
    from encryptdb.lab.pulumi import cli

    status.require_running(Layout.of(arguments.dir))
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    return cli.of(arguments.dir).run(words)


def _status(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import status
    from encryptdb.lab.layout import Layout

    document = status.read(Layout.of(arguments.dir))
    _answer(arguments.json, document, status.lines(document))
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import stop
    from encryptdb.lab.layout import Layout

    stopped = stop.stop(Layout.of(arguments.dir), _tell)
    text = "stopped; nothing is left of it" if stopped else "there was no lab"
    _answer(arguments.json, {"directory": str(arguments.dir), "stopped": stopped}, [f"{arguments.dir}: {text}"])
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from encryptdb.lab import server

    return server.main(arguments.dir)


if __name__ == "__main__":
    sys.exit(main())
