/** Points put and corrected by hand, tracked through the video. */
import { edit, redo, undo } from "./actions";
import { useCell } from "./cell";
import { Check } from "./Check";
import { Export } from "./Export";
import { formatTime } from "./Items";
import { JobPanel } from "./JobPanel";
import { MaskTool } from "./MaskTool";
import { Points } from "./Points";
import * as state from "./state";
import { Timeline } from "./Timeline";
import { Viewer } from "./Viewer";
import { Words } from "./Words";

export function TrackTab() {
  const item = useCell(state.item);
  if (!item) return <p class="empty">Choose a video on the left, or drop one there.</p>;
  return (
    <>
      <section class="centre" aria-label="Frame">
        <Tools />
        <Words />
        <MaskTool />
        <Viewer overlay="tracks" />
        <Transport />
        <Timeline />
      </section>
      <aside class="side" aria-label="Points and tracking">
        <JobPanel />
        <Points />
        <Check />
        <Export />
      </aside>
    </>
  );
}

function Tools() {
  const tool = useCell(state.tool);
  const project = useCell(state.project);
  const at = useCell(state.crosshair);
  return (
    <div class="bar" role="toolbar" aria-label="Tools">
      <button type="button" aria-pressed={tool === "point"} onClick={() => (state.tool.value = "point")}>
        Point
      </button>
      <button type="button" aria-pressed={tool === "grid"} aria-keyshortcuts="g" onClick={() => (state.tool.value = "grid")}>
        Grid
      </button>
      <button type="button" aria-pressed={tool === "words"} aria-keyshortcuts="w" onClick={() => (state.tool.value = "words")}>
        Words
      </button>
      <button type="button" aria-pressed={tool === "mask"} aria-keyshortcuts="s" onClick={() => (state.tool.value = "mask")}>
        Mask
      </button>
      {tool === "grid" && (
        <button type="button" onClick={() => (state.gridBox.value = "whole")}>
          Whole frame
        </button>
      )}
      <span class="gap" />
      <button type="button" disabled={!project?.undo} onClick={() => undo()} aria-keyshortcuts="Control+Z">
        Undo
      </button>
      <button type="button" disabled={!project?.redo} onClick={() => redo()} aria-keyshortcuts="Control+Shift+Z">
        Redo
      </button>
      <button type="button" disabled={!project?.points.length} onClick={() => edit({ type: "clear" })}>
        Clear
      </button>
      <span class="soft hint" role="status">
        {at
          ? `Cross at ${at.x.toFixed(1)}, ${at.y.toFixed(1)}; Enter puts a point`
          : tool === "grid"
            ? "Draw a box for the grid"
            : tool === "mask"
              ? "Click on an object, or draw a box around it; Shift-click beside it"
              : "Click to add a point, drag one to correct it"}
      </span>
    </div>
  );
}

export function Transport() {
  const item = useCell(state.item)!;
  const frame = useCell(state.frame);
  const playing = useCell(state.playing);
  const time = formatTime(frame / (item.fps || 25));
  if (item.frames < 2) return null;
  return (
    <div class="transport">
      <button type="button" class="play" onClick={state.togglePlay} aria-keyshortcuts="Space">
        {playing ? "Pause" : "Play"}
      </button>
      <input
        type="range"
        min={0}
        max={item.frames - 1}
        value={frame}
        aria-label="Frame"
        aria-valuetext={`frame ${frame} of ${item.frames}, ${time}`}
        onInput={(event) => state.seek(Number(event.currentTarget.value))}
      />
      <span class="time">{`${frame} / ${item.frames - 1}  ${time}`}</span>
    </div>
  );
}
