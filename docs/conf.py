"""Settings of the site: `make docs` builds it with Sphinx into build/site.

The reference is made from the docstrings of every public module, found by walking the package, so that it needs no list by
hand. Docstrings are plain text, not reStructuredText: `_plain` turns code, lists, doctests, tables and drawings into it.
"""

import importlib
import pkgutil
import re
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
REFERENCE = HERE / "reference"
sys.path.insert(0, str(HERE.parent / "src"))

project, author, copyright = "tapetum", "the tapetum authors", "the tapetum authors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme, html_title, html_show_sourcelink = "furo", "tapetum", False
html_static_path, html_css_files = ["_static"], ["wide.css"]
exclude_patterns = ["conf.py"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 4
suppress_warnings = ["ref.python"]  # a type in a signature of which two modules have one of that name

autodoc_typehints, autodoc_member_order, autodoc_preserve_defaults = "signature", "bysource", True
autodoc_default_options = {"members": True}
python_use_unqualified_type_names, python_maximum_signature_line_length, add_module_names = True, 88, False
toc_object_entries = False

_LISTED = re.compile(r"^(\s*)([-*]|\d+[.)])\s")


def _modules() -> list[tuple[str, bool]]:
    """Names of all public modules, and whether each is a package, in alphabetical order."""
    import tapetum

    found = [("tapetum", True)]
    for module in pkgutil.walk_packages(tapetum.__path__, "tapetum."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            found.append((module.name, module.ispkg))
    return sorted(found)


def _write_reference() -> None:
    """Write a page for each room (tapetum.systems.tap, ...) with all modules in it, and one of what lies beside the rooms."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    REFERENCE.mkdir()
    pages: dict[str, list[str]] = {}
    modules = _modules()
    for name, _ in modules:
        parts = name.split(".")
        room = parts[1] if len(parts) > 1 and (f"tapetum.{parts[1]}", True) in modules else "tapetum"
        pages.setdefault(room, []).append(name)
    for room, names in pages.items():
        lines = [f"{room}\n{'=' * len(room)}\n"]
        for name in names:
            module = importlib.import_module(name)  # a module that cannot be imported stops the build here, by name
            if name != f"tapetum.{room}":
                lines.append(f"{name}\n{'-' * len(name)}\n")
            lines.append(f".. automodule:: {name}\n   :ignore-module-all:\n")
            lines += _given(module)
        (REFERENCE / f"{room}.rst").write_text("\n".join(lines))
    listed = "\n".join(sorted(pages, key=lambda room: (room != "tapetum", room)))
    (REFERENCE / "index.md").write_text(
        f"# Reference\n\nEvery public module, from its docstrings.\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )


def _given(module: ModuleType) -> list[str]:
    """Return a line of links to what a package offers but defines in its modules."""
    links = []
    for name in getattr(module, "__all__", ()):
        home = getattr(getattr(module, name), "__module__", module.__name__)
        if home != module.__name__ and home.startswith("tapetum."):
            links.append(f":py:obj:`{name} <{home}.{name}>`")
    return [f"Also here: {', '.join(links)}.\n"] if links else []


def _plain(lines: list[str]) -> list[str]:
    """Turn a docstring's lines into reStructuredText that cannot fail."""
    blocks, out = _blocks(lines), []
    for kind, block in blocks:
        if kind == "literal":
            kind = "pycon" if block[0].lstrip().startswith(">>>") else "text"
            out += [f".. code-block:: {kind}", "", *("    " + line for line in block), ""]
        elif kind == "list":
            out += [*_list(block), ""]
        else:
            out += [_inline(" ".join(line.strip() for line in block)), ""]
    return out


def _blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Cut a docstring into paragraphs, lists, and what must stay as it is: drawings, tables, doctests."""
    groups: list[list[str]] = []
    for line in lines:
        if not line.strip():
            groups.append([])
        else:
            groups[-1:] = [[*groups[-1], line]] if groups else [[line]]
    out: list[tuple[str, list[str]]] = []
    for group in filter(None, groups):
        first = group[0]
        if _LISTED.match(first) and not first.startswith("    "):
            kind = "list"
        elif first.startswith("  ") or first.lstrip().startswith((">>>", "|")) or any("  " in line.strip() for line in group):
            kind = "literal"
        else:
            kind = "text"
        if kind == "literal" and out and out[-1][0] == "literal":
            out[-1] = ("literal", [*out[-1][1], "", *group])
        elif kind == "text" and any(map(_LISTED.match, group)):  # a list that follows its sentence without a blank line
            start = next(i for i, line in enumerate(group) if _LISTED.match(line))
            out += [("text", group[:start]), ("list", group[start:])]
        else:
            out.append((kind, group))
    return out


def _list(lines: list[str]) -> list[str]:
    items: list[str] = []
    for line in lines:
        if _LISTED.match(line):
            items.append(_LISTED.sub("", line).strip())
        else:
            items[-1] += " " + line.strip()
    return ["* " + _inline(item) for item in items]


def _inline(text: str) -> str:
    """Escape what reStructuredText would read as markup, except `code`."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        f"``{part[1:-1].strip()}``" + ("\\ " if k + 1 < len(parts) and re.match(r"\w", parts[k + 1]) else "")
        if k % 2
        else re.sub(r"([\\*_|`])", r"\\\1", part)
        for k, part in enumerate(parts)
    )


def _on_docstring(app, what, name, obj, options, lines):
    lines[:] = _plain(lines)


def setup(app):
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    app.connect("autodoc-process-docstring", _on_docstring)
    app.connect("builder-inited", lambda app: _write_reference())
