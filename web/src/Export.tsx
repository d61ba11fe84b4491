/** Tracks as files for other programs. */
import { useState } from "preact/hooks";
import { cancel, isBusy, isFailed } from "./actions";
import { download, post } from "./api";
import { useCell } from "./cell";
import { JobProgress } from "./JobPanel";
import { finished } from "./look";
import * as state from "./state";
import type { Job } from "./types";

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
  ["nuke", "Nuke"],
  ["aftereffects", "After Effects"],
  ["blender", "Blender"],
  ["cvat", "CVAT"],
  ["mp4", "Video with tracks (mp4)"],
  ["gif", "Animation (gif)"],
];
/** What a job draws, frame by frame. */
const DRAWN = new Set(["mp4", "gif"]);

export function Export() {
  const item = useCell(state.item);
  const project = useCell(state.project);
  const missing = useCell(state.app)?.exports ?? {};
  const above = useCell(state.above);
  const tracked = project?.tracked_revision != null && project.points.length > 0;
  const [busy, setBusy] = useState("");
  const [format, setFormat] = useState(FORMATS[0][0]);
  const [job, setJob] = useState<Job | null>(null);
  if (!item || !tracked) return null;
  const save = async () => {
    setBusy("Writing the file");
    const stem = item.name.replace(/\.[^.]*$/, "");
    const done = await state.attempt(async () => {
      const from = DRAWN.has(format) ? await draw(item.id) : state.path(item.id, `export?format=${format}${above === null ? "" : `&visible_above=${above}`}`);
      if (from) await download(from, `${stem}.${format}`);
      return Boolean(from);
    });
    setJob(null);
    setBusy(done ? "Saved." : "");
  };
  /** Wait until a film is drawn; the address of it, or nothing where that was cancelled. */
  const draw = async (id: string): Promise<string | null> => {
    const begun = await post<Job>(state.path(id, "jobs"), {
      kind: "export",
      format,
      ...(above !== null && { visible_above: above }),
    });
    const end = await finished(begun.id, setJob);
    if (isFailed(end)) throw new Error(end.message || "The film was not drawn.");
    return end.state === "done" ? `/api/jobs/${encodeURIComponent(end.id)}/file` : null;
  };
  return (
    <section class="panel" aria-label="Export">
      <h2>Export</h2>
      <div class="row">
        <select aria-label="Format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
          {FORMATS.map(([value, name]) => (
            <option key={value} value={value} disabled={value in missing}>
              {value in missing ? `${name} (not installed)` : name}
            </option>
          ))}
        </select>
        <button type="button" class="export" disabled={busy === "Writing the file"} onClick={save}>
          Save
        </button>
        {job && isBusy(job) && (
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        )}
      </div>
      {job && isBusy(job) && <JobProgress job={job} />}
      <p class="soft small" role="status">
        {busy}
      </p>
      {FORMATS.map(
        ([value]) =>
          missing[value] && (
            <p key={value} class="soft small">
              {missing[value]}
            </p>
          ),
      )}
    </section>
  );
}
