"""The resources to import, as both tools call them, decided from what AWS says. Pure."""

import re
from dataclasses import dataclass

from encryptdb.controller.adopt.found import Found
from encryptdb.controller.engines import Block, ParameterGroup, ServerSettings, Value


@dataclass(frozen=True)
class Ref:
    """An attribute of another resource."""

    resource: "Resource"
    attribute: str


@dataclass(frozen=True)
class Resource:
    """One resource. `kind` is what the writers know by their tool's name, `identity` the id that its import takes;
    `notes` stand above it as comments. `repeated` are parameters of a group: name, value, method."""

    kind: str
    name: str
    identity: str
    arguments: tuple[tuple[str, "Value | Block | Ref"], ...]
    tags: tuple[tuple[str, str], ...]
    repeated: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def resources(found: Found) -> tuple[Resource, ...]:
    """Groups first, then the server, then its members: as they depend on each other."""
    name = found.outputs.source.identifier
    groups = tuple(_group(g, f"{name}-parameters") for g in found.groups)
    made: list[Resource] = [*groups]
    whole: Resource | None = None
    for number, server in enumerate(found.target):
        refs = {g.identity: Ref(g, "name") for g in groups}
        if server.kind == "member":
            assert whole is not None, "a cluster is listed before its instances"
            made.append(_server(server, f"{name}-{number}", (("cluster_identifier", Ref(whole, "id")),)))
            continue
        group = refs.get(server.group, server.group)
        argument = "db_cluster_parameter_group_name" if server.kind == "cluster" else "parameter_group_name"
        whole = _server(server, name, ((argument, group), ("skip_final_snapshot", True)))
        made.append(whole)
    return tuple(made)


def _server(server: ServerSettings, name: str, more: "tuple[tuple[str, Value | Block | Ref], ...]") -> Resource:
    known = tuple((s.argument, s.value) for s in server.settings if s.argument and s.value is not None)
    managed = (MANAGED, True) in known
    known = tuple(pair for pair in known if pair[0] != MANAGED)
    notes = () if server.kind == "member" else (NOTES_MANAGED if managed else ()) + NOTES
    return Resource(server.kind, name, server.identifier, known + more, tuple(server.tags.items()), notes=notes)


MANAGED = "manage_master_user_password"
"""Neither tool reads it back, so that an import with it plans a change."""

NOTES_MANAGED = (
    f"Secrets Manager holds the password. An import does not read that: add {MANAGED} = true afterwards;",
    "that update leaves the password and its secret as they are.",
)
NOTES = (
    "No password here, ever: it is the one of the snapshot, and stays. The import knows of none.",
    "An import takes skip_final_snapshot to be true. Afterwards turn it off and name a final snapshot, so that",
    "whoever deletes the database one day leaves its data.",
)


def _group(group: ParameterGroup, name: str) -> Resource:
    return Resource(
        kind=group.noun,
        name=name,
        identity=group.name,
        arguments=(("name", group.name), ("family", group.family), ("description", group.description)),
        tags=tuple(group.tags.items()),
        repeated=tuple((p.name, p.value, p.method) for p in group.parameters),
    )


def variable(name: str) -> str:
    """A resource's name as an identifier of Python and of HCL."""
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    return plain if plain[:1].isalpha() else f"db_{plain}"
