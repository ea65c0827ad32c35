"""The structure that the design settles: what may know what, who talks to AWS, who prints, how long a module is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("controller", "stacks", "lab", "demo", "benchmarks", "tests")
LONGEST = 300

MAY_IMPORT = {
    "controller": ("controller", "stacks.contract", "stacks.cloud"),
    "stacks": ("stacks",),
    "lab": ("lab", "stacks"),
    "demo": ("demo", "lab"),
}
"""What each package may import of the project's own: itself, and the modules named."""

PRINTERS = {
    # The guard is a program of its own, which talks to the controller by its standard output.
    "controller": {"controller/cli.py", "controller/__main__.py", "controller/switches/guard.py"},
    # `python -m stacks recover`
    "stacks": {"stacks/__main__.py"},
    "demo": {"demo/__main__.py", "demo/narrator.py"},
}
"""The only modules of each package that may print or end the process."""

ENDINGS = ("print", "input", "exit", "quit", "sys.exit", "os._exit")
STREAMS = ("sys.stdout", "sys.stderr", "SystemExit")


def modules(package: str) -> list[str]:
    """The package's modules, as paths below the root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py"))


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), module)


def imports(module: str) -> Iterator[str]:
    """The full name of everything a module imports, relative imports resolved, in functions and under `if` too."""
    parts = list(Path(module).with_suffix("").parts)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("encryptdb.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: -node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])]).removeprefix("encryptdb.")
            yield from (f"{name}.{alias.name}" for alias in node.names)


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_arrows_point_one_way(package: str) -> None:
    assert modules(package), "nothing was looked at"
    wrong = [
        f"{module} imports {name}"
        for module in modules(package)
        for name in imports(module)
        if name.split(".")[0] in PACKAGES and not within(name, MAY_IMPORT[package])
    ]
    assert wrong == []


def test_one_module_speaks_to_aws() -> None:
    packages = ("controller", "stacks")
    speakers = {m for p in packages for m in modules(p) if any(within(n, ("boto3", "botocore")) for n in imports(m))}
    assert speakers == {"stacks/cloud/client.py"}


def printing(module: str) -> Iterator[str]:
    """Where a module prints, writes to a standard stream or ends the process."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ENDINGS:
            yield f"{module}:{node.lineno} {ast.unparse(node.func)}"
        elif isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in STREAMS:
            yield f"{module}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parametrize("package", PRINTERS)
def test_only_the_command_lines_print_or_exit(package: str) -> None:
    wrong = [line for module in modules(package) if module not in PRINTERS[package] for line in printing(module)]
    assert wrong == []


@pytest.mark.parametrize("package", [*MAY_IMPORT, "benchmarks"])
def test_no_module_is_longer_than_one_reason_to_change_needs(package: str) -> None:
    lengths = {m: len((ROOT / m).read_text(encoding="utf-8").splitlines()) for m in modules(package)}
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_module_says_what_it_is_for(package: str) -> None:
    assert [m for m in modules(package) if (ROOT / m).read_text().strip() and not ast.get_docstring(tree(m))] == []
