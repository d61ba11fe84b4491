/** The tracking job: begun, watched, cancelled. */
import { cancel, isBusy, isFailed, track } from "./actions";
import { useCell } from "./cell";
import * as state from "./state";
import { modelLine } from "./look";
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
      {points > 0 && <p class="soft small">{modelLine(app?.models.track)}</p>}
    </section>
  );
}

function describe(job: Job | null, points: number, current: boolean): string {
  if (!points) return "No points yet: click on the frame.";
  if (job?.state === "waiting") return "Waiting for another job to end.";
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
        {known ? `${Math.round((100 * job.done) / job.total)} %` : ""}
        {left !== null && left !== undefined && job.state === "running" ? `, ${formatLeft(left)} left` : ""}
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
