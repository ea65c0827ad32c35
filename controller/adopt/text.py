"""The page that adopt prints: Markdown, to be read in a terminal and pasted from. Pure."""

from collections.abc import Callable, Iterator
from typing import Literal

from encryptdb.controller.adopt import pulumi_code, stack_removal, terraform_code
from encryptdb.controller.adopt.differences import Difference, differences, still_raised
from encryptdb.controller.adopt.found import Found
from encryptdb.controller.adopt.resources import Resource, resources
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Problem, Refused

Tool = Literal["pulumi", "terraform"]
TOOLS: dict[str, tuple[str, Callable[[tuple[Resource, ...]], str]]] = {
    "pulumi": ("python", pulumi_code.write),
    "terraform": ("hcl", terraform_code.write),
}


def program(found: Found, tool: str) -> str:
    """The code alone; empty where there is no target yet."""
    return TOOLS[tool][1](resources(found)) if found.target else ""


def compose(found: Found, tool: str, problem: Problem | None) -> str:
    """The whole page. `problem` is what comes before adopting, if anything does."""
    sections = [f"# The encrypted database of the stack {found.outputs.stack}, adopted", _stand(found, problem)]
    if isinstance(problem, Refused):
        return "\n\n".join(sections) + "\n"
    sections += [
        f"## 1. Import\n\n{_import(found, tool)}",
        f"## 2. Settings that differ from the source's\n\n{_differences(found)}",
        f"## 3. What refers to the old one\n\n{_references(found)}",
        f"## 4. Letting the stack go\n\n{_letting_go(found, problem)}",
    ]
    if found.unseen:
        sections.append(f"## Could not be seen\n\n{_unseen(found)}")
    return "\n\n".join(sections) + "\n"


def _stand(found: Found, problem: Problem | None) -> str:
    if problem is None:
        where = "The migration is retired."
        if found.state is None:
            where = (
                "The stack is in phase retire, but the servers did not tell whether the migration is retired: it may "
                "have been abandoned, and then the copy is not to be adopted."
            )
        return (
            f"{where} Nothing below has been done; do it in this order. Until section 4, the stack "
            "goes on protecting the target."
        )
    refused = isinstance(problem, Refused)
    lines = [f"**{'No' if refused else 'Not yet'}: {problem.message}** {problem.detail or ''}".rstrip()]
    if problem.hint:
        lines.append(problem.hint if refused else f"First: {problem.hint}")
    return "\n\n".join(lines)


def _import(found: Found, tool: str) -> str:
    if not found.target:
        return "There is no target yet: nothing to import."
    language, _ = TOOLS[tool]
    ids = "\n".join(f"- {r.kind.replace('-', ' ')} `{r.identity}`" for r in resources(found))
    code = f"```{language}\n{program(found, tool)}```"
    return f"{ids}\n\n{code}\n\n{_afterwards(found, tool)}{_marks(found)}"


def _afterwards(found: Found, tool: str) -> str:
    rename = ""
    if found.target[0].kind == "cluster":
        rename = (
            "A cluster's identifier cannot be changed by either tool without replacing the cluster. To give it "
            "another one, do it with section 2's command before the import, and print this again.\n\n"
        )
    if tool == "terraform":
        return (
            f"{rename}`terraform plan` must say that it imports, and nothing of adding, changing or destroying. "
            "After `terraform apply` the `import` blocks can go."
        )
    return (
        f"{rename}`pulumi preview` must say that it imports, and nothing of creating, updating or replacing. After "
        "the first `pulumi up` take the `import_=` lines out; the next one then changes nothing."
    )


def _marks(found: Found) -> str:
    tags = [key for one in found.target for key in one.tags] + [key for one in found.groups for key in one.tags]
    if not any(key.startswith(names.PREFIX) for key in tags):
        return ""
    return " The tags `encryptdb:…` are there because they are on the resources; take them away once the stack is gone."


def _differences(found: Found) -> str:
    lines = []
    if found.source_gone:
        lines.append("The source is gone: there is nothing to compare the target with.")
        if found.source_group:
            lines.append(f"Its last parameter group, {found.source_group.name}, is still there, and compared.")
    elif not found.source_seen:
        lines.append("The source could not be seen: nothing of it is compared.")
    listed = differences(found)
    lines += ["\n".join(_difference(d)) for d in listed]
    if found.source and not listed:
        lines.append("None.")
    if listed:
        lines.append(
            "Each command acts at once, and some restart the server; without `--apply-immediately` it waits for the "
            "maintenance window. After the import the argument in the code does the same."
        )
    raised = still_raised(found)
    if raised:
        lines.append(
            f"{', '.join(raised)} are as the replication needed them, whatever the source's own group had. "
            "What nothing else needs can go; it takes a reboot."
        )
    return "\n\n".join(lines) or "There is no target yet."


def _difference(difference: Difference) -> Iterator[str]:
    yield f"- **{difference.title}** of {difference.server}: source {difference.source}, target {difference.target}"
    if difference.argument:
        yield f"  - argument: `{difference.argument}`"
    yield f"  - command: `{difference.command}`" if difference.command else "  - there is no command that sets it"
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
        "\n\nNot looked for: dashboards, applications' own configuration, other accounts and regions. Search them for "
        f"`{found.outputs.source.identifier}` and `{found.outputs.source.resource_id}`."
    )


def _letting_go(found: Found, problem: Problem | None) -> str:
    stack = found.outputs.stack
    if problem is not None:
        return "Not now: its commands are printed when it is their turn."
    parts = [
        "Only when your own code has imported the target, and its next run changed nothing. In the directory of the "
        "stack's project.",
        "1. The stack forgets what you have adopted. It is a change of its state alone, which leaves AWS as it is; the "
        f"target stays protected against deletion.\n\n```sh\n{stack_removal.forget(found)}\n```",
    ]
    if found.earlier:
        parts.append(
            f"   That forgets {', '.join(found.earlier)} of earlier attempts, too: they stay in AWS, and cost, until "
            "you delete them."
        )
    number = 2
    free = stack_removal.free_source_group(found)
    if free:
        parts.append(f"{number}. {free[0]}.\n\n```sh\n{free[1]}\n```")
        number += 1
    parts.append(
        f"{number}. What is left of the stack goes, and the stack. `destroy` refuses, before it touches anything, if "
        f"something protected is still in it: then step 1 is not done. Do not skip its preview.\n\n"
        f"```sh\n{stack_removal.remove(found)}\n```"
    )
    parts.append(f"The report of `python -m controller retire --stack {stack}` is the record of the move: keep it.")
    return "\n\n".join(parts)


def _unseen(found: Found) -> str:
    return "\n".join(
        f"- {u.what}: {' '.join(u.why.split())[:300]}" + (f"\n  - {u.remedy}" if u.remedy else "") for u in found.unseen
    )
