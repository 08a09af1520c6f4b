"""The laws of the house that no linter knows, each as one plain test."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    "fraud",
    "fraud/domain",
    "fraud/types",
    "fraud/ledger",
    "fraud/security",
    "feature_store",
    "bentos",
    "bentos/scoring",
    "bentos/fraud_detector",
    "bentos/fraud_detector/operations",
    "orchestration",
    "orchestration/assets",
    "orchestration/training",
    "orchestration/sources",
    "dashboards",
    "dashboards/drift",
    "benchmarks",
    "tests",
)
PRODUCT = ("fraud", "feature_store", "bentos", "orchestration", "dashboards")
LOCKS = ("build", "serve", "train", "dev")
MAKE_TARGETS = {
    *("help", "setup", "run", "token", "test", "check", "parity", "lock", "clean"),
    *("bench-features", "bench-serving", "bench-quality"),
}

MAX_LINES = 400
NAMES_THAT_SAY_NOTHING = {
    *("common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"),
}
PICKLE_FAMILY = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
PICKLING_CALLS = {"read_pickle", "to_pickle"}
DOMAIN_MAY_IMPORT = {"numpy", "pydantic", "fraud.domain"}
# Standard library that does I/O, reads a clock or rolls dice: not for the domain.
IMPURE = {
    *("asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"),
    *("shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time"),
    *("urllib",),
}
IMPURE_FUNCTIONS = {"input", "open", "print"}
CLOCK_METHODS = {"now", "today", "utcnow"}

# Below these versions each package has a published vulnerability that concerns this system.
FLOORS = {
    "bentoml": "1.4.39",
    "mlflow": "3.15",
    "pyjwt": "2.15",
    "skops": "0.12",
    "starlette": "0.49.1",
}

# A path of one person's machine. A URL's path is preceded by its host, a relative one by a dot.
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/(?:work|root|home|Users)/[\w.]")
# Where packages come from is each machine's own affair. Split, so as not to find themselves here.
REGISTRY_HOSTS = (
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "registry.yarn" + "pkg.com",
    "crates" + ".io",
    "proxy.go" + "lang.org",
    "repo.maven.ap" + "ache.org",
    "repo1." + "maven.org",
    "deb.de" + "bian.org",
)


def files_of_the_repository() -> list[Path]:
    """Return every file that is committed or would be by adding it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


FILES = files_of_the_repository()
MODULES = [path for path in FILES if path.suffix == ".py"]


def modules_in(*folders: str) -> list[Path]:
    return [path for path in MODULES if any(path.is_relative_to(ROOT / room) for room in folders)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the full name of every module imported in or below a node."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module


def called_functions(node: ast.AST) -> Iterator[str]:
    """Yield `f` of every call `f(...)`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
            yield child.func.id


def called_methods(node: ast.AST) -> Iterator[str]:
    """Yield `m` of every call `thing.m(...)`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            yield child.func.attr


def pins(lock: str) -> dict[str, Version]:
    """Return what a lock file pins; every environment must get the same version of a package."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE)
    names = [canonicalize_name(package) for package, _ in found]
    assert len(names) == len(set(names)), f"{lock}.lock pins a package twice"
    return {package: Version(version) for package, (_, version) in zip(names, found, strict=True)}


# --- rooms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_exists_and_says_what_it_is(room: str) -> None:
    door = ROOT / room / "__init__.py"
    assert door.is_file(), f"{room} is not a package"
    assert ast.get_docstring(tree(door)), f"{room}/__init__.py has no docstring"


def test_init_files_are_near_empty() -> None:
    doors = [path for path in MODULES if path.name == "__init__.py"]
    # 40 lines hold a docstring and a list of public names; code belongs in a named module.
    crowded = [name(path) for path in doors if len(path.read_text("utf-8").splitlines()) > 40]
    assert not crowded


def test_our_mlflow_folder_holds_no_code() -> None:
    assert (ROOT / "mlflow").is_dir()
    assert not list((ROOT / "mlflow").rglob("*.py")), "it would shadow the mlflow package"


def test_import_mlflow_finds_the_installed_package() -> None:
    assert mlflow.__file__ is not None, "an empty namespace: is mlflow installed?"
    assert "site-packages" in Path(mlflow.__file__).parts


def test_no_module_is_too_long() -> None:
    lengths = {name(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {module: n for module, n in lengths.items() if n > MAX_LINES} == {}


def test_names_say_what_is_inside() -> None:
    parts = {
        name(path): {part.lstrip("_") for part in path.relative_to(ROOT).with_suffix("").parts}
        for path in MODULES
    }
    assert [module for module, words in parts.items() if words & NAMES_THAT_SAY_NOTHING] == []


# --- imports ---------------------------------------------------------------------------------


def test_only_training_and_tests_may_pickle() -> None:
    found = []
    for path in MODULES:
        if path.is_relative_to(ROOT / "orchestration") or path.is_relative_to(ROOT / "tests"):
            continue
        module = tree(path)
        found += [f"{name(path)}: {one}" for one in imports(module) if top(one) in PICKLE_FAMILY]
        found += [f"{name(path)}: {one}" for one in called_methods(module) if one in PICKLING_CALLS]
        found += [
            f"{name(path)}: allow_pickle"
            for node in ast.walk(module)
            if isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ]
    assert found == []


def test_the_domain_imports_the_standard_library_numpy_and_pydantic_only() -> None:
    def is_allowed(module: str) -> bool:
        if module == "fraud.domain" or module.startswith("fraud.domain."):
            return True
        return top(module) in DOMAIN_MAY_IMPORT | (sys.stdlib_module_names - IMPURE)

    found = {
        f"{name(path)}: {module}"
        for path in modules_in("fraud/domain")
        for module in imports(tree(path))
        if not is_allowed(module)
    }
    assert found == set()


def test_the_domain_does_no_io_and_reads_no_clock() -> None:
    found = []
    for path in modules_in("fraud/domain"):
        module = tree(path)
        found += [f"{name(path)}: {f}()" for f in called_functions(module) if f in IMPURE_FUNCTIONS]
        found += [f"{name(path)}: .{m}()" for m in called_methods(module) if m in CLOCK_METHODS]
    assert found == []


def test_the_front_door_opens_upper_rooms_only_inside_its_commands() -> None:
    found = [
        f"{name(path)}: {module}"
        for path in modules_in("fraud")
        if path.name == "cli.py" or path.name.endswith("_commands.py")
        for statement in tree(path).body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for module in imports(statement)
        if top(module) in set(PRODUCT) - {"fraud"}
    ]
    assert found == []


def test_settings_alone_read_the_environment() -> None:
    def reads(node: ast.AST) -> bool:
        if isinstance(node, ast.Call):
            target = ast.unparse(node.func)
            return target in {"os.getenv", "getenv", "os.environ.get", "environ.get"}
        is_item = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
        return is_item and ast.unparse(node.value) in {"os.environ", "environ"}

    found = [
        f"{name(path)}:{node.lineno}"
        for path in modules_in(*PRODUCT)
        if path != ROOT / "fraud" / "settings.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.expr) and reads(node)
    ]
    assert found == []


def test_dagster_sees_real_annotations() -> None:
    found = [
        name(path)
        for path in modules_in("orchestration")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if "annotations" in {alias.name for alias in node.names}
    ]
    assert found == [], "Dagster cannot read the type of `context` from a string"


def top(module: str) -> str:
    return module.partition(".")[0]


# --- what a repository must not know ---------------------------------------------------------


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in FILES:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a table: nothing a person could have typed
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATH.search(line) or any(host in line for host in REGISTRY_HOSTS):
                found.append(f"{name(path)}:{number}: {line.strip()[:80]}")
    assert found == []


# --- locks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_vulnerable_versions_are_not_locked(lock: str) -> None:
    below = {
        package: str(version)
        for package, version in pins(lock).items()
        if package in FLOORS and version < Version(FLOORS[package])
    }
    assert below == {}, f"{lock}.lock holds versions with known vulnerabilities"


def test_the_floors_are_about_packages_we_have() -> None:
    assert set(FLOORS) <= set(pins("dev")), "a floor is misspelt, or its package is gone"


def test_the_locks_agree() -> None:
    dev = pins("dev")
    for lock in ("build", "serve", "train"):
        different = {name: v for name, v in pins(lock).items() if dev.get(name) != v}
        assert different == {}, f"{lock}.lock differs from dev.lock: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_hashes_and_no_address(lock: str) -> None:
    lines = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8").splitlines()
    stray = [line for line in lines if "://" in line or line.lstrip().startswith("--index")]
    assert stray == []
    bare = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if "==" in line and not line.lstrip().startswith("#") and "--hash=" not in following
    ]
    assert bare == []


def test_the_locks_fulfil_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {"dev": [one for extra in extras.values() for one in extra]}
    wanted |= {"serve": extras["serve"], "train": extras["train"]}
    for lock, requirements in wanted.items():
        locked = pins(lock)
        for requirement in map(Requirement, [*project["dependencies"], *requirements]):
            version = locked.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} is not in {lock}.lock: run `make lock`"
            assert version in requirement.specifier, f"{lock}.lock: {version} is not {requirement}"


# --- make ------------------------------------------------------------------------------------


def test_every_make_target_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = dict(re.findall(r"^([a-z][\w-]*):(?!=)(.*)$", makefile, re.MULTILINE))
    assert set(targets) >= MAKE_TARGETS
    assert [target for target, rest in targets.items() if not re.search(r"## \S", rest)] == []
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, check=True, text=True)
    assert [target for target in targets if f"  {target} " not in shown.stdout] == []
