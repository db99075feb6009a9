"""Functions that a file names as `file.py:name` or `module:name`, beside the built-in ones: one way for all sorts.

A `Registry` holds the functions of one sort (noise models, costs, ...): the built-in ones by their names, and those of
users, which are checked on a tiny case before they are taken. A validated setting, and so every key, hash and output,
has the name as `file.py:name@hash`, the hash of the source that is run: another source is another function.

Code runs only where the user says so, with `--allow-code` or by the environment variable PTYDESIGN_ALLOW_CODE: 1, or
folders whose code may run. A file of code is looked for beside the file that names it, then in the folder one is in.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema

from ptydesign.errors import NOTHING, InputError, describe, nearest

ALLOW = "PTYDESIGN_ALLOW_CODE"
NAME = re.compile(r"(?P<source>[^:]+):(?P<name>[A-Za-z_]\w*)(?:@(?P<digest>[0-9a-f]{12}))?")
NAMED = r"^[^:]+:[A-Za-z_]\w*(@[0-9a-f]{12})?$"  # the same for a JSON schema
EXAMPLE = "file.py:name or module:name"

_FOLDERS: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Place:
    """Where a user's function is. text: as a file names it, without the hash. digest: 12 digits, of the source."""

    text: str
    path: Path
    name: str
    source: bytes

    @property
    def digest(self) -> str:
        """Hash of the source."""
        return hashlib.sha256(self.source).hexdigest()[:12]

    @property
    def full(self) -> str:
        """The name with the hash, as settings and outputs hold it."""
        return f"{self.text}@{self.digest}"

    def error(self, rule: str, got: object, mend: str) -> InputError:
        """What is wrong with the function: a rule that begins with must."""
        return InputError(self.text, rule, _Words(got) if isinstance(got, str) else got, mend)

    def failed(self, error: BaseException, rule: str = "must not fail, and it did") -> InputError:
        """Its own error, with the line of its file. rule: a sentence that ends before where it failed."""
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(self.path)]
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            lines.append(error.lineno)
        where = f"{self.path}, line {lines[-1]}" if lines else str(self.path)
        return self.error(f"{rule} in {where}", describe(error), "Correct it there.")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """The functions of one sort by name. As a mapping it has the built-in ones, and takes the full names of others.

    what: the sort in words, as `noise model`. known: the built-in ones. taken: (what the user's file has, its place) ->
    the entry; it tries the function on a tiny case and raises InputError.
    """

    def __init__(self, what: str, known: Mapping[str, Entry], taken: Callable[[Any, Place], Entry]):
        self.what, self.known, self.taken = what, dict(known), taken
        self._own: dict[str, Entry] = {}
        self._places: dict[str, Place] = {}

    def __getitem__(self, name: str) -> Entry:
        return self.known[name] if name in self.known else self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def full_name(self, text: str) -> str:
        """The name as settings hold it: a built-in one as it is, a user's with the hash of its source, after loading
        and trying it. Raises InputError without running anything that isn't allowed."""
        return text if text in self.known else self._own_name(text, self.known)

    def _own_name(self, text: str, known: Iterable[str]) -> str:
        if text in self._own:
            return text
        if ":" not in text:
            mend = f"{nearest(text, known)} Or name" if known else "Name"
            raise InputError(self.what, "is not known", text, f"{mend} your own as {EXAMPLE}.")
        place = locate(text)
        if place.full not in self._own:
            try:
                self._own[place.full] = self.taken(load(place), place)
            except InputError:
                raise
            except Exception as error:  # where JAX compiles or differentiates
                rule = "must be a function that JAX can compile and differentiate, and it failed"
                raise place.failed(error, rule) from None
            self._places[place.full] = place
        return place.full

    def place(self, name: str) -> Place:
        """Where a user's function is, of its full name."""
        return self._places[name]

    @property
    def annotation(self) -> Any:
        """The type of a pydantic field that holds a name."""
        return self.annotation_of(list(self.known))

    @property
    def own_annotation(self) -> Any:
        """The type of a pydantic field that holds the name of a user's function."""
        return self.annotation_of([])

    def annotation_of(self, known: Sequence[str]) -> Any:
        """The type of a pydantic field that holds one of these words, or the name of a user's function."""

        def validated(text: str, info: ValidationInfo) -> str:
            try:
                return text if text in known else self._own_name(text, known)
            except InputError as error:
                own = "" if error.field == self.what else f"{error.field} "
                raise InputError(info.field_name or self.what, f"{own}{error.rule}", error.value, error.mend) from None

        own = {"type": "string", "pattern": NAMED}
        return Annotated[
            str, AfterValidator(validated), WithJsonSchema({"anyOf": [{"enum": list(known)}, own]} if known else own)
        ]


@contextmanager
def beside(source: str) -> Iterator[None]:
    """Code is looked for beside this file first, if it is one."""
    path = Path(source)
    with within(path.absolute().parent) if path.is_file() else nullcontext():
        yield


@contextmanager
def within(folder: Path) -> Iterator[None]:
    """Code is looked for in this folder first."""
    token = _FOLDERS.set((folder, *_FOLDERS.get()))
    try:
        yield
    finally:
        _FOLDERS.reset(token)


def allow() -> None:
    """Let code run in this process and in those that it starts."""
    os.environ[ALLOW] = "1"


