"""Style as a test: what no linter knows about this house, checked on the syntax tree.

Every rule is a function from a source file to the faults in it, and is tried first on a planted
fault, so that a rule that has gone blind is noticed.
"""

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70
NAMES_BANNED: Final = frozenset(
    {"utils", "util", "helpers", "helper", "common", "base", "types", "misc"}
)
ROOMS_OF_MONEY: Final = frozenset(
    {"primitives", "ledger", "consensus", "mempool", "replica", "receipt"}
)
ROOMS_PURE: Final = ROOMS_OF_MONEY | {"crypto", "errors"}
ROOMS_FINISHED: Final = frozenset({"consensus", "ledger", "storage"})
SET_MAKERS: Final = frozenset({"set", "frozenset"})
ORDER_FREE: Final = frozenset({"sorted", "sum", "any", "all", "min", "max", *SET_MAKERS})
SET_METHODS: Final = frozenset({"union", "intersection", "difference", "symmetric_difference"})

# Written in pieces, so that this file does not name what it forbids.
PATHS_OF_A_MACHINE: Final = re.compile(
    r"(?<![\w.~/$}])/(?:work|root|home/\w+|Users/\w+|builds|opt/" + r"pypi[\w-]*)/[\w.-]"
)
REGISTRY_HOSTS: Final = re.compile(
    r"\b(?:py" + r"pi\.org|files\.python" + r"hosted\.org|registry\.npm" + r"js\.org)\b"
)


@dataclass(frozen=True)
class Source:
    """One Python file: where it is, its text and its tree."""

    path: Path
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The first name below the package; empty for files that are in no room."""
        parts = self.path.parts
        if parts[:2] != ("src", "lockstep") or len(parts) < 3:
            return ""
        return parts[2].removesuffix(".py")


Rule = Callable[[Source], Iterator[str]]


def check_file_length(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, {FILE_LINES_MAX} are allowed: split it by noun"


def check_function_length(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES_MAX} allowed"


def check_integers(source: Source) -> Iterator[str]:
    """No float and no true division where money and weights are [L1]."""
    if source.room not in ROOMS_OF_MONEY:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{node.lineno}: float literal {node.value}"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{node.lineno}: true division; `//` keeps integers"
        elif isinstance(node, ast.Name) and node.id == "float":
            yield f"{node.lineno}: float"


def is_keys(node: ast.expr) -> bool:
    """Say whether the expression is `x.keys()`: in order by itself, a set once combined."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys")):
            return True
    return False


