"""Images of `Tracks3D`: an HTML page that orbits, a still PNG, a recording for the viewer of rerun.

All three show the world as the first frame's camera saw it (x right, y down, z forward), so that up is up to the person who
held the camera, whatever the axes of the world are. Where nobody knows the camera's poses, everything is shown in its own axes.
"""

from tapetum.systems.tapvid3d.views.page import write_html, write_rerun
from tapetum.systems.tapvid3d.views.still import still, write_still

__all__ = ["still", "write_html", "write_rerun", "write_still"]
