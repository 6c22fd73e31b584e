"""Run a bundle with torch's compiler (needs the extra `torch`, and a C++ compiler)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection

from hddnn.errors import InputError
from hddnn.runtimes.torch import Torch
from hddnn.zoo import Bundle

_COMPILERS = ("g++", "clang++")


class TorchCompiled(Torch):
    """What `Torch` runs, compiled when it is first called: half a minute or more of processor time a network.

    A batch of one and batches of any other size are compiled apart.

    Args:
        bundle: The network.
        threads: On the CPU, torch's thread count for the whole process.
        parts: What is to be loaded.
        device: As torch names it; None for CUDA where there is one, and else the CPU.

    Raises:
        InputError: There is no C++ compiler, or no such device.
        BundleError: The architecture has no torch definition, or the weights do not fit it.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        device: str | None = None,
    ) -> None:
        if not any(shutil.which(name) for name in (os.environ.get("CXX") or "", *_COMPILERS)):
            raise InputError(f"runtime torch-compiled needs a C++ compiler: install {_COMPILERS[0]}")
        super().__init__(bundle, threads=threads, parts=parts, device=device)
        # Freezing lets the compiler fold the weights' arithmetic, as the other runtimes do.
        options = {"freezing": True}
        compiled = self._torch.compile
        self._stem = self._stem and compiled(self._stem, dynamic=True, options=options)
        self._body = self._body and compiled(self._body, dynamic=True, options=options)
