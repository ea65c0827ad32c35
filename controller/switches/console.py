"""PgBouncer's admin console: the simple query protocol, and commands that are sent without waiting for their end."""

import select
import time
from typing import Any

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from encryptdb.controller.postgres.login import Secret
from encryptdb.stacks.contract.errors import Usage

Row = dict[str, Any]
ANSWER_SECONDS = 5.0


class ConsoleError(Exception):
    """The console cannot be reached, refused a command, or did not answer in time. Never holds a password."""


class Console:
    """One connection to the admin console, used as a context manager."""

    def __init__(self, admin: str, password: Secret | None) -> None:
        given = self._parse(admin)
        given.setdefault("connect_timeout", "5")
        # PGSSLMODE and PGSSLROOTCERT are set for the server, not for the pooler.
        given.setdefault("sslmode", "prefer")
        if password is not None:
            given["password"] = password.reveal()
        self._connection = pq.PGconn.connect(make_conninfo("", **given).encode())
        if self._connection.status != pq.ConnStatus.OK:
            said = _first_line(self._connection.error_message)
            self._connection.finish()
            raise ConsoleError(said)
        self._usable = True

    @property
    def alive(self) -> bool:
        """Whether the connection can take another command. PgBouncer closes it after any error."""
        return self._usable and self._connection.status == pq.ConnStatus.OK

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.finish()

    def query(self, command: str) -> list[Row]:
        """Run a command and return its rows as text. Raises ConsoleError."""
        self.send(command)
        return self.wait(ANSWER_SECONDS)

    def send(self, command: str) -> None:
        """Send a command without waiting for its end."""
        self._usable = False
        try:
            self._connection.send_query(command.encode())
        except Exception as error:
            raise ConsoleError(_first_line(str(error).encode())) from None
        while self._connection.flush():
            pass

    def wait(self, seconds: float) -> list[Row]:
        """Wait for the end of what was sent, in at most `seconds`. Raises ConsoleError."""
        deadline = time.monotonic() + seconds
        while self._connection.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._connection.socket], [], [], left)[0]:
                raise ConsoleError(f"no answer within {seconds:g} s")
            try:
                self._connection.consume_input()
            except Exception as error:
                raise ConsoleError(_first_line(str(error).encode())) from None
        rows: list[Row] = []
        while (result := self._connection.get_result()) is not None:
            if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise ConsoleError(_first_line(result.error_message))
            names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
            rows += [
                {name: _text(result.get_value(row, i)) for i, name in enumerate(names)} for row in range(result.ntuples)
            ]
        self._usable = True
        return rows

    @staticmethod
    def _parse(admin: str) -> dict[str, Any]:
        try:
            return dict(conninfo_to_dict(admin))
        except Exception:
            # The parser's error message quotes the text, which may hold a password.
            raise Usage(
                "admin: not a connection string.", hint="Write it as postgresql://user@host:port/pgbouncer."
            ) from None

    @classmethod
    def has_password(cls, admin: str) -> bool:
        return "password" in cls._parse(admin)

    @classmethod
    def where(cls, admin: str) -> str:
        """host:port, for messages."""
        given = cls._parse(admin)
        return f"{given.get('host', 'localhost')}:{given.get('port', 6432)}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _first_line(message: bytes) -> str:
    lines = message.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "no error message"
