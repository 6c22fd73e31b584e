"""The session for those who have no event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from hddnn.engines.dask.client.loop_thread import LoopThread
from hddnn.serving.replies import Health, Reply
from hddnn.serving.session import AsyncSession
from hddnn.system.topology import Topology


class Session:
    """AsyncSession with calls that wait.

    Args:
        topology: An object, a packaged name or a file.
        **options: Those of `AsyncSession`.

    Raises:
        HddnnError: What AsyncSession raises.

    Example:
        >>> from hddnn import load_dataset
        >>> with Session("laptop") as session:
        ...     replies = list(session.classify(load_dataset("sample").images[:3]))
        >>> sorted({(reply.image, reply.stage) for reply in replies})[:2]
        [(0, 'coarse'), (0, 'fine')]
    """

    def __init__(self, topology: Topology | str, **options: Any) -> None:
        self._session = AsyncSession(topology, **options)
        self.topology, self.image_shape = self._session.topology, self._session.image_shape

    def __enter__(self) -> Self:
        self._thread = LoopThread.opened("hddnn-session", self._session.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.finish(self._session.__aexit__(kind, error, trace))

    @property
    def pids(self) -> dict[str, int]:
        """Return the process of each device that was started here, and of the scheduler, by name."""
        return self._session.pids

    def classify(self, images: np.ndarray, *, deadline_s: float | None = None) -> Iterator[Reply]:
        """Yield the replies to some images as they come.

        Args:
            images: uint8 of shape (N, *image_shape).
            deadline_s: From the call, s; None: the session's.

        Returns:
            The replies, as those of `AsyncSession.classify`.
        """

        async def begin() -> AsyncGenerator[Reply]:
            return self._session.classify(images, deadline_s=deadline_s)

        return self._replies(self._thread.call(begin()))

    def health(self) -> Health:
        """Return which devices are live, and how many images are under way."""

        async def ask() -> Health:
            return self._session.health()

        return self._thread.call(ask())

    def _replies(self, replies: AsyncGenerator[Reply]) -> Iterator[Reply]:
        async def following() -> Reply | None:
            return await anext(replies, None)

        try:
            while (reply := self._thread.call(following())) is not None:
                yield reply
        finally:
            self._thread.call(replies.aclose())