def is_set(node: ast.expr, names: frozenset[str]) -> bool:
    """Say whether the expression is a set, as far as the tree can tell."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=name):
            return f".{name}" in names
        case ast.Call(func=ast.Name(id=name)) if name in SET_MAKERS:
            return True
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in SET_METHODS:
            return is_set(value, names)
        case ast.BinOp(
            left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right
        ):
            return any(is_set(side, names) or is_keys(side) for side in (left, right))
        case ast.IfExp(body=body, orelse=orelse):
            return is_set(body, names) or is_set(orelse, names)
        case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[first, *_]):
            return is_set(first, names)
    return False


def is_set_annotation(node: ast.expr | None) -> bool:
    match node:
        case ast.Subscript(value=value):
            return is_set_annotation(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
    return False


def names_of_sets(scope: ast.AST) -> Iterator[str]:
    """Yield the names that are sets by annotation or by what is assigned; attributes as `.name`."""
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_set(value, frozenset()):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if is_set_annotation(
                kind
            ):
                yield name
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=kind):
                if is_set_annotation(kind):
                    yield f".{name}"
            case ast.arg(arg=name, annotation=kind) if is_set_annotation(kind):
                yield name


def ordered_reads(scope: ast.AST) -> Iterator[ast.expr]:
    """Yield what is iterated over in a way that lets its order out."""
    free: set[ast.AST] = set()
    for node in ast.walk(scope):
        match node:
            case ast.For(iter=read) | ast.Starred(value=read):
                yield read
            case ast.Call(func=ast.Name(id=name), args=[ast.GeneratorExp() as inner, *_]):
                if name in ORDER_FREE:
                    free.add(inner)
            case ast.Call(
                func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[read, *_]
            ):
                yield read
            case ast.ListComp(generators=parts) | ast.DictComp(generators=parts):
                yield from (part.iter for part in parts)
            case ast.GeneratorExp(generators=parts) if node not in free:
                yield from (part.iter for part in parts)


def check_no_iteration_over_sets(source: Source) -> Iterator[str]:
    """The order of a set differs between two runs, and the core must not."""
    if source.room not in ROOMS_PURE:
        return
    tree = source.tree
    fields = {name for name in names_of_sets(tree) if name[0] == "."}
    for kind in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        for line in kind.body:
            if isinstance(line, ast.AnnAssign):
                fields |= {f".{name}" for name in names_of_sets(line)}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    lines: set[int] = set()
    for scope in (tree, *functions):
        local = names_of_sets(scope) if isinstance(scope, ast.FunctionDef) else ()
        names = frozenset(fields.union(local))
        lines |= {read.lineno for read in ordered_reads(scope) if is_set(read, names)}
    for number in sorted(lines):
        yield f"{number}: iteration over a set; sort it first"


def check_name(source: Source) -> Iterator[str]:
    if source.path.stem in NAMES_BANNED:
        yield f"the name {source.path.name} says nothing: name it after its noun"


def check_docstring(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield "1: the module does not say what lives there"


def comments(source: Source) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def check_nothing_open(source: Source) -> Iterator[str]:
    """Say what is left to do in an issue; in the rooms of safety nothing is left."""
    for line, comment in comments(source):
        if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", comment):
            if source.room in ROOMS_FINISHED:
                yield f"{line}: nothing may be left open in {source.room}"
            elif not re.search(r"#\d+", comment):
                yield f"{line}: left open without an issue's number"


def check_ignores_have_reasons(source: Source) -> Iterator[str]:
    """A silenced finding says why: `# type: ignore[code]  # Because ...`."""
    for line, comment in comments(source):
        if "type: " + "ignore" in comment and not re.search(
            r"type: ignore\[[\w,\- ]+\]\s+#\s+\w+", comment
        ):
            yield f"{line}: an ignored type error without code and reason"
        if re.search(r"#\s*noqa", comment) and not re.search(
            r"noqa: [A-Z0-9, ]+\s+#\s+\w+", comment
        ):
            yield f"{line}: an ignored finding without code and reason"


def check_no_swallowing(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        broad = node.type is None or (
            isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
        )
        empty = all(
            isinstance(s, ast.Pass | ast.Continue)
            or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            for s in node.body
        )
        if node.type is None:
            yield f"{node.lineno}: bare except"
        elif broad and empty:
            yield f"{node.lineno}: an error of any kind is swallowed"


RULES_OF_PYTHON: Final[tuple[Rule, ...]] = (
    check_file_length,
    check_function_length,
    check_integers,
    check_no_iteration_over_sets,
    check_name,
    check_docstring,
    check_nothing_open,
    check_ignores_have_reasons,
    check_no_swallowing,
)


def identify(value: Rule | str) -> str:
    """Name a case the same way in every process."""
    return (
        value.splitlines()[0][:40]
        if isinstance(value, str) and value
        else getattr(value, "__name__", "")
    )


def check_places(source: Source) -> Iterator[str]:
    """No file names the machine it was made on, nor a registry's host."""
    for number, line in enumerate(source.text.splitlines(), 1):
        for pattern in (PATHS_OF_A_MACHINE, REGISTRY_HOSTS):
            if found := pattern.search(line):
                yield f"{number}: names a place: {found.group()}"


def tracked_files() -> list[Path]:
    """Return what the repository holds or is about to hold, relative to its root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = (Path(name.decode()) for name in names.split(b"\0") if name)
    return sorted(path for path in paths if (ROOT / path).is_file())


def load(path: Path) -> Source | None:
    """Return the file, or nothing if it is no text."""
    try:
        return Source(path, (ROOT / path).read_text("utf-8"))
    except UnicodeDecodeError:
        return None


FILES: Final = [source for source in map(load, tracked_files()) if source is not None]
PYTHON: Final = [source for source in FILES if source.path.suffix == ".py"]


@pytest.mark.parametrize("rule", RULES_OF_PYTHON, ids=identify)
def test_python(rule: Rule) -> None:
    assert len(PYTHON) > 5
    faults = [f"{source.path}:{fault}" for source in PYTHON for fault in rule(source)]
    assert not faults, "\n".join(faults)


def test_places() -> None:
    assert len(FILES) > 20
    faults = [f"{source.path}:{fault}" for source in FILES for fault in check_places(source)]
    assert not faults, "\n".join(faults)


def test_contracts_name_every_room() -> None:
    """A room that is built is not optional, and a pure one is held to purity."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers, purity = settings["contracts"][:2]
    layered = {name.strip() for line in layers["layers"] for name in line.split("|")}
    pure = {name.removeprefix("lockstep.") for name in purity["source_modules"]}
    package = ROOT / "src" / "lockstep"
    built = {
        path.name.removesuffix(".py")
        for path in package.iterdir()
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem[0] != "_")
    }
    assert built == {name for name in layered if name[0] != "("}
    assert pure == built & ROOMS_PURE
    assert set(purity["forbidden_modules"]) >= {"asyncio", "time", "random", "os", "socket", "lmdb"}


