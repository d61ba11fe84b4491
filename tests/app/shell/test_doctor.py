"""`tapetum doctor`: versions, devices and extras of this machine."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from tapetum.app.shell.doctor import EXTRAS
from tapetum.core.devices import choose_dtype

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[3]


def test_a_machine_is_described(run: Run) -> None:
    code, out, err = run("doctor", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["devices"][0]["name"] == "cpu"
    assert told["processor"]["linear"] in ("onednn", "torch")
    assert told["processor"]["dtype"] == choose_dtype("auto")
    assert [extra["name"] for extra in told["extras"]] == list(EXTRAS)
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    for extra in told["extras"]:
        assert extra["here"] == (None not in extra["packages"].values())
        assert re.search(rf"\n  {extra['name']} +{'here' if extra['here'] else 'missing'} ", out)


def test_extras_are_those_of_the_package() -> None:
    published = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for_users = {name: packages for name, packages in published.items() if name not in ("dev", "docs")}
    plain = {
        name: tuple(re.split(r"[<>=]", package)[0] for package in packages if "[" not in package)
        for name, packages in for_users.items()
    }
    assert {name: packages for name, (packages, _) in EXTRAS.items()} == plain
