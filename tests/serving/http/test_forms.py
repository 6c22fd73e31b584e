"""Forms: what is cut short, goes on, or hides an image is refused; nothing that was sent is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fake_session import picture
from fastapi import HTTPException, Request
from hypothesis import given
from hypothesis import strategies as st

from hddnn.serving.http.forms import files_of

BOUNDARY = b"----a-Boundary7"
KIND = b"multipart/form-data; boundary=" + BOUNDARY
END = b"--" + BOUNDARY + b"--"


def part(data: bytes, *headers: str, name: str = 'name="images"; filename="x"') -> bytes:
    """Return one part of a form, with its boundary before it."""
    head = "\r\n".join((f"Content-Disposition: form-data; {name}", *headers))
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def files(body: bytes) -> list[bytes]:
    request = Request({"type": "http", "headers": [(b"content-type", KIND)]})
    return asyncio.run(files_of(request, body))


def refusal(body: bytes) -> str:
    with pytest.raises(HTTPException) as caught:
        files(body)
    assert caught.value.status_code == 422
    return str(caught.value.detail)


CONTENTS = st.lists(st.binary(max_size=60).filter(lambda data: BOUNDARY not in data), min_size=1, max_size=4)


@given(CONTENTS, st.data())
def test_a_form_is_taken_whole_or_not_at_all(contents: list[bytes], data: st.DataObject) -> None:
    body = b"".join(map(part, contents)) + END
    assert files(body + data.draw(st.sampled_from((b"", b"\r\n")))) == contents
    assert "the form" in refusal(body[: data.draw(st.integers(1, len(body) - 1))])


def test_a_form_may_be_cut_nowhere() -> None:
    parts = part(picture(10), "Content-Type: image/png"), part(b"text", name='name="note"'), part(picture(20))
    body = b"".join(parts) + END
    assert len(files(body)) == 2
    said = [refusal(body[:size]) for size in range(1, len(body))]
    first = (
        len(part(b"")) - 2
    )  # before there is one whole head of a part, the parser has its own words for some
    assert set(said[first:]) == {"the form ends before its last boundary"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (part(b"x"), "ends before its last boundary"),
        (part(b"x") + b"--" + BOUNDARY, "ends before its last boundary"),
        (part(b"x") + b"--" + BOUNDARY + b"\r\n", "ends before its last boundary"),
        (part(b"x") + END[:-1], "ends before its last boundary"),
        (part(b"x") + b"--" + BOUNDARY + b"x--", "ends before its last boundary"),
        (part(b"x")[:-2] + END, "ends before its last boundary"),
        (part(b"x") + END + b"\r\n" + part(b"y") + END, "goes on after its last boundary"),
        (part(b"x") + END + b"\r\n" + part(b"y"), "goes on after its last boundary"),
        (part(b"x") + END + b"\r\n\r\nan epilogue", "goes on after its last boundary"),
        (b"--" + BOUNDARY + b"\r\n", "ends before its last boundary"),
        (END, "holds no file"),
        (b"\r\n", "the form"),
        (b"only a preamble\r\n", "the form"),
        (b"\r\nonly-a-preamble\r\n", "the form"),
        (part(b"x").replace(BOUNDARY, b"another") + b"--another--", "the form"),
        (part(b"x", name='filename="x"') + END, '"name" must be provided'),
        (b"--" + BOUNDARY + b"\r\n\r\nx\r\n" + END, "the form"),
        (part(b"a") + part(picture(), name='name="images"') + END, "part 'images' is no text"),
        (part(b"a") + part(b"\0", "Content-Type: image/x-a", name='name="b"') + END, "part 'b' is no text"),
    ],
)
def test_a_wrong_form_says_why(body: bytes, why: str) -> None:
    assert why in refusal(body)


@pytest.mark.parametrize("name", ['filename="a;b\\".png"', "filename=x"])
def test_a_file_name_may_be_written_in_any_way(name: str) -> None:
    assert files(part(b"x", name=f'name="images"; {name}') + END) == [b"x"]


def test_the_service_refuses_a_form_that_is_cut(asked: Callable[..., httpx.Response]) -> None:
    body = part(picture(10)) + part(picture(20))
    headers = {"content-type": KIND.decode(), "accept": "application/json"}
    assert len(asked("POST", "/classify", content=body + END, headers=headers).json()["images"]) == 2
    cut = asked("POST", "/classify", content=body, headers=headers)
    assert (cut.status_code, cut.json()["detail"]) == (422, "the form ends before its last boundary")
