"""The page that adopt prints: Markdown, to be read in a terminal and pasted from. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from encryptdb.controller.adopt import import_file as files
from encryptdb.controller.adopt import stack_removal
from encryptdb.controller.adopt.differences import Difference, differences, still_raised
from encryptdb.controller.adopt.found import Found
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Problem, Refused


@dataclass(frozen=True)
class Tool:
    """How a tool imports: the file that it takes, the command, what to look for, and what its code lacks."""

    language: str
    write: Callable[[tuple[files.Resource, ...]], str]
    save: str
    command: str
    after: str


TOOLS = {
    "pulumi": Tool(
        "json",
        files.pulumi,
        "Save as `import.json` in the directory of your own project, and select its stack:",
        "pulumi import --file import.json --out adopted",
        "`adopted` then holds the declarations, in your project's language and with `protect`: move them into your "
        "program. `pulumi preview` must show no change.",
    ),
    "terraform": Tool(
        "hcl",
        files.terraform,
        "Save as `imports.tf` in the directory of your own configuration:",
        "terraform plan -generate-config-out=generated.tf",
        "Terraform calls `generated.tf` a template: remove the arguments that it reports as conflicting, and add "
        "`lifecycle {{ prevent_destroy = true }}` to each resource. `terraform plan` must show {count} to import, 0 to "
        "add, 0 to change, 0 to destroy. After `terraform apply` the `import` blocks can be removed.",
    ),
}

NO_PASSWORD = (
    "Neither tool reads the password: leave it out of the code, and the database keeps the one from the snapshot. An "
    "import takes `skip_final_snapshot` to be true: afterwards set it to false and name a final snapshot."
)
MANAGED = (
    "Secrets Manager holds the password, and an import does not read that: add `manage_master_user_password = true` "
    "afterwards. That update keeps the password and its secret."
)
RENAME = (
    "Neither tool can change a cluster's identifier without replacing the cluster. To give it another one, run section "
    "2's command before the import, and then `adopt` again."
)
OUR_TAGS = "The tags `encryptdb:…` are on the resources and so in the code: remove them once the stack is removed."


def import_file(found: Found, tool: str) -> str:
    """The file that the tool imports from; empty before there is a target."""
    return TOOLS[tool].write(files.resources(found)) if found.target else ""


def compose(found: Found, tool: str, problem: Problem | None) -> str:
    """The whole page. `problem` is what has to be done before adopting, if anything."""
    sections = [f"# Adopting the encrypted database of the stack {found.outputs.stack}", _state(problem)]
    if isinstance(problem, Refused):
        return "\n\n".join(sections) + "\n"
    sections += [
        f"## 1. Import\n\n{_import(found, TOOLS[tool])}",
        f"## 2. Settings that differ from the source's\n\n{_differences(found)}",
        f"## 3. What refers to the source\n\n{_references(found)}",
        f"## 4. Removing the stack\n\n{_removal(found, problem)}",
    ]
    if found.unseen:
        sections.append(f"## Could not be read\n\n{_unseen(found)}")
    return "\n\n".join(sections) + "\n"


def _state(problem: Problem | None) -> str:
    if problem is None:
        return (
            "The migration is retired. Nothing below has been done. Follow this order; until section 4 the stack "
            "protects the target."
        )
    refused = isinstance(problem, Refused)
    lines = [f"**{'No' if refused else 'Not yet'}: {problem.message}** {problem.detail or ''}".rstrip()]
    if problem.hint:
        lines.append(problem.hint if refused else f"First: {problem.hint}")
    return "\n\n".join(lines)


def _import(found: Found, tool: Tool) -> str:
    if not found.target:
        return "There is no target yet: nothing to import."
    listed = files.resources(found)
    managed = any(s.argument == "manage_master_user_password" and s.value for s in found.target[0].settings)
    tags = [key for s in found.target for key in s.tags] + [key for g in found.groups for key in g.tags]
    return "\n\n".join(
        [
            *([RENAME] if found.target[0].kind == "cluster" else []),
            f"{tool.save}\n\n```{tool.language}\n{tool.write(listed)}```",
            f"Then:\n\n```sh\n{tool.command}\n```",
            tool.after.format(count=len(listed)),
            NO_PASSWORD,
            *([MANAGED] if managed else []),
            *([OUR_TAGS] if any(key.startswith(names.PREFIX) for key in tags) else []),
        ]
    )


def _differences(found: Found) -> str:
    lines = []
    if found.source_gone:
        lines.append("The source has been deleted: there is nothing to compare the target with.")
        if found.source_group:
            lines.append(f"Its last parameter group, {found.source_group.name}, still exists and is compared.")
    elif not found.source_seen:
        lines.append("The source could not be read: none of its settings are compared.")
    listed = differences(found)
    lines += ["\n".join(_difference(d)) for d in listed]
    if found.source and not listed:
        lines.append("None.")
    if listed:
        lines.append(
            "Each command takes effect immediately, and some restart the server; without `--apply-immediately` the "
            "change waits for the maintenance window. Once imported, the argument in your code does the same."
        )
    raised = still_raised(found)
    if raised:
        lines.append(
            f"{', '.join(raised)} have the values that replication needed, whatever the source's own group had. "
            "Those that nothing else needs can be reset; that takes a reboot."
        )
    return "\n\n".join(lines) or "There is no target yet."


def _difference(difference: Difference) -> Iterator[str]:
    yield f"- **{difference.title}** of {difference.server}: source {difference.source}, target {difference.target}"
    if difference.argument:
        yield f"  - argument: `{difference.argument}`"
    yield f"  - command: `{difference.command}`" if difference.command else "  - no command sets it"
    if difference.note:
        yield f"  - {difference.note}"


def _references(found: Found) -> str:
    lines = [f"- **{r.kind}** {r.name}: {r.names}\n  - instead: {r.instead}" for r in found.references]
    if found.target and found.source:
        for arn in found.source[0].backups_elsewhere:
            command = (
                "aws rds start-db-instance-automated-backups-replication "
                f"--source-db-instance-arn {found.target[0].arn} --region THE_OTHER_REGION"
            )
            lines.append(f"- **automated backups in another region** {arn}\n  - instead: `{command}`")
    if not lines:
        lines.append("Nothing was found." if found.target else "There is no target yet.")
    return "\n".join(lines) + (
        "\n\nNot searched: dashboards, applications' own configuration, other accounts and regions. Search them for "
        f"`{found.outputs.source.identifier}` and `{found.outputs.source.resource_id}`."
    )


def _removal(found: Found, problem: Problem | None) -> str:
    stack = found.outputs.stack
    if problem is not None:
        return "Not yet: run this command again after the step above."
    earlier = ""
    if found.earlier:
        earlier = (
            f" It also removes {', '.join(found.earlier)} of earlier attempts from the state: they remain in AWS, and "
            "incur cost, until you delete them."
        )
    steps = [
        (
            "Remove the resources that you have imported from the stack's state. AWS is not changed, and the target "
            f"stays protected against deletion.{earlier}",
            stack_removal.forget(found),
        ),
        *([free] if (free := stack_removal.free_source_group(found)) else []),
        (
            "Delete what is left of the stack, then the stack. `destroy` refuses in its preview if anything protected "
            "is still in the state: then step 1 has not been done. Do not skip the preview.",
            stack_removal.remove(found),
        ),
    ]
    return "\n\n".join(
        [
            "Only after your own code has imported the target and its next run changed nothing. Run these commands in "
            "the directory of this stack's project.",
            *(f"{number}. {what}\n\n```sh\n{script}\n```" for number, (what, script) in enumerate(steps, 1)),
            f"Keep the report that `encryptdb retire --stack {stack}` wrote: it records the migration.",
        ]
    )


def _unseen(found: Found) -> str:
    return "\n".join(
        f"- {u.what}: {' '.join(u.why.split())[:300]}" + (f"\n  - {u.remedy}" if u.remedy else "") for u in found.unseen
    )