class AllowCode(argparse.Action):
    """The option --allow-code."""

    def __init__(self, option_strings: list[str], dest: str, **_: Any):
        words = f"run the functions of files that are named as {EXAMPLE}; read them first"
        super().__init__(option_strings, dest, nargs=0, help=words)

    def __call__(self, *_: Any) -> None:
        allow()


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --allow-code."""
    parser.add_argument("--allow-code", action=AllowCode)


def locate(text: str) -> Place:
    """The place that a name leads to; nothing runs. Raises InputError if there is no such file, if its code may not
    run, or if the name has the hash of another source."""
    match = NAME.fullmatch(text)
    if match is None:
        raise InputError("function", f"must be named as {EXAMPLE}", text, "Correct the name.")
    source, digest = match["source"], match["digest"]
    plain = f"{source}:{match['name']}"
    paths = [_file(source, plain)] if source.endswith(".py") else _module_files(source, plain)
    path = paths[-1]
    for one in reversed(paths):  # of a module also the packages that it is in, which run before it
        _check_allowed(one, plain)
    try:
        place = Place(plain, path, match["name"], path.read_bytes())
    except OSError as error:
        raise InputError(plain, "must be readable", str(path), error.strerror or "Check its permissions.") from None
    if digest not in (None, place.digest):
        rule = f"must be the function that was used before, of source {digest}"
        mend = f"{path} has changed. Restore it, or write {plain} alone and start anew."
        raise InputError(plain, rule, place.digest, mend)
    return place


def load(place: Place) -> Any:
    """What a place names; runs its file. Raises InputError if the file doesn't run or has no such name."""
    source = place.text.rpartition(":")[0]
    try:
        module = _run(place) if source.endswith(".py") else _imported(source)
    except (Exception, SystemExit) as error:
        raise place.failed(error, "must be in a file that runs without failing, and it failed") from None
    found = vars(module)
    if place.name not in found:
        own = [n for n, v in found.items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        mend = nearest(place.name, own) if own else "It has no function."
        raise place.error(f"must be in {place.path}", f"no {place.name} there", mend)
    return found[place.name]


def _run(place: Place) -> types.ModuleType:
    """A module of a place's file: of the very bytes that were hashed."""
    label = f"ptydesign_code_{place.digest}"
    if label not in sys.modules:
        module = types.ModuleType(label)
        module.__file__ = str(place.path)
        sys.modules[label] = module  # dataclasses look themselves up there
        try:
            exec(compile(place.source, str(place.path), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[label]
            raise
    return sys.modules[label]


def _imported(source: str) -> types.ModuleType:
    """A module, and the packages that it is in, of their source: a compiled file beside it may be of another."""
    where, parts = None, source.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if name not in sys.modules:
            spec = importlib.machinery.PathFinder.find_spec(name, where)
            if spec.origin is None:  # a folder without __init__.py
                importlib.import_module(name)
            else:
                _run_source(spec)
            if count > 1:
                setattr(sys.modules[".".join(parts[: count - 1])], parts[count - 1], sys.modules[name])
        where = getattr(sys.modules[name], "__path__", None)
    return sys.modules[source]


def _run_source(spec: importlib.machinery.ModuleSpec) -> None:
    spec.loader = _OfSource(spec.name, spec.origin)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise


class _OfSource(importlib.machinery.SourceFileLoader):
    """Compiles a module's source, whatever __pycache__ holds."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def guarded(function: Callable[..., Any], place: Place) -> Callable[..., Any]:
    """The function, whose own errors become an InputError with its file and line."""
    if not callable(function):
        raise place.error("must be a function", type(function).__name__, "Name a function.")

    @functools.wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        try:
            return function(*arguments, **more)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            compiled = type(error).__module__.startswith("jax")
            rule = "must be of jax.numpy functions that JAX can compile, and it failed"
            raise (place.failed(error, rule) if compiled else place.failed(error)) from None

    return call


def plain_name(name: str) -> str:
    """The name as a file may have it, without the hash of its source."""
    return re.sub("@[0-9a-f]{12}$", "", name)


def changed(before: Any, after: Any) -> list[str]:
    """Functions that two settings (nested mappings and lists) both name, with another source: `file.py:name`."""
    one, other = dict(_named(before)), dict(_named(after))
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])


def _named(content: Any) -> Iterator[tuple[str, str]]:
    """(name, hash) of all functions in settings."""
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list | tuple):
        for one in content:
            yield from _named(one)
    elif isinstance(content, str) and (match := NAME.fullmatch(content)) and match["digest"]:
        yield plain_name(content), match["digest"]


def _file(source: str, text: str) -> Path:
    folders = list(dict.fromkeys([*_FOLDERS.get(), Path.cwd()]))
    paths = [folder / source for folder in folders]
    for path in paths:
        if path.is_file():
            return path.resolve()
    looked = ", ".join(str(path) for path in paths)
    raise InputError(text, "must be in a file that exists", looked, "Correct its path: it counts from the file's own.")


def _module_files(source: str, text: str) -> list[Path]:
    """The files of the packages that a module is in, and its own at the end, found without running any."""
    where, spec, parts, files = None, None, source.split("."), []
    for count in range(1, len(parts) + 1):
        try:
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), where)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            break
        files += [Path(spec.origin).resolve()] if spec.origin else []
        where = spec.submodule_search_locations
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        mend = "Install it, or name a file as file.py:name."
        raise InputError(text, "must be in a module that Python finds, with its source", source, mend)
    return files


def _check_allowed(path: Path, text: str) -> None:
    setting = os.environ.get(ALLOW, "")
    if setting == "1":
        return
    trusted = [Path(folder).expanduser().resolve() for folder in setting.split(os.pathsep) if folder]
    if any(path.is_relative_to(folder) for folder in trusted):
        return
    mend = (
        f"Read the file; if you trust it, say --allow-code (Snakemake: --config allow_code=true), or set {ALLOW} to 1 "
        "or to folders whose code may run."
    )
    raise InputError(text, f"would run the code of {path}, which needs your consent", NOTHING, mend)


class _Words:  # of an error's text
    """Words in an error's text without quotes."""

    def __init__(self, words: str):
        self.words = words

    def __repr__(self) -> str:
        return self.words
