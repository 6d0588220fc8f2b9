"""Prepared statements know what they touch."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import re

from interlock.journal import Prepared, tables

ROOMS = ("journal", "gate", "identity", "engine", "dispatch", "home")


def test_every_statement_names_the_tables_that_its_text_names() -> None:
    for room in ROOMS:
        package = importlib.import_module(f"interlock.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" not in found.name:
                importlib.import_module(found.name)
    statements = [each for each in gc.get_objects() if isinstance(each, Prepared)]
    assert len(statements) > 100
    for each in statements:
        text = " ".join(str(each.statement).split())
        named = {
            name
            for name in tables.metadata.tables
            if re.search(rf"(?:FROM|JOIN|INTO|UPDATE|,) {name}\b", text)
        }
        assert each.tables == named, text