PLANTED: Final[list[tuple[Rule, str, str]]] = [
    (check_file_length, "src/lockstep/net/wire.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (
        check_function_length,
        "src/lockstep/net/wire.py",
        "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX,
    ),
    (check_integers, "src/lockstep/ledger/rules.py", "fee = 0.5"),
    (check_integers, "src/lockstep/primitives/committee.py", "quorum = 2 * weight / 3"),
    (check_integers, "src/lockstep/mempool/pool.py", "rate /= 4"),
    (check_integers, "src/lockstep/consensus/rounds.py", "x = float(y)"),
    (check_no_iteration_over_sets, "src/lockstep/replica/replica.py", "for x in {1, 2}: pass"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = [x for x in set(z)]"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = (*frozenset(z), 1)"),
    (check_no_iteration_over_sets, "src/lockstep/crypto/keys.py", "y = list(a | {b})"),
    (
        check_no_iteration_over_sets,
        "src/lockstep/mempool/pool.py",
        "def f(a: frozenset[int]):\n    for x in a: pass",
    ),
    (
        check_no_iteration_over_sets,
        "src/lockstep/mempool/pool.py",
        "def f():\n    a = set(b)\n    return {x: 1 for x in a - c}",
    ),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = [x for x in a.keys() & b]"),
    (
        check_no_iteration_over_sets,
        "src/lockstep/mempool/pool.py",
        "class A:\n    b: set[int]\n    def f(self):\n        yield from (x for x in self.b)",
    ),
    (check_name, "src/lockstep/rpc/utils.py", ""),
    (check_name, "src/lockstep/primitives/types.py", ""),
    (check_docstring, "src/lockstep/net/wire.py", "x = 1"),
    (check_nothing_open, "src/lockstep/storage/store.py", "# TO" + "DO(#7): sync"),
    (check_nothing_open, "src/lockstep/net/wire.py", "# FIX" + "ME: later"),
    (check_ignores_have_reasons, "src/lockstep/net/wire.py", "x = 1  # type: " + "ignore"),
    (check_ignores_have_reasons, "src/lockstep/net/wire.py", "x = 1  # type: " + "ignore[misc]"),
    (check_ignores_have_reasons, "src/lockstep/net/wire.py", "x = 1  # no" + "qa: S101"),
    (check_no_swallowing, "src/lockstep/net/wire.py", "try: f()\nexcept Exception: pass"),
    (check_no_swallowing, "src/lockstep/net/wire.py", "try: f()\nexcept: raise"),
    (check_places, "docs/a.md", "see /wo" + "rk/main/src"),
    (check_places, "docs/a.md", "from https://py" + "pi.org/simple"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED, ids=identify)
def test_planted_fault_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(Path(path), text)))


HARMLESS: Final[list[tuple[Rule, str, str]]] = [
    (check_integers, "src/lockstep/observability/metrics.py", "seconds = 1.5 / 2"),
    (check_integers, "src/lockstep/ledger/rules.py", "half = weight // 2"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "for x in sorted({1, 2}): pass"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = {x for x in {1, 2}}"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = sum(x for x in {1, 2})"),
    (check_no_iteration_over_sets, "src/lockstep/ledger/coins.py", "y = list(a.keys())"),
    (
        check_ignores_have_reasons,
        "src/lockstep/net/wire.py",
        "x = 1  # type: " + "ignore[misc]  # The library carries no types.",
    ),
    (check_no_swallowing, "src/lockstep/net/wire.py", "try: f()\nexcept KeyError: pass"),
    (check_places, "docs/a.md", "a directory named homework/main and $HOME/work/x"),
]


@pytest.mark.parametrize(("rule", "path", "text"), HARMLESS, ids=identify)
def test_harmless_text_passes(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(Path(path), text)))
