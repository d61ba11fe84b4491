/** The tracking job: begun, watched, cancelled. */
import { cancel, isBusy, isFailed, track } from "./actions";
import { useEffect, useState } from "preact/hooks";
import { get, post } from "./api";
import { useCell } from "./cell";
import * as state from "./state";
import type { Job } from "./types";

export function JobPanel() {
  const project = useCell(state.project);
  const app = useCell(state.app);
  const job = project?.job ?? null;
  const busy = isBusy(job);
  const points = project?.points.length ?? 0;
  const image = useCell(state.item)?.kind === "image";
  const current = points > 0 && project?.tracked_revision === project?.revision;
  return (
    <section class="panel" aria-label="Tracking">
      <div class="row">
        <button
          type="button"
          class="primary"
          disabled={!points || busy || current || image}
          onClick={() => track()}
          aria-keyshortcuts="t"
        >
          {job?.state === "interrupted" && !current ? "Go on" : "Track"}
        </button>
        {busy && job && (
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        )}
      </div>
      {busy && job && <JobProgress job={job} />}
      <p class="soft" role="status" data-state={job?.state ?? "none"}>
        {image ? "Points are tracked through videos; this is an image." : describe(job, points, current)}
      </p>
      <TrackerChoice now={String(app?.models.track ?? "")} busy={busy} />
      {points > 0 && <Visibility />}
    </section>
  );
}

interface Tracker {
  name: string;
  about: string;
  missing: string | null;
}

/** What tracks: those that cannot be used say why when they are chosen. */
export function TrackerChoice({ now, busy }: { now: string; busy: boolean }) {
  const [list, setList] = useState<Tracker[]>([]);
  const [asked, setAsked] = useState<Tracker | null>(null);
  const read = () => state.attempt(async () => setList((await get<{ trackers: Tracker[] }>("/api/trackers")).trackers));
  useEffect(() => void read(), [now]);
  const choose = (name: string) => {
    const tracker = list.find((each) => each.name === name) ?? null;
    setAsked(tracker?.missing ? tracker : null);
    if (!tracker || tracker.missing || name === now) return;
    void state.attempt(async () => {
      await post("/api/trackers", { name });
      state.noteTracker(name);
    });
  };
  const shown = asked ?? list.find((each) => each.name === now);
  if (!list.length) return <p class="soft small">{now}</p>;
  return (
    <>
      <label class="choice">
        <span>Tracker</span>
        <select value={asked?.name ?? now} disabled={busy} onFocus={read} onChange={(event) => choose(event.currentTarget.value)}>
          {list.map((each) => (
            <option key={each.name} value={each.name}>
              {each.missing ? `${each.name} (not here)` : each.name}
            </option>
          ))}
        </select>
      </label>
      <p class="soft small">{asked ? `${asked.missing}; ${now} tracks meanwhile.` : shown?.about}</p>
    </>
  );
}

/** The least chance of being right with which a point is drawn, and exported, as visible. */
function Visibility() {
  const above = useCell(state.above);
  return (
    <div class="choice visibility">
      <label for="above">Visible above</label>
      <input
        id="above"
        type="range"
        min={0}
        max={1}
        step={0.05}
        value={above ?? 0.5}
        aria-valuetext={above === null ? "as the tracker says" : `a chance of ${above.toFixed(2)}`}
        onInput={(event) => (state.above.value = Number(event.currentTarget.value))}
      />
      <span class="number">{above === null ? "auto" : above.toFixed(2)}</span>
      {above !== null && (
        <button type="button" class="quiet" onClick={() => (state.above.value = null)}>
          Reset
        </button>
      )}
    </div>
  );
}

function describe(job: Job | null, points: number, current: boolean): string {
  if (!points) return "No points yet: click on the frame.";
  if (job?.state === "waiting") return "It begins as soon as its models are loaded and no earlier job is in the way.";
  if (job?.state === "running") return "Tracking.";
  if (current) return "All points are tracked.";
  if (job && isFailed(job)) return `Tracking ${job.state}: ${job.message}`;
  if (job?.state === "cancelled") return "Cancelled; what was computed is kept.";
  return "There are changes that are not tracked yet.";
}

/** A bar with the share done and the time left; screen readers read the bar when asked, not at each step. */
export function JobProgress({ job }: { job: Job }) {
  const known = job.total > 0;
  const left = job.seconds_left;
  return (
    <div class="progress">
      <progress max={known ? job.total : undefined} value={known ? job.done : undefined} aria-label="Progress" />
      <span>
        {known ? `${Math.round((100 * job.done) / job.total)} %, ` : ""}
        {left !== null && left !== undefined && job.state === "running" ? `about ${formatLeft(left)} left` : ""}
        {job.message ? ` ${job.message}` : ""}
      </span>
    </div>
  );
}

export function formatLeft(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
