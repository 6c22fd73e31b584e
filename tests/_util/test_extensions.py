"""Classes that a user can add: found by name, path, module and entry point, with options of their types."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from extending import installed
from hypothesis import given
from hypothesis import strategies as st

from hddnn._util.extensions import Extensions, options_of, split_options, written
from hddnn.errors import InputError


class Tool(ABC):
    name: ClassVar[str] = ""

    @abstractmethod
    def use(self) -> str: ...


@dataclass(frozen=True)
class Hammer(Tool):
    weight_kg: float = 1.0
    count: int = 1
    handle: Literal["wood", "steel"] = "wood"
    label: str | None = None
    loud: bool = False
    place: Path | None = None

    name = "hammer"

    def use(self) -> str:
        return "bang"


@dataclass(frozen=True)
class Screw(Tool):
    pitch_mm: float

    def use(self) -> str:
        return "turn"


class Blunt(Tool):
    """No way to use it."""


HERE = __name__
TOOLS: Extensions[Tool] = Extensions(
    "tool",
    "hddnn.tests.tools",
    Tool,  # type: ignore[type-abstract]
    {"hammer": f"{HERE}:Hammer", "screw": f"{HERE}:Screw"},
)


def test_names_are_there_in_their_order() -> None:
    assert list(TOOLS) == ["hammer", "screw"]
    assert len(TOOLS) == 2
    assert "screw" in TOOLS
    assert "saw" not in TOOLS


def test_an_object_stays_what_it_is_and_a_class_is_made() -> None:
    mine = Hammer(2.0)
    assert TOOLS.make(mine) is mine
    assert TOOLS.make(Hammer) == Hammer()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("hammer", Hammer()),
        ("hammer:weight_kg=2", Hammer(2.0)),
        ("hammer:count=3:handle=steel", Hammer(count=3, handle="steel")),
        ("hammer:loud=yes:label=a b", Hammer(loud=True, label="a b")),
        ("hammer:label=22:30", Hammer(label="22:30")),  # a `:` within a value
        ("hammer:place=none", Hammer(place=None)),
        ("hammer:place=/a/b", Hammer(place=Path("/a/b"))),
        ("screw:pitch_mm=0.5", Screw(0.5)),
        (f"{HERE}:Hammer:count=2", Hammer(count=2)),
        (" hammer : count = 2 ", Hammer(count=2)),
    ],
)
def test_options_are_read_as_their_types(text: str, made: Tool) -> None:
    assert TOOLS.make(text) == made


def test_defaults_hold_where_the_text_gives_nothing() -> None:
    assert TOOLS.make("hammer:count=2", count=5, weight_kg=3.0) == Hammer(3.0, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "hamer",
            "unknown tool 'hamer', did you mean 'hammer'? known: hammer, screw, or a class of your own as ",
        ),
        (
            "hammer:weight=1",
            "tool hammer has no option weight; it has weight_kg, count, handle, label, loud, place",
        ),
        ("hammer:count=2.5", "tool hammer: count is '2.5': "),
        ("hammer:count=", "tool hammer: count is '': "),
        ("hammer:count=none", "tool hammer: count is 'none': "),
        ("hammer:handle=gold", "handle is 'gold': input should be 'wood' or 'steel'"),
        ("hammer:count=1:count=2", "count is given twice"),
        ("screw", "'pitch_mm'"),
        (f"{HERE}:Blunt", "lacks use"),
        (f"{HERE}:HERE", "is no tool"),
        (f"{HERE}:Nothing", "has no tool Nothing; there are Hammer, Screw"),
        ("no.such.module:A", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("./gone.py", "there is no such file"),
        ("", "unknown tool ''"),
        (":", "unknown tool"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        TOOLS.make(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("thing", [3, None, int, object()])
def test_what_is_no_tool_is_refused(thing: object) -> None:
    with pytest.raises(InputError):
        TOOLS.make(thing)  # type: ignore[arg-type]


def test_defaults_that_are_wrong_or_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="has no option colour"):
        TOOLS.make("hammer", colour="red")
    with pytest.raises(InputError, match="count is 'many'"):
        TOOLS.make("hammer", count="many")
    with pytest.raises(InputError, match="handle is 'gold'"):
        TOOLS.check("hammer", {"handle": "gold"})
    TOOLS.check("hammer", {"handle": "steel", "count": 2})


FILE = f"""
import beside
from dataclasses import dataclass
from {HERE} import Tool, Hammer

@dataclass(frozen=True)
class Saw(Tool):
    teeth: int = beside.TEETH

    def use(self):
        return "zzz"
"""


def test_a_file_is_loaded_once_with_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])
    (tmp_path / "saw.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("TEETH = 40\n")
    made = TOOLS.make(f"{tmp_path}/saw.py")
    assert getattr(made, "teeth") == 40  # noqa: B009  a class that no type checker knows
    assert type(TOOLS.make(f"{tmp_path}/saw.py:Saw:teeth=9")) is type(made)
    assert str(tmp_path) not in sys.path
    sys.modules.pop("beside", None)


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    made = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "saw.py"
        path.write_text(FILE.replace("import beside\n", "").replace("beside.TEETH", str(len(made))))
        made.append(TOOLS.make(str(path)))
    assert [getattr(one, "teeth") for one in made] == [0, 1]  # noqa: B009


def test_an_entry_point_is_found_and_hddnns_own_name_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = FILE.replace("import beside\n", "").replace("beside.TEETH", "8")
    installed(
        tmp_path, code, "hddnn.tests.other", saw="my_site:Saw", hammer="my_site:Saw", gone="my_site:Gone"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tools: Extensions[Tool] = Extensions(
        "tool",
        "hddnn.tests.other",
        Tool,  # type: ignore[type-abstract]
        {"hammer": f"{HERE}:Hammer"},
    )
    assert list(tools) == ["hammer", "gone", "saw"]
    assert tools.make("saw:teeth=3").use() == "zzz"
    assert tools.make("hammer") == Hammer()
    with pytest.raises(InputError, match=r"tool gone \(my_site:Gone\) cannot be loaded: AttributeError"):
        tools.make("gone")
    sys.modules.pop("my_site", None)


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@given(
    st.builds(
        Hammer,
        st.floats(-1e6, 1e6),
        st.integers(-9, 9),
        st.sampled_from(["wood", "steel"]),
        st.none() | words.filter(lambda word: word.lower() != "none"),
        st.booleans(),
        st.none()
        | st.builds(lambda a, b: Path(a) / b, words, words).filter(lambda p: str(p).lower() != "none"),
    )
)
def test_what_is_written_is_read_back(made: Hammer) -> None:
    text = written("hammer", made)
    assert TOOLS.make(text) == made
    assert split_options(text)[0] == "hammer"
    assert set(options_of(made)) == set(split_options(text)[1])


@given(st.text(max_size=40))
def test_no_text_does_anything_but_make_or_refuse(text: str) -> None:
    try:
        TOOLS.make(text)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
