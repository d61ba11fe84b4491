/** The models of the server's machine and those that it can fetch, with size and licence. */
import { useEffect, useRef, useState } from "preact/hooks";
import { cancel, isBusy, isFailed } from "./actions";
import { get, post } from "./api";
import { useCell } from "./cell";
import { JobProgress } from "./JobPanel";
import { finished } from "./look";
import { forgetModels } from "./models";
import * as state from "./state";
import type { Job } from "./types";

interface Weights {
  name: string;
  tasks: string[];
  /** Tasks for which it suits this machine. */
  suits: string[];
  size: string;
  licence: string;
  memory_gb: number | null;
  score: string | null;
  state: "here" | "fetch" | "extra";
  /** What has to be done before it can be used. */
  needs: string;
}

export function ModelList() {
  const open = useCell(state.choosing);
  const dialog = useRef<HTMLDialogElement>(null);
  const [list, setList] = useState<Weights[] | null>(null);
  const [job, setJob] = useState<Job | null>(null);
  const [fetched, setFetched] = useState("");
  const busy = isBusy(job);
  const read = () =>
    state.attempt(async () => {
      const answer = await get<{ weights: Weights[]; job: Job | null }>("/api/weights");
      setList(answer.weights);
      if (isBusy(answer.job)) await follow(answer.job!);
    });
  const follow = async (begun: Job) => {
    const end = await finished(begun.id, setJob);
    forgetModels();
    setList((await get<{ weights: Weights[] }>("/api/weights")).weights);
    if (isFailed(end)) throw new Error(end.message || "It could not be fetched.");
  };
  const fetchIt = (name: string) => {
    setFetched(name);
    void state.attempt(async () => follow(await post<Job>("/api/weights", { name })));
  };
  useEffect(() => {
    if (!open) return dialog.current?.close();
    if (!dialog.current?.open) dialog.current?.showModal();
    void read();
  }, [open]);
  return (
    <dialog ref={dialog} class="models" onClose={() => (state.choosing.value = false)} aria-labelledby="models-title">
      <div class="dialog-head">
        <h2 id="models-title">Models</h2>
        <button type="button" onClick={() => (state.choosing.value = false)}>
          Close
        </button>
      </div>
      <p class="soft small">Nothing is fetched unless you ask. Scores are as their authors published them.</p>
      {busy && job && (
        <div class="row">
          <JobProgress job={job} />
          <button type="button" onClick={() => cancel(job)}>
            {fetched ? `Stop ${fetched}` : "Stop"}
          </button>
        </div>
      )}
      {job && isFailed(job) && <p role="alert">{job.message}</p>}
      <table>
        <thead>
          <tr>
            {["Name", "For", "Size", "Licence", "Memory", "Score", "State"].map((each) => (
              <th key={each} scope="col">
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {(list ?? []).map((each) => (
            <tr key={each.name}>
              <th scope="row">{each.name}</th>
              <td>{each.tasks.map((task) => (each.suits.includes(task) ? `${task} (suits)` : task)).join(", ")}</td>
              <td>{each.size}</td>
              <td>{each.licence}</td>
              <td>{each.memory_gb === null ? "" : `${each.memory_gb.toFixed(1)} GB`}</td>
              <td>{each.score ?? ""}</td>
              <td>
                {each.state === "here" && "here"}
                {each.state === "extra" && <span class="soft small">{each.needs}</span>}
                {each.state === "fetch" && (
                  <button type="button" disabled={busy} onClick={() => fetchIt(each.name)} aria-label={`Fetch ${each.name}`}>
                    Fetch
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </dialog>
  );
}
