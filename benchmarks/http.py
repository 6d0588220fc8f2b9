"""`POST /v1/actions` next to an empty POST, by the name that the documentation uses; see `http_load`.

    uv run python benchmarks/http.py [--json] [--seconds 2] [--rounds 7] [--connections 32]

A script's folder comes first on Python's path. Whatever is run in this folder and imports `http` would
therefore get this file; it gets the standard library's package from it instead.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

if __name__ in ("__main__", "http"):
    found = PathFinder.find_spec("http", [sysconfig.get_path("stdlib")])
    assert found is not None
    assert found.loader is not None
    sys.modules["http"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules["http"])

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.http_load import main

    main()
