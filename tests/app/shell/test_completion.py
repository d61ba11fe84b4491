"""`tapetum completion`: in a real bash, verbs, recipes, options and choices are completed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = (
        "import sys; from tapetum.app.shell.main import main; code = main(['completion', 'bash']);"
        "sys.exit(code or [name for name in ('torch', 'numpy', 'av') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path_factory.mktemp("bash") / "tapetum"
    path.write_text(done.stdout)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tapetum tra", {"track", "train"}),
        ("tapetum train tap", {"tap-nano", "tap-kubric"}),
        ("tapetum train tap-nano --save", {"--save-every"}),
        ("tapetum eval tapvid --mode ", {"first", "strided"}),
        ("tapetum track a.mp4 --gr", {"--grid"}),
    ],
)
def test_bash_completes(bash: Path, words: str, wanted: set[str]) -> None:
    script = (
        f"source {bash}; COMP_WORDS=({words}{' ' + repr('') if words.endswith(' ') else ''});"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); f=$(complete -p tapetum | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        '$f; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert wanted <= {word.strip() for word in done.stdout.split("\n")}, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(run: Run, shell: str) -> None:
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert "causal-tap-nano" in out
    assert ("#compdef tapetum" if shell == "zsh" else "function _tyro_tapetum") in out


def test_a_shell_that_there_is_not(run: Run) -> None:
    code, out, err = run("completion", "dosh")
    assert (code, out) == (2, "")
    assert "bash" in err
