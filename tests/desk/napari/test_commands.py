"""The plugin of napari: its manifest names what there is, and layers of napari become tracks and come back corrected."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tapetum.desk.napari.layers import KEY

ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "src" / "tapetum" / "desk" / "napari" / "napari.yaml"


def test_the_manifest_names_functions_that_are_there() -> None:
    text = MANIFEST.read_text()
    names = re.findall(r"python_name: (\S+):(\S+)", text)
    assert len(names) == 2
    for module, function in names:
        assert callable(getattr(import_module(module), function))
    assert set(re.findall(r"- command: (\S+)", text)) == set(re.findall(r"- id: (\S+)", text))
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["napari.manifest"]
    package, file = entry["tapetum"].split(":")
    assert Path(import_module(package).__path__[0]) / file == MANIFEST


@pytest.mark.slow
def test_points_become_tracks_and_come_back_corrected() -> None:
    pytest.importorskip("napari", reason="napari is not installed")
    from napari.components import ViewerModel

    from tapetum.core.errors import BadInput
    from tapetum.desk.napari.commands import correct_tracks, track_points
    from tapetum.tracks.facets import SceneConfig, make_clip

    viewer = ViewerModel()
    frames = np.asarray(make_clip(3, SceneConfig(size=(64, 96), frames=6), points=4).video)
    image = viewer.add_image(frames, rgb=True, scale=(1, 2, 2))
    points = viewer.add_points([[0, 40, 60], [2, 50.5, 80]], name="clicks", ndim=3)  # in units of the world: two a pixel
    for made in track_points(image, points):
        viewer._add_layer_from_data(*made)
    lines, places = viewer.layers["clicks tracked"], viewer.layers["clicks tracked: places"]
    before = lines.metadata[KEY]
    assert before.queries.tolist() == [[0, 30.5, 20.5], [2, 40.5, 25.75]]
    with pytest.raises(BadInput, match="no place was moved"):
        correct_tracks(image, lines, places)
    row = int(np.flatnonzero(places.features["point"] == 1)[0])
    data = places.data.copy()
    data[row, 1:] += 3
    places.data = data
    frame = int(data[row, 0])
    (_, about, _), (again, _, _) = correct_tracks(image, lines, places)
    after = about["metadata"][KEY]
    np.testing.assert_array_equal(after.xy[0], before.xy[0])
    np.testing.assert_allclose(after.xy[1, frame], before.xy[1, frame] + 3, atol=1e-4)
    assert after.clicked[1, frame]
    assert len(again) == int((after.visible | (np.arange(6) == after.queries[:, :1])).sum())
