"""HTML pages in one file: a template with placeholders, filled in one pass, so that inserted text is not scanned again."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tapetum.core.files import whole_file, write_text

_MARK = re.compile(r"<!--(\w+)-->|/\*(\w+)\*/")


def filled(package: str, template: str, parts: Mapping[str, str]) -> str:
    """Fill the placeholders <!--name--> and /*name*/ of a template inside a package."""
    return _MARK.sub(lambda mark: parts[mark[1] or mark[2]], resource(package, template))


def write_filled(path: Path, package: str, template: str, parts: Mapping[str, str]) -> Path:
    """Write a filled template, whole or not at all. Raises BadInput if it cannot be written."""
    text = filled(package, template, parts)
    with whole_file(path) as temporary:
        write_text(temporary, text)
    return path


def resource(package: str, name: str) -> str:
    """Read a text file inside a package."""
    return files(package).joinpath(name).read_text("utf-8")


def content_security_policy(style: str, script: str) -> str:
    """Build a policy that lets a page run only this script, use this style and show images embedded in it.

    >>> content_security_policy("", "").split("; ")[0]
    "default-src 'none'"
    """

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = "default-src 'none'", "img-src data:", f"style-src {source(style)}", f"script-src {source(script)}"
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def embedded_json(value: Any) -> str:
    """Write JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def escaped(text: object) -> str:
    """Write text that is safe inside an element or an attribute."""
    return html.escape(str(text), quote=True)
