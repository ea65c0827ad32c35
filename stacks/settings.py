"""The configuration of a stack. This is the only reader of `pulumi.Config`; everything else gets `Settings`.

An empty string is the same as an unset key: `Pulumi.yaml` has to give every key a default, and for what is copied from
the source "no value" is the default.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pulumi

from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import ConfigError
from encryptdb.stacks.contract.outputs import PHASES, Phase, window_length

Holder = Literal["manage", "existing"]

_LOGIN_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


@dataclass(frozen=True)
class Overrides:
    """What the target gets instead of what is copied from the source. `None` means: copied, once."""

    target_identifier: str | None = None
    instance_class: str | None = None
    subnet_group: str | None = None
    security_groups: tuple[str, ...] | None = None
    multi_az: bool | None = None
    log_exports: tuple[str, ...] | None = None
    publicly_accessible: bool | None = None


@dataclass(frozen=True)
class Settings:
    """One stack's configuration, checked as far as that goes without asking AWS."""

    stack: str
    source: str
    phase: Phase
    attempt: int = 1
    kms_key: str = "alias/aws/rds"
    parameter_group: Holder = "manage"
    link: Holder = "manage"
    auth: Literal["password", "iam"] = "password"
    source_secret: str | None = None
    target_secret: str | None = None
    switches: tuple[Mapping[str, Any], ...] = ()
    rollback_window: str = "7d"
    overrides: Overrides = field(default_factory=Overrides)


def read_settings() -> Settings:
    """Read the running stack's configuration. Raises ConfigError, which names the key."""
    read = _Reader(pulumi.Config("encryptdb"))
    return Settings(
        stack=pulumi.get_stack(),
        source=read.identifier("source") or read.missing("source", "the identifier of the RDS instance to encrypt"),
        phase=cast(Phase, read.one_of("phase", PHASES, "prepare")),
        attempt=read.attempt(),
        kms_key=read.text("kmsKey") or "alias/aws/rds",
        parameter_group=cast(Holder, read.one_of("parameterGroup", ("manage", "existing"), "manage")),
        link=cast(Holder, read.one_of("link", ("manage", "existing"), "manage")),
        auth=cast(Any, read.one_of("auth", ("password", "iam"), "password")),
        source_secret=read.secret_arn("sourceSecret"),
        target_secret=read.secret_arn("targetSecret"),
        switches=read.switches(),
        rollback_window=read.window(),
        overrides=Overrides(
            target_identifier=read.identifier("targetIdentifier"),
            instance_class=read.text("instanceClass"),
            subnet_group=read.text("subnetGroup"),
            security_groups=read.texts("securityGroups"),
            multi_az=read.boolean("multiAz"),
            log_exports=read.texts("logExports"),
            publicly_accessible=read.boolean("publiclyAccessible"),
        ),
    )


class _Reader:
    """Typed access to one namespace of the configuration; every error names the key."""

    def __init__(self, config: pulumi.Config) -> None:
        self.config = config

    def text(self, key: str) -> str | None:
        value = self.config.get(key)
        return value.strip() or None if value else None

    def missing(self, key: str, what: str) -> str:
        raise ConfigError(key, "is not set.", f"pulumi config set encryptdb:{key} …: {what}.")

    def one_of(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(key) or default
        if value not in allowed:
            raise ConfigError(key, f"{value!r} is not one of {', '.join(allowed)}.", "Set it to one of them.")
        return value

    def identifier(self, key: str) -> str | None:
        value = self.text(key)
        if value is None:
            return None
        found = names.identifier(value)
        if found is None:
            raise ConfigError(key, f"{value!r} cannot be the identifier of an RDS instance.", names.IDENTIFIER_RULE)
        return found

    def attempt(self) -> int:
        value = self.text("attempt") or "1"
        if not re.fullmatch(r"[0-9]{1,4}", value, re.ASCII) or int(value) < 1:
            raise ConfigError("attempt", f"{value!r} is not a count of attempts.", "Use 1, then 2, and so on.")
        return int(value)

    def boolean(self, key: str) -> bool | None:
        value = self.text(key)
        if value is not None and value.lower() not in ("true", "false"):
            raise ConfigError(key, f"{value!r} is neither true nor false.", "Set it to true or false, or leave it out.")
        return None if value is None else value.lower() == "true"

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings. An empty list reads as unset: it is the default that Pulumi.yaml has to give."""
        value = self._object(key, "a list of strings", lambda v: isinstance(v, list))
        if any(not isinstance(v, str) or not v for v in value or ()):
            raise ConfigError(key, f"{value!r} is not a list of strings.", f'Write it as a list: {key}: ["a", "b"].')
        return tuple(value) if value else None

    def secret_arn(self, key: str) -> str | None:
        value = self.text(key)
        if value is not None and not re.match(r"arn:[\w-]+:secretsmanager:[\w-]+:\d+:secret:", value, re.ASCII):
            # The value is not shown: it may be the password itself, set here by mistake.
            raise ConfigError(
                key,
                "its value is not the ARN of a Secrets Manager secret.",
                "Give the ARN of the secret that holds the login (never the login itself).",
            )
        return value

    def switches(self) -> tuple[Mapping[str, Any], ...]:
        value = self._object("switches", "a list of objects", lambda v: isinstance(v, list)) or []
        for number, switch in enumerate(value):
            kind = switch.get("kind") if isinstance(switch, dict) else None
            if kind not in names.SWITCH_KINDS:
                raise ConfigError(
                    "switches",
                    f"switches[{number}].kind is {kind!r}.",
                    f"Each switch is an object whose kind is one of {', '.join(names.SWITCH_KINDS)}.",
                )
            if _LOGIN_IN_URL.search(json.dumps(switch)) or any(k.lower() == "password" for k in switch):
                # Outputs are no place for a secret, and neither is the message.
                raise ConfigError(
                    "switches",
                    f"switches[{number}] holds a password.",
                    "Name the environment variable that has it (passwordEnv), and take the password out.",
                )
        return tuple(value)

    def window(self) -> str:
        value = self.text("rollbackWindow") or "7d"
        try:
            window_length(value)
        except ValueError as error:
            raise ConfigError(
                "rollbackWindow", f"{error}.", 'Use a number and s, m, h, d or w ("36h", "7d"), or none.'
            ) from None
        return value

    def _object(self, key: str, what: str, fits: Callable[[Any], bool]) -> Any:
        if self.text(key) is None:
            return None
        try:
            value = self.config.get_object(key)
        except (pulumi.ConfigTypeError, ValueError):
            value = self.config.get(key)
        if not fits(value):
            raise ConfigError(key, f"{value!r} is not {what}.", f"Write it as {what}, in YAML or as JSON.")
        return value
