/** A turning view of the tracks: in space where they have depth, else over time. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { cancel, isBusy, isFailed } from "./actions";
import { useCell, watchAll } from "./cell";
import { type Angles, drawSpace } from "./drawSpace";
import { Export, SPACE_FORMATS } from "./Export";
import { JobProgress } from "./JobPanel";
import { finished } from "./look";
import { computeSpace, describeDepth, inSpace, loadSpace, overTime, placedCount, space, spaceJob } from "./space";
import * as state from "./state";
import { scheme } from "./theme";
import { Transport } from "./TrackTab";

const START: Angles = { turn: -0.6, tilt: 0.35, zoom: 1 };
const KEYS: Record<string, [number, number] | undefined> = {
  ArrowLeft: [-0.1, 0],
  ArrowRight: [0.1, 0],
  ArrowUp: [0, -0.1],
  ArrowDown: [0, 0.1],
};

export function SpaceTab() {
  const item = useCell(state.item);
  const project = useCell(state.project);
  const points = project?.points ?? [];
  const ref = useRef<HTMLCanvasElement>(null);
  const angles = useRef<Angles>({ ...START });
  const soon = useRef(() => {});
  const ready = points.length > 0 && project?.tracked_revision != null;
  const now = useCell(space);
  const [flat, setFlat] = useState(false);
  const placed = placedCount(now);
  const deep = placed > 0 && !flat;
  const view = useMemo(() => (deep && now ? inSpace(now) : null), [deep, now]);
  useEffect(() => {
    space.value = null;
    spaceJob.value = null;
    setFlat(false);
  }, [item?.id]);
  useEffect(() => {
    if (ready) void state.attempt(loadSpace);
  }, [item?.id, ready, project?.revision]);
  useEffect(() => {
    const canvas = ref.current;
    if (!canvas) return;
    let waiting = 0;
    soon.current = () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        if (state.item.value) drawSpace(canvas, angles.current, view ?? overTime());
      });
    };
    const sizes = new ResizeObserver(() => soon.current());
    sizes.observe(canvas);
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY * 0.002));
    };
    canvas.addEventListener("wheel", wheel, { passive: false });
    const watched = [state.frame, state.project, state.tracks, state.selected, scheme];
    const end = watchAll(watched, () => soon.current());
    soon.current();
    return () => {
      sizes.disconnect();
      end();
    };
  }, [ready, item, view]);
  const turnBy = (turn: number, tilt: number) => {
    const now = angles.current;
    angles.current = { ...now, turn: now.turn + turn, tilt: Math.max(-1.5, Math.min(1.5, now.tilt + tilt)) };
    soon.current();
  };
  const zoomBy = (factor: number) => {
    angles.current.zoom = Math.max(0.3, Math.min(8, angles.current.zoom * factor));
    soon.current();
  };
  const press = (event: KeyboardEvent) => {
    const way = KEYS[event.key];
    if (way) turnBy(...way);
    else if (event.key === "+" || event.key === "=") zoomBy(1.2);
    else if (event.key === "-") zoomBy(1 / 1.2);
    else return;
    event.preventDefault();
  };
  const reset = () => {
    angles.current = { ...START };
    soon.current();
  };

  if (!item) return <p class="empty">Choose a video on the left.</p>;
  if (!ready) return <p class="empty">There are no tracks yet; put points on the Track tab and track them.</p>;
  return (
    <section class="centre" aria-label="Tracks in space">
      <p class="note">
        {deep
          ? describeDepth(now!.about!)
          : "Over time: the first frame on the left, as these tracks have no depth here. Compute depth to see them in space."}
        {deep && placed < points.length && ` ${points.length - placed} of ${points.length} points changed since: compute again.`}
      </p>
      <Depth flat={flat} setFlat={setFlat} placed={placed} />
      {placed > 0 && <Export formats={SPACE_FORMATS} name="Export in 3D" />}
      <div class="stage">
        <canvas
          ref={ref}
          class="turning"
          tabIndex={0}
          role="application"
          aria-roledescription="turning view"
          aria-label={`Tracks of ${points.length} points ${deep ? "in space" : "over time"}; arrow keys turn the view, plus and minus zoom`}
          onKeyDown={press}
          onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
          onPointerMove={(event) => event.buttons === 1 && turnBy(event.movementX * 0.008, event.movementY * 0.008)}
        />
      </div>
      <div class="bar">
        <button type="button" onClick={reset}>
          Reset view
        </button>
        <span class="soft">Drag or use the arrow keys to turn, the wheel or + and − to zoom</span>
      </div>
      <Transport />
    </section>
  );
}

/** Begins the job that computes depth, and chooses the view. */
function Depth({ flat, setFlat, placed }: { flat: boolean; setFlat: (flat: boolean) => void; placed: number }) {
  const now = useCell(space);
  const job = useCell(spaceJob);
  const tracked = useCell(state.project);
  const [source, setSource] = useState("");
  const busy = isBusy(job);
  const current = tracked?.tracked_revision === tracked?.revision;
  const chosen = source || (now?.depthFile ? "file" : "adjust");
  useEffect(() => {
    if (!job || !isBusy(job)) return;
    void state.attempt(async () => {
      await finished(job.id, (next) => {
        if (spaceJob.value?.id === next.id) spaceJob.value = next;
      });
      await loadSpace();
      setFlat(false);
    });
  }, [job?.id]);
  return (
    <>
      <div class="bar" role="toolbar" aria-label="Depth">
        {now?.depthFile && (
          <select aria-label="Source of depth" value={chosen} onChange={(event) => setSource(event.currentTarget.value)}>
            <option value="file">{`Depth from ${now.depthFile}`}</option>
            <option value="adjust">Depth from the tracks themselves</option>
          </select>
        )}
        <button type="button" class="primary" disabled={busy || !now || !current} onClick={() => computeSpace(chosen)}>
          {placed ? "Compute depth again" : "Compute depth"}
        </button>
        {busy && job && (
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        )}
        {placed > 0 && (
          <button type="button" aria-pressed={flat} onClick={() => setFlat(!flat)}>
            Over time
          </button>
        )}
        {!current && <span class="soft">Track the points first: some have changed.</span>}
      </div>
      {busy && job && <JobProgress job={job} />}
      <p class="soft small" role="status">
        {busy ? "Depth is being computed." : job && isFailed(job) ? `No depth: ${job.message}` : (now?.about?.notes ?? []).join("; ")}
      </p>
    </>
  );
}
