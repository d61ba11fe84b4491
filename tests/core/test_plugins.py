"""References to classes of the user's own."""

import sys
from pathlib import Path

import pytest

from tapetum.core.errors import BadInput
from tapetum.core.plugins import check_recorded, naming_own_code, record_of_class, resolve_class

CODE = "class MyNet:\n    width = 3\n\n\nclass Other:\n    pass\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / f"net_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(CODE)
    return path


def test_a_class_of_a_file_is_one_and_the_same(file: Path) -> None:
    found = resolve_class(f"{file}:MyNet", "encoder")
    assert found.width == 3
    assert resolve_class(f"{file}:MyNet", "encoder") is found
    assert resolve_class(f"{file.stem}:MyNet", "encoder") is found


def test_what_cannot_be_resolved_is_said(file: Path) -> None:
    for reference, message in (
        (f"{file}:Missing", "is no class; it has MyNet, Other"),
        (f"{file.parent}/nothing.py:MyNet", "there is no file nothing.py"),
        ("no_such_package.nets:MyNet", "there is no module no_such_package.nets"),
        ("rotation", "there is no encoder 'rotation'"),
    ):
        with pytest.raises(BadInput, match=message):
            resolve_class(reference, "encoder")
    (file.parent / "string.py").write_text(CODE)
    with pytest.raises(BadInput, match="name of another module"):
        resolve_class(f"{file.parent}/string.py:MyNet", "encoder")
    broken = file.with_name(f"broken_{file.name}")
    broken.write_text("import no_such_thing_at_all\n")
    with pytest.raises(BadInput, match="needs no_such_thing_at_all"):
        resolve_class(f"{broken}:MyNet", "encoder")
    broken.write_text("def (:\n")
    with pytest.raises(BadInput, match="SyntaxError, line 1"):
        resolve_class(f"{broken}:MyNet", "encoder")
    broken.write_text("import sys\n\nsys.exit(0)\n")
    with pytest.raises(BadInput, match="cannot be imported: SystemExit, line 3: 0; mend the file"):
        resolve_class(f"{broken}:MyNet", "encoder")


def test_own_code_is_named_and_ours_is_not(file: Path) -> None:
    file.write_text("class MyNet:\n    def run(self, error):\n        raise error\n")
    own = resolve_class(f"{file}:MyNet", "encoder")()
    for error, what in ((SystemExit(0), r"ended the program \(exit 0\)"), (OSError("no disk"), "OSError: no disk")):
        with pytest.raises(BadInput, match=rf"{file.name}:MyNet, line 3, in run: {what}; mend that code"), naming_own_code():
            own.run(error)
    with pytest.raises(BadInput, match=r"^as it is$"), naming_own_code():
        own.run(BadInput("as it is"))
    ours = resolve_class("tapetum.bench.davis:Davis", "benchmark")("davis")
    with pytest.raises(TypeError, match=r"^[^;]*$"), naming_own_code():  # a fault of tapetum is not the user's
        ours.items(None)


def test_an_entry_point_is_found_by_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = file.parent / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tapetum.encoders]\nmine = {file.stem}:MyNet\n")
    monkeypatch.syspath_prepend(str(file.parent))
    assert resolve_class("mine", "encoder").width == 3
    assert record_of_class("mine", "encoder")["reference"] == "mine"


def test_a_record_names_the_class_and_notices_a_change(file: Path) -> None:
    reference = f"{file}:MyNet"
    record = record_of_class(reference, "encoder")
    assert record["reference"] == f"{file.name}:MyNet"
    assert check_recorded(record, reference, "encoder", "a.safetensors") is None
    with pytest.raises(BadInput, match=r"not with .*Other"):
        check_recorded(record, f"{file}:Other", "encoder", "a.safetensors")
    file.write_text(CODE + "# more\n")
    assert "has changed since a.safetensors" in str(check_recorded(record, reference, "encoder", "a.safetensors"))
