"""JSON and YAML: the same documents, safe to show at a terminal."""

from __future__ import annotations

import json
from typing import Any

import yaml

from clusterctl.render.text import printable_json
from clusterd.escape import is_plain


def as_json(document: Any) -> str:
    """Return a document as indented JSON."""
    return printable_json(json.dumps(document, indent=2, ensure_ascii=False))


def as_json_line(document: Any) -> str:
    """Return a document as JSON on one line."""
    return printable_json(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def as_yaml(document: Any) -> str:
    """Return a document as YAML."""
    text = _dump(document, unicode=True)
    if not is_plain(text.replace("\n", "")):
        text = _dump(document, unicode=False)
    return text.rstrip("\n")


def _dump(document: Any, *, unicode: bool) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=unicode, width=1000)
    return text
