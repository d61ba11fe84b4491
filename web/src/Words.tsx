/** Points on things that words name: a model finds boxes on the frame, each of which gets points. */
import { useEffect, useRef, useState } from "preact/hooks";
import { cancel, edit, isBusy, isFailed } from "./actions";
import { post } from "./api";
import { useCell } from "./cell";
import { JobProgress } from "./JobPanel";
import { finished } from "./look";
import { ModelChoice, Remarks } from "./ModelChoice";
import { useModels } from "./models";
import * as state from "./state";
import type { Job } from "./types";

interface Detected {
  result?: { images?: { boxes?: { label: string; box: [number, number, number, number] }[] }[] };
}

const SIDES: [number, string][] = [
  [1, "1, the centre"],
  [2, "4"],
  [3, "9"],
];

export function Words() {
  const shown = useCell(state.tool) === "words";
  const [text, setText] = useState("");
  const [side, setSide] = useState(1);
  const [chosen, setChosen] = useState("");
  const [job, setJob] = useState<Job | null>(null);
  const [said, setSaid] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const models = useModels("answer");
  const model = models?.find((each) => each.name === chosen) ?? models?.[0];
  useEffect(() => {
    if (shown) field.current?.focus();
  }, [shown]);
  if (!shown) return null;

  const find = async () => {
    const [item, frame] = [state.item.value!, state.frame.value];
    const body = { verb: "detect", frame, text: text.trim(), ...(model && { model: model.name }) };
    setSaid("The model is at work.");
    const begun = await post<Job>(state.path(item.id, "look"), body);
    const end = (await finished(begun.id, setJob)) as Job & Detected;
    if (isFailed(end)) throw new Error(end.message || "The model failed.");
    const boxes = (end.state === "done" && end.result?.images?.[0]?.boxes) || [];
    if (state.item.value?.id !== item.id) return "";
    for (const { label, box } of boxes) await edit({ type: "add_grid", frame, rows: side, columns: side, box, name: label });
    if (end.state === "cancelled") return "Cancelled.";
    const count = boxes.length * side * side;
    return count ? `${boxes.length} found on frame ${frame}; ${count} added.` : `Nothing of this was found on frame ${frame}.`;
  };
  const send = (event: Event) => {
    event.preventDefault();
    void state.attempt(find).then((line) => {
      setJob(null);
      setSaid(line ?? "");
    });
  };
  const busy = isBusy(job);
  return (
    <form class="panel words" aria-label="Points by words" onSubmit={send}>
      <div class="row">
        <input
          ref={field}
          type="text"
          class="long"
          aria-label="Things to put points on"
          placeholder="red ball ; cup"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Escape" && (state.tool.value = "point")}
        />
        <label class="choice">
          <span>Points on each</span>
          <select value={side} onChange={(event) => setSide(Number(event.currentTarget.value))}>
            {SIDES.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <ModelChoice models={models} chosen={model?.name ?? ""} choose={setChosen} />
        <button type="submit" class="primary" disabled={busy || !text.trim()}>
          Find
        </button>
        {busy && job && (
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        )}
      </div>
      {busy && job && <JobProgress job={job} />}
      <p class="soft" role="status">
        {said}
      </p>
      {models?.length === 0 && <p class="soft small">No model of this machine finds things that words name.</p>}
      <Remarks lines={model?.remarks} />
    </form>
  );
}
