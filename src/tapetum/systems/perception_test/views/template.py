"""Pages of one file: a template with marks, filled in one pass so that nothing that is put in is looked at again."""

import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tapetum.core.files import whole_file, write_text

_MARK = re.compile(r"<!--(\w+)-->|/\*(\w+)\*/")


def write_filled(path: Path, template: str, parts: Mapping[str, str]) -> Path:
    """Write a template of this folder with its marks <!--name--> and /*name*/ filled; whole or not at all."""
    text = files("tapetum.systems.perception_test.views").joinpath(template).read_text("utf-8")
    with whole_file(path) as temporary:
        write_text(temporary, _MARK.sub(lambda mark: parts[mark[1] or mark[2]], text))
    return path


def resource(name: str) -> str:
    """Read a file of this folder."""
    return files("tapetum.systems.perception_test.views").joinpath(name).read_text("utf-8")


def embedded_json(value: Any) -> str:
    """Write JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def escaped(text: object) -> str:
    """Write text that may stand in an element or an attribute."""
    return html.escape(str(text), quote=True)
