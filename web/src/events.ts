/** Live updates: what other tabs and jobs change is shown here too. */
import { isBusy } from "./actions";
import { ApiError, get } from "./api";
import { changeItems } from "./list";
import {
  app,
  attempt,
  connected,
  fail,
  item,
  jobs,
  loadApp,
  loadProject,
  noteJob,
  noteTracker,
  project,
  refreshTracks,
} from "./state";
import type { ItemChange, Job } from "./types";

const LONGEST_WAIT = 15_000;

/** Hear of changes from now on; `ready` is called once, when nothing is missed any more, or there is no connection. */
export function listen(ready: () => void): void {
  let wait = 500;
  let lost = false;
  const connect = () => {
    const source = new EventSource("/api/events");
    source.onopen = () => {
      wait = 500;
      connected.value = true;
      if (lost) void attempt(loadApp).then(() => attempt(loadProject)); // what happened in between
      lost = false;
      ready();
    };
    source.onmessage = (event) => hear(event.data);
    for (const name of ["job", "project"]) source.addEventListener(name, (event) => hear((event as MessageEvent).data));
    source.onerror = () => {
      source.close();
      lost = true;
      ready();
      connected.value = false;
      void get("/api/state").catch((error) => {
        if (error instanceof ApiError && error.status === 403) fail(error); // a new server, which has another token
      });
      setTimeout(connect, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    };
  };
  connect();
}

function hear(text: string): void {
  let content: { job?: Job; project?: { item: string; revision: number }; items?: ItemChange; tracker?: string };
  try {
    content = JSON.parse(text);
  } catch {
    return;
  }
  if (content.items) hearItems(content.items);
  if (content.tracker && content.tracker !== app.value?.models.track) noteTracker(content.tracker);
  if (content.project && content.project.item === item.value?.id && content.project.revision !== project.value?.revision) {
    void attempt(loadProject);
  }
  if (content.job) hearJob(content.job);
}

function hearItems(change: ItemChange): void {
  const id = item.value?.id;
  const now = change.changed.find((each) => each.id === id);
  if (now || change.gone.some((each) => each === id)) item.value = now ?? null;
  changeItems(change);
}

function hearJob(job: Job): void {
  const known = jobs.value.has(job.id);
  noteJob(job);
  const ours = project.value?.job?.id === job.id;
  if (ours && job.kind === "track") {
    if (isBusy(job)) refreshTracks(250);
    else void attempt(loadProject).then(() => refreshTracks());
  } else if (job.kind === "track" && (job.item === item.value?.id || !known)) {
    void attempt(loadProject); // another tab began it
  }
}
