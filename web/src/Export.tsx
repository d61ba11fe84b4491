/** Tracks as files for other programs. */
import { useState } from "preact/hooks";
import { download } from "./api";
import { useCell } from "./cell";
import * as state from "./state";

const FORMATS: [string, string][] = [
  ["csv", "CSV table"],
  ["json", "JSON"],
  ["npz", "NumPy (npz)"],
  ["parquet", "Parquet"],
  ["deeplabcut", "DeepLabCut"],
  ["sleap", "SLEAP"],
  ["coco", "COCO keypoints"],
  ["napari", "napari"],
  ["tapvid", "TAP-Vid"],
  ["mp4", "Video with tracks (mp4)"],
  ["gif", "Animation (gif)"],
];

export function Export() {
  const item = useCell(state.item);
  const project = useCell(state.project);
  const tracked = project?.tracked_revision != null && project.points.length > 0;
  const [busy, setBusy] = useState("");
  const [format, setFormat] = useState("csv");
  if (!item || !tracked) return null;
  const save = async () => {
    setBusy("Writing the file");
    const stem = item.name.replace(/\.[^.]*$/, "");
    const done = await state.attempt(() =>
      download(state.path(item.id, `export?format=${format}`), `${stem}.${format}`).then(() => true),
    );
    setBusy(done ? "Saved." : "");
  };
  return (
    <section class="panel" aria-label="Export">
      <h2>Export</h2>
      <div class="row">
        <select aria-label="Format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
          {FORMATS.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
        <button type="button" class="export" disabled={busy === "Writing the file"} onClick={save}>
          Save
        </button>
      </div>
      <p class="soft small" role="status">
        {busy}
      </p>
    </section>
  );
}
