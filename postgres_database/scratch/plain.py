"""Models that are made of their files alone, so that unchanged files make the same models: none is imported.

These use SQLAlchemy and what of Python asks nothing of the process, the machine or the moment. Any others are imported
each time, and asked.
"""

import ast
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from postgres_database.history import reads
from postgres_database.history.project import Project
from postgres_database.scratch import sources

ENGINE = "postgres_database"
NAMING = f"{ENGINE}.naming"
"""What plain models import besides each other and `sources.LIBRARIES`."""
INSTALLED = ("built-in", "frozen")
"""Where Python finds what is no file (Python documentation, `ModuleSpec.origin`)."""
ELSE = ""
"""The key of what is no file and no module."""
TREE = f"{os.sep}**"
"""How the key ends of all modules in a folder."""
COMMANDS = sys.stdlib_module_names | {"invoke", ENGINE}
"""What the modules import that a process loads besides the models, such as tasks.py, if they do not change models."""


def facts(project: Project) -> Mapping[str, str]:
    """Return what the naming convention of the models depends on, which are loaded; empty where only they can tell.

    Returns:
        Path from the root of the repository → digest of the file or folder; name of a module → where it is.
    """
    from postgres_database.history import project_models  # noqa: PLC0415 - here they are loaded

    names = _above(project.target_metadata.partition(":")[0])
    beside = [name.replace(":", ".") for name in project_models.imports_of_env(project.root)]
    names += [each for name in beside for each in _above(name) if each in sys.modules]
    with suppress(KeyError, TypeError, OSError, SyntaxError, ValueError):
        files = [str(sys.modules[name].__file__) for name in names]
        starts = [Path(file) for file in files if not reads.is_foreign(file)]
        needed, steady = reads.closure(starts)
        paths = {Path(os.path.abspath(path)) for path in {*starts, *needed}}  # noqa: PTH100 - as `reads` has them
        modules = reads.modules_in(paths)
        known = sources.LIBRARIES | {NAMING} | modules
        # What env.py imports counts like what they import: an installed library may change models.
        imported = {*names} - {ENGINE}
        for path in paths:
            if path.suffix != ".py" or reads.is_foreign(str(path)):
                return {}
            tree = _parsed(path)
            imported.update(sources.imported(tree))
            if not sources.asks_nothing(tree):
                return {}
        steady &= _whole(modules)
        if starts and steady and all(known.intersection(_above(name)) for name in imported):
            folders = {path.parent for path in paths if (path.parent / "__init__.py").exists()}
            digests = {_relative(each, project): reads.digest(each) for each in paths | folders}
            tops = {_top(name) for name in {*imported, *names}}
            places = {name: _place(name, project) for name in sorted(tops)}
            return digests | places | {ELSE: _else(project)}
    return {}


def _whole(modules: Iterable[str]) -> bool:
    """Tell whether all that is loaded of the packages of these modules has a file.

    A package without one may be in several places, become another one by any of them, and get modules there.
    """
    tops = {_top(name) for name in modules}
    loaded = [module for name, module in [*sys.modules.items()] if _top(name) in tops]
    return all(reads.file_of(module) for module in loaded)


def hold(facts: Mapping[str, str], project: Project) -> bool:
    """Tell whether the models still depend on the same."""
    project.find_modules()
    return bool(facts) and all(_fact(key, project) == said for key, said in facts.items())


def everything(project: Project) -> Mapping[str, str]:
    """Return what all that the models make depends on, which are loaded; empty where only they can tell.

    That is more than `facts`: what defines tables in their package and was not imported (`strangers.unimported`), and
    what else this process has loaded, if it cannot change models.
    """
    from postgres_database.history import project_models  # noqa: PLC0415 - here they are loaded

    found = facts(project)
    modules = {_relative(Path(path), project): name for name, path in reads.loaded().items()}
    others = {path: project.root / path for path in modules if path not in found}
    known = COMMANDS | {modules[path] for path in others}
    with suppress(OSError, SyntaxError, ValueError):
        reached, steady = reads.closure(others.values())
        apart = not any(_relative(path, project) in found for path in reached)
        apart &= all(
            known.intersection(_above(name))
            for path in others.values()
            for name in sources.imported(_parsed(path))
        )
        if found and steady and apart:
            folders = project_models.folders(project.target_metadata.partition(":")[0])
            trees = {f"{_relative(each, project)}{TREE}": _tree(each) for each in folders}
            digests = {name: reads.digest(path) for name, path in others.items()}
            return {**found, **digests, **trees}
    return {}


def all_hold(facts: Mapping[str, str], project: Project) -> bool:
    """Tell whether the models, which are not loaded, still depend on the same; `facts` is from `everything`."""
    loaded = {_relative(Path(path), project) for path in reads.loaded().values()}
    return loaded <= facts.keys() and hold(facts, project)


def _fact(key: str, project: Project) -> str:
    if key == ELSE:
        return _else(project)
    if key.endswith(TREE):
        return _tree(project.root / key.removesuffix(TREE))
    return _place(key, project) if key.isidentifier() else reads.digest(project.root / key)


def _else(project: Project) -> str:
    python = sys.version, sys.flags.optimize, sys.warnoptions
    return f"{project.target_metadata}, Python {python}"


def _relative(path: Path, project: Project) -> str:
    """Return a path from the root, which is no name of a module."""
    return f".{os.sep}{os.path.relpath(path, project.root)}"


def _place(name: str, project: Project) -> str:
    """Return where Python finds a module, from the root of the repository; empty for what is installed."""
    spec = find_spec(name)
    origin = (spec and spec.origin) or "nowhere"
    return (
        "" if origin in INSTALLED or reads.is_foreign(origin) else _relative(Path(origin), project)
    )


def _tree(folder: Path) -> str:
    """Return a digest of the modules in a folder and in those below."""
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0{reads.digest(path)}\0".encode())
    return digest.hexdigest()[:32]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _above(name: str) -> list[str]:
    """Return the names of a module and of the packages that it is in."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
