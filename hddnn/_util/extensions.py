"""Classes that a user can add: found by name, by entry point or by path, with typed options in their text.

    mapping                          one of hddnn's own, or of an installed package
    mapping:n_map=2                  with an option; several are apart by `:`
    my_site.py:NightShift:begin_h=22 a class in a file
    my_site.schemes:NightShift       a class in a module that can be imported

An option is a field of the class, which is a dataclass, or else a keyword-only parameter of its constructor; its
value is read as the annotated type.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from hddnn._util.validation import unknown
from hddnn.errors import ExtensionError, HddnnError, InputError, first_line

Base = TypeVar("Base")


class Extensions(Generic[Base]):
    """The classes of one kind, such as all schemes.

    Args:
        what: One of them in a word, for errors: "scheme".
        group: The entry points' group, in which installed packages name their own: "hddnn.schemes".
        base: The class that each of them derives from.
        own: hddnn's own, name -> "module:Class"; a module is imported when its class is asked for.

    Example:
        ::

            SCHEMES = Extensions("scheme", "hddnn.schemes", Scheme, {"end": "hddnn.schemes.fixed:End"})
            SCHEMES.make("mapping:n_map=2")
    """

    def __init__(self, what: str, group: str, base: type[Base], own: Mapping[str, str]) -> None:
        self.what, self.group, self.base, self.own = what, group, base, dict(own)

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        # Of installed packages; looked up only where a name is not hddnn's own, since that reads many files.
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self.own}

    def names(self) -> list[str]:
        """Return all names: hddnn's own in their order, then those of installed packages."""
        return [*self.own, *sorted(self._installed)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def find(self, name: str) -> type[Base]:
        """Return a class by its name, or by FILE.py:Class or MODULE:Class.

        Raises:
            InputError: There is none of that name, it cannot be loaded, or it is of another kind.
        """
        if name in self.own:
            return self._loaded(self.own[name], name)
        place, _, wanted = name.partition(":")
        if _is_file(place):
            return self._from_module(_module_of(Path(place).expanduser(), self.what), wanted, place)
        if wanted and place in self:
            raise InputError(
                f"{self.what} {place}: option {wanted} needs a value, as in {place}:{wanted}=..."
            )
        if wanted:
            return self._loaded(name, name)
        if name in self._installed:
            return self._checked(_entry(self._installed[name], self.what), name)
        raise InputError(
            unknown(self.what, name, self.names()) + f", or a class of your own as FILE.py:{self._example}"
        )

    def make(self, given: str | Base | type[Base], **defaults: Any) -> Base:
        """Return an object of the kind: the one given, or what a text with options or a class stands for.

        Args:
            given: An object, a class, or a text such as "mapping:n_map=2".
            defaults: Options that hold where the text does not give them; the class must have them.

        Raises:
            InputError: As `find` does; or an option is not there, or its value is wrong.
        """
        if isinstance(given, self.base):
            return given
        if isinstance(given, type):
            return self._built(self._checked(given, given.__name__), defaults, given.__name__)
        if not isinstance(given, str):
            name = next(iter(self.own))
            raise InputError(f"{self.what} is {given!r}; give a name, such as '{name}', or an object")
        if not given.isprintable():
            raise InputError(f"{self.what} {given!r} has characters that cannot be printed; leave them out")
        kind, options = self.read(given)
        name = split_options(given)[0]
        return self._built(kind, self._read(kind, name, defaults) | options, name)

    def options(self, text: str) -> list[str]:
        """Return the names of the options that the class of a text, such as "mapping:n_map=2", has."""
        return list(option_types(self.find(split_options(text)[0]), self.base))

    def check(self, name: str, options: Mapping[str, Any]) -> None:
        """Look whether a class of that name takes these options, given as values and not as text.

        Raises:
            InputError: As `make` does.
        """
        kind = self.find(name)
        self._built(kind, self._read(kind, name, options), name)

    def read(self, text: str) -> tuple[type[Base], dict[str, Any]]:
        """Return the class that a text stands for and the options in it, of the types that the class gives them.

        For a kind whose objects take more than options to be made, such as a network to be run.

        Raises:
            InputError: As `find` does; or an option is not there, or its value is wrong.
        """
        name, texts = split_options(text)
        kind = self.find(name)
        return kind, self._read(kind, name, texts)

    # ---- classes

    @property
    def _example(self) -> str:
        return "My" + self.base.__name__

    def _loaded(self, place: str, name: str) -> type[Base]:
        module, _, attribute = place.partition(":")
        try:
            loaded = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise InputError(f"{self.what} {name}: {module} cannot be imported: {_told(error)}") from error
        return self._from_module(loaded, attribute, name)

    def _from_module(self, module: ModuleType, wanted: str, place: str) -> type[Base]:
        """Return a class of a module by its name, or the only one of this kind that it defines."""
        there = {
            name: value
            for name, value in vars(module).items()
            if inspect.isclass(value)
            and issubclass(value, self.base)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
        }
        if not wanted and len(there) == 1:
            return next(iter(there.values()))
        listed = ", ".join(there) or f"none; derive one from {self.base.__module__}.{self.base.__name__}"
        if not wanted:
            raise InputError(f"{place}: say which {self.what}, as {place}:NAME; there are {listed}")
        if not hasattr(module, wanted):
            raise InputError(f"{place} has no {self.what} {wanted}; there are {listed}")
        return self._checked(getattr(module, wanted), f"{place}:{wanted}" if wanted not in place else place)

    def _checked(self, found: Any, name: str) -> type[Base]:
        base = f"{self.base.__module__}.{self.base.__name__}"
        if not inspect.isclass(found) or not issubclass(found, self.base):
            raise InputError(f"{name} is no {self.what}: it does not derive from {base}")
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise InputError(f"{self.what} {name} lacks {', '.join(missing)}; see {base}")
        return found

    # ---- options

    def _read(self, kind: type[Base], name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        # pydantic takes long to load: only who gives options waits for it.
        if not given:
            return {}
        from pydantic import TypeAdapter, ValidationError

        types = option_types(kind, self.base)
        values: dict[str, Any] = {}
        for option, value in given.items():
            if option not in types:
                raise self._no_option(name, option, types)
            # In a text, none stands for None.
            as_text = isinstance(value, str) and types[option] is not str
            if as_text and value.lower() == "none" and _may_be_none(types[option]):
                values[option] = None
                continue
            try:
                values[option] = TypeAdapter(types[option]).validate_python(value)
            except ValidationError as error:
                says = error.errors()[0]["msg"]
                says = says[:1].lower() + says[1:]
                raise InputError(f"{self.what} {name}: {option} is {value!r}: {says}") from None
        return values

    def _no_option(self, name: str, option: str, types: Mapping[str, Any]) -> InputError:
        there = f"it has {', '.join(types)}" if types else "it has none"
        return InputError(f"{self.what} {name} has no option {option}; {there}")

    def _built(self, kind: type[Base], options: Mapping[str, Any], name: str) -> Base:
        try:
            return kind(**options)
        except InputError:
            raise
        except TypeError as error:  # a field without a default, or one that is not there
            types = option_types(kind, self.base)
            for option in options:
                if option not in types:
                    raise self._no_option(name, option, types) from None
            raise InputError(f"{self.what} {name}: {first_line(error)}") from error
        except (Exception, SystemExit) as error:
            raise ExtensionError(f"{self.what} {name}: {_told(error)}") from error


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """Split "mapping:n_map=2" in ("mapping", {"n_map": "2"}).

    What has no `=` goes on with what stands before it: a class's name after its file, a `:` within a value.

    Raises:
        InputError: An option is given twice.
    """
    name, *pieces = text.split(":")
    options: dict[str, str] = {}
    last = ""
    for piece in pieces:
        option, equals, value = piece.partition("=")
        if equals:
            last = option.strip()
            if last in options:
                raise InputError(f"{text}: {last} is given twice")
            options[last] = value.strip()
        elif last:
            options[last] += f":{piece}"
        else:
            name += f":{piece}"
    return name.strip(), options


def option_types(kind: type, base: type = object) -> dict[str, Any]:
    """Return the options of a class, name -> type, in their order.

    They are the fields that a dataclass's constructor takes, or the keyword-only parameters of another's; a
    parameter without a type is text.

    Args:
        kind: The class.
        base: Whose constructor's parameters are given to every class of the kind, and are no options.
    """
    common = set() if dataclasses.is_dataclass(base) else set(inspect.signature(base).parameters)
    typed = kind if dataclasses.is_dataclass(kind) else inspect.getattr_static(kind, "__init__")
    try:
        hints = typing.get_type_hints(typed)
    except NameError as error:  # of an import that only type checkers make
        raise InputError(
            f"the types of {kind.__name__}'s options cannot be read: {error}; import what they name"
        ) from error
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
    else:
        parameters = inspect.signature(kind).parameters.values()
        names = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    return {name: hints.get(name, str) for name in names if name not in common}


def options_of(made: Any) -> dict[str, Any]:
    """Return the options of an object that are not its class's defaults, name -> value."""
    given = {}
    for field in dataclasses.fields(made) if dataclasses.is_dataclass(made) else ():
        value = getattr(made, field.name)
        if field.init and (field.default is dataclasses.MISSING or value != field.default):
            given[field.name] = value
    return given


def name_of(kind: type) -> str:
    """Return what users call a class: its own `name`, or else the class's in small letters with dashes.

    Raises:
        InputError: The name could not be typed, or stand in a table or a file's name.
    """
    derived = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()
    name = vars(kind).get("name", derived)
    if not isinstance(name, str) or not re.fullmatch(r"_?\w[\w.-]{0,39}", name):
        raise InputError(
            f"{kind.__name__} has the name {name!r}; take up to 40 letters, digits, dashes and dots"
        )
    return name


def written(name: str, made: Any) -> str:
    """Return the text that stands for an object of a name: "mapping:n_map=2"."""
    return ":".join([name, *(f"{option}={value}" for option, value in options_of(made).items())])


def placed(text: str, folder: Path) -> str:
    """Return a text whose class lies in a file with that file's absolute path.

    Args:
        text: Such as "my_site.py:NightShift"; one that names no file stays what it is.
        folder: Where a relative path begins.
    """
    place, colon, rest = text.partition(":")
    if not _is_file(place):
        return text
    return os.path.normpath(folder / Path(place).expanduser()) + colon + rest


def _is_file(place: str) -> bool:
    return place.endswith(".py")


def _module_of(path: Path, what: str) -> ModuleType:
    """Return the module of a file; what it imports from its own folder is found, too."""
    path = path.resolve()
    name = f"hddnn_extension_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise InputError(f"{what} {path}: there is no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{what} {path} cannot be loaded: {_told(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _entry(point: EntryPoint, what: str) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise InputError(f"{what} {point.name} ({point.value}) cannot be loaded: {_told(error)}") from error


@contextmanager
def told_in_a_line(own: Iterable[object]) -> Iterator[None]:
    """Make what code of a user's own raises, in this block, an error of one line that names its file and line.

    What hddnn's own code raises stays as it is: that is a fault of hddnn's, to be told in full.

    Args:
        own: The objects whose classes' files count, as they are when the block ends; hddnn's own do not.

    Raises:
        ExtensionError: One of them has raised something, or has called sys.exit.
    """
    try:
        yield
    except HddnnError:
        raise
    except (Exception, SystemExit) as error:
        place = _place_of(error, own)
        if place is None:
            raise
        raise ExtensionError(f"{place}: {_told(error)}") from error


def _place_of(error: BaseException, own: Iterable[object]) -> str | None:
    """Return FILE, line N of the last of the users' files that an error, or its cause, came through."""
    modules = [sys.modules.get(type(one).__module__) for one in own]
    files = {
        str(module.__file__)
        for module in modules
        if module is not None
        and not module.__name__.startswith("hddnn.")
        and getattr(module, "__file__", None)
    }
    place, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename in files:
            place = f"{at.tb_frame.f_code.co_filename}, line {at.tb_lineno}"
        at = at.tb_next
    if place is None and error.__cause__ is not None:
        return _place_of(error.__cause__, own)
    return place


def _told(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it calls sys.exit"
    return f"{type(error).__name__}: {first_line(error)}"


def _may_be_none(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)
