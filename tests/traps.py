"""A folder where modules of the user's have the names of others: whoever imports one there leaves its name."""

from __future__ import annotations

from pathlib import Path

#: Of Python's own, and of what hddnn needs or may use.
STDLIB = (
    *("queue", "random", "pickle", "runpy", "socket", "signal", "selectors", "tempfile", "json", "traceback"),
    *("hashlib", "statistics", "multiprocessing", "select", "shutil", "logging", "csv", "secrets", "uuid"),
    *("sitecustomize", "usercustomize"),
)
OTHERS = (
    *(
        "numpy",
        "dask",
        "distributed",
        "click",
        "tornado",
        "yaml",
        "rich",
        "psutil",
        "openvino",
        "onnx",
        "torch",
    ),
    *("zict", "msgpack", "cloudpickle", "bokeh", "pydantic", "PIL", "uvloop", "lz4"),
)
#: Those that `python -m hddnn` does not have to import before hddnn is there, to leave the current folder aside.
LATER = ("queue", "random", *OTHERS)


def lay(folder: Path, names: tuple[str, ...] = (*STDLIB, *OTHERS, "hddnn")) -> None:
    """Write the modules."""
    for name in names:
        sprung_by = folder / f"{name}.was-run"
        (folder / f"{name}.py").write_text(
            f"open({str(sprung_by)!r}, 'w').close()\nraise RuntimeError('mine')\n"
        )


def sprung(folder: Path) -> list[str]:
    """Return the names of those that were run."""
    return sorted(path.stem for path in folder.glob("*.was-run"))
