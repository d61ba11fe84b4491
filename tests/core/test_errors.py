"""What is secret in addresses is in nothing that others see."""

import json
from collections.abc import Callable

import pytest

from tapetum.account.machine import without_paths
from tapetum.app.shell.output import print_json
from tapetum.core.errors import BadInput, TapetumError, hide_secrets, visible
from tapetum.desk.search.results import MomentMatch
from tapetum.video.live import LiveVideo

Run = Callable[..., tuple[int, str, str]]
ADDRESSES = [
    "rtsp://ann:SECRET@127.0.0.1:9/front",
    "rtsp://ann:SECRET@at@127.0.0.1:9/front",
    "http://SECRET@127.0.0.1:9/a.mp4",
    "https://a.org/b.mp4?token=SECRET",
    "https://a.org/b.mp4?part=1&X-Amz-Credential=SECRET%2F2&X-Amz-Signature=SECRET",
    "https://a.org/b.mp4?sv=1&sig=SECRET&se=2",
    "https://a.org/b.mp4?Api_Key=SECRET#t=1",
    "s3://a/b?awsAccessKeyId=SECRET",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_are_hidden_wherever_an_address_is_named(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"video": [address]})
    seen = [
        *(str(kind(f"cannot read {address}: 'no'")) for kind in (BadInput, TapetumError)),
        visible(f"'{address}' is gone"),
        str(without_paths({"command": f"track {address} --out=/a/b"})),
        MomentMatch(path=address, start_s=None, stop_s=None, cosine=0.5).path,
        capsys.readouterr().out,
    ]
    for text in seen:
        assert "SECRET" not in text
        assert address[:4] in text
    assert json.dumps(hide_secrets(address)) in seen[-1]


@pytest.mark.parametrize(
    "text", ["a@b.org", "https://a.org/@user/b", "s3://a/b.mp4?part=1&x=2", "clip@1:15.mp4", "http://[::1]:8/a", "a?token=1"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert hide_secrets(f"{text}, and more") == f"{text}, and more"


def test_a_camera_is_named_without_its_password(run: Run) -> None:
    with pytest.raises(BadInput, match=r"rtsp://\.\.\.@127\.0\.0\.1:9/front"):
        LiveVideo(ADDRESSES[0])
    code, out, err = run("track", ADDRESSES[0], "--online", "--model", "static")
    assert (code, out) == (2, "")
    assert "rtsp://...@127.0.0.1:9/front" in err
    assert "SECRET" not in err
