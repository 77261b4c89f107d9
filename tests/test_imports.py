"""The import rules: model on numpy alone, daemon and training apart, nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import model
from tests.support.paths import ROOT

PACKAGES = ("model", "daemon", "training")
NOT_IN_THE_DAEMON = {"tensorflow", "keras", "scipy", "pydub", "training"}
HEAVY = {"tensorflow", "keras", "scipy", "matplotlib", "jinja2", "pydub", "tqdm"}


def modules(package: str) -> list[str]:
    """The package and all its modules, by their files: nothing is imported here."""
    names = [name for _, name, _ in pkgutil.walk_packages([str(ROOT / package)], package + ".")]
    return [package, *(name for name in names if not name.endswith("__main__"))]


def loaded_by(*names: str) -> set[str]:
    """The top-level packages in `sys.modules` after a fresh interpreter imported these."""
    program = f"import json, sys, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def imports_in(source: str, module_level_only: bool = False) -> set[str]:
    """The top-level packages that a source imports, in functions too unless told otherwise."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found.add(str(node.module).partition(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


def sources(package: str) -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / package).rglob("*.py"))}


# by what is written


def test_the_walk_sees_imports_wherever_they_stand():
    source = "import a.b\ndef f():\n    import c\n    from d.e import x\nif a:\n    import g\n"
    assert imports_in(source) == {"a", "c", "d", "g"}
    assert imports_in(source, module_level_only=True) == {"a", "g"}


@pytest.mark.parametrize("package", PACKAGES)
def test_there_is_something_to_check(package):
    assert sources(package)


def test_model_imports_numpy_alone():
    """And PyYAML, in a function, where both programs read YAML."""
    allowed = sys.stdlib_module_names | {"model", "numpy"}
    found = {path: imports_in(source) - allowed for path, source in sources("model").items()}
    assert {path: names for path, names in found.items() if names} == {"model/yaml_reader.py": {"yaml"}}


def test_daemon_never_imports_training_or_what_only_training_needs():
    found = {path: imports_in(source) & NOT_IN_THE_DAEMON for path, source in sources("daemon").items()}
    assert not any(found.values()), found


def test_daemon_imports_matplotlib_only_where_a_plot_is_drawn():
    """An extra: named inside a function, so that everything else works without it."""
    found = {path: imports_in(source, module_level_only=True) for path, source in sources("daemon").items()}
    assert [path for path, names in found.items() if "matplotlib" in names] == []


ROOMS = sorted(path.parent for name in ("daemon", "training") for path in (ROOT / name).glob("*/__init__.py"))


def test_rooms_import_one_way():
    """The contracts of pyproject.toml, among them that the programs know nothing of each other."""
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.parent.name}.{room.name}")
def test_a_room_says_what_it_is_for_and_is_entered_by_what_it_names(room):
    name = f"{room.parent.name}.{room.name}"
    tree = ast.parse((room / "__init__.py").read_text())
    assert len(ast.get_docstring(tree) or "") > 40
    named = set(ast.literal_eval(tree.body[-1].value))
    assert named <= {path.stem for path in room.glob("*.py")}
    entered = set()
    for path in (ROOT / room.parent.name).rglob("*.py"):
        if path.is_relative_to(room):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == name:
                entered |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(name + "."):
                entered.add(str(node.module).split(".")[2])
    assert entered <= named
    # and none is named that nobody uses, but for what the packages' own entry points are
    assert named - entered <= {"main", "server"}


def test_only_the_room_of_learning_imports_tensorflow():
    found = {path for path, source in sources("training").items() if imports_in(source) & {"keras", "tensorflow"}}
    assert found
    assert all(path.startswith("training/learning/") for path in found), found


def test_the_tree_of_contributing_names_every_file():
    tree = (ROOT / "CONTRIBUTING.md").read_text().split("model/  ", 1)[1].split("```")[0]
    listed, room = set(), "model"
    for line in ("model/  " + tree).splitlines():
        word = line.split()[0]
        if not line.startswith(" "):
            room = word.rstrip("/")
        elif word.endswith(".py"):
            listed.add(f"{room}/{word}")
    there = {path for name in PACKAGES for path in sources(name) if not path.endswith(("__init__.py", "__main__.py"))}
    assert listed == there


def test_training_never_imports_daemon():
    found = {path: imports_in(source) & {"daemon"} for path, source in sources("training").items()}
    assert not any(found.values()), found


def test_every_extra_that_a_message_names_is_one_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name
        for package in PACKAGES
        for source in sources(package).values()
        for name in re.findall(r"""\binstall\(["'](\w+)["']\)""", source)
    }
    assert {"plot", "train"} <= named <= extras.keys()


# by what is loaded


def test_importing_all_of_model_loads_numpy_alone():
    allowed = sys.stdlib_module_names | loaded_by("sys") | {"model", "numpy"}
    loaded = loaded_by(*modules("model"))
    assert "numpy" in loaded
    assert loaded <= allowed


def test_the_engine_offers_what_it_names_and_loads_numpy_only_then():
    """`chimed --help` imports the package for how help reads."""
    assert "numpy" not in loaded_by("model", "model.cli_help")
    for name in model.__all__:
        assert getattr(model, name) is not None
    with pytest.raises(AttributeError, match="'model' has no attribute 'nothing'"):
        _ = model.nothing


def test_importing_all_of_daemon_loads_nothing_heavy():
    loaded = loaded_by(*modules("daemon"))
    assert "daemon" in loaded
    assert not loaded & (NOT_IN_THE_DAEMON | HEAVY)


def test_the_command_line_loads_neither_numpy_nor_audio_before_a_command_needs_them():
    """`chimed --help` answers at once."""
    loaded = loaded_by("daemon.cli.main")
    assert not loaded & (HEAVY | {"numpy", "sounddevice", "soundfile", "soxr", "yaml", "model", "training"})


def test_the_command_line_of_training_loads_nothing_heavy():
    assert not loaded_by("training.cli.main") & (HEAVY | {"numpy", "daemon"})
