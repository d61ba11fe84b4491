"""Pages of one file: what is put in is text, and the policy names the very script that is in the page."""

import base64
import hashlib
import json
from html import escape
from pathlib import Path

from tapetum.core.files import content_security_policy, embedded_json, filled

NASTY = "</script><script>alert('\u2028')//<!--script-->/*script*/\"&"


def test_what_is_embedded_ends_no_script_and_comes_back() -> None:
    text = embedded_json({"name": NASTY})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": NASTY}


def test_marks_in_what_is_put_in_are_left_alone(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pages_package").mkdir()
    (tmp_path / "pages_package" / "__init__.py").touch()
    (tmp_path / "pages_package" / "page.html").write_text("<title><!--title--></title><script>/*script*/</script>")
    monkeypatch.syspath_prepend(tmp_path)
    page = filled("pages_package", "page.html", {"title": escape(NASTY), "script": "run()"})
    assert page.endswith("<script>run()</script>")
    assert page.count("<script>") == 1
    assert escape(NASTY) in page


def test_the_policy_has_the_digest_of_the_script() -> None:
    digest = base64.b64encode(hashlib.sha256(b"run()").digest()).decode()
    policy = content_security_policy("p{}", "run()")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy
