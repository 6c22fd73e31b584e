"""Forms: the files in one, or what is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser


class _Form(MultiPartParser):
    spool_max_size = 0  # no image is written to disk: 0 is without limit, and bodies have one

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.headers, self._pieces(body))
        self._ended = False

    def on_end(self) -> None:
        self._ended = True

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None and not _is_text(bytes(part.data)):
            raise HTTPException(
                422, f"the form's part '{part.field_name}' is no text: give each image a file name"
            )
        super().on_part_end()

    async def _pieces(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the body, and see that it ends with its last boundary: what comes later would be passed over."""
        whole = body.rstrip(b"\r\n")
        yield whole[:-1]
        if self._ended:
            raise HTTPException(422, "the form goes on after its last boundary")
        yield whole[-1:]
        if not self._ended:
            raise HTTPException(422, "the form ends before its last boundary")


async def files_of(request: Request, body: bytes) -> list[bytes]:
    """Return the files of a form, in order; fields that are text are passed over. Raises HTTPException."""
    try:
        form = await _Form(request, body).parse()
    except MultiPartException as fault:
        raise HTTPException(422, f"the form cannot be read: {fault.message}") from None
    files = [await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)]
    await form.close()
    if not files:
        raise HTTPException(422, "the form holds no file: give each image a file name")
    return files


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False
