/** Masks by clicks and boxes: the first is shown at once, then the video is worked through. */
import { cancel, isBusy, isFailed } from "./actions";
import { download } from "./api";
import { useCell } from "./cell";
import { JobProgress } from "./JobPanel";
import * as masks from "./masks";
import { ModelChoice } from "./ModelChoice";
import { useLacking, useModels } from "./models";
import * as state from "./state";

export function MaskTool() {
  const shown = useCell(state.tool) === "mask";
  const item = useCell(state.item)!;
  const prompts = useCell(masks.prompts);
  const object = useCell(masks.object);
  const preview = useCell(masks.preview);
  const chosen = useCell(masks.model);
  const models = useModels("masks");
  const lacking = useLacking("masks");
  useCell(state.project);
  useCell(state.jobs);
  const whole = masks.wholeJob();
  if (!shown) return null;
  const busy = isBusy(whole);
  const working = busy ? whole : isBusy(preview) ? preview : null;
  const most = Math.min(masks.OBJECTS, Math.max(0, ...prompts.map((each) => each.object)) + 1);
  const save = () => state.attempt(() => download(`/api/jobs/${encodeURIComponent(whole!.id)}/masks.zip`, "masks.zip"));
  return (
    <section class="panel words" aria-label="Masks by clicks">
      <div class="row">
        <label class="choice">
          <span>Object</span>
          <select value={object} onChange={(event) => (masks.object.value = Number(event.currentTarget.value))}>
            {Array.from({ length: most }, (_, k) => (
              <option key={k} value={k + 1}>
                {k + 1 === most && k > 0 ? `${k + 1} (new)` : k + 1}
              </option>
            ))}
          </select>
        </label>
        <ModelChoice models={models} chosen={chosen} choose={(name) => (masks.model.value = name)} />
        <button type="button" disabled={!prompts.length} onClick={masks.removeLast}>
          Remove last
        </button>
        <button type="button" disabled={!prompts.length} onClick={masks.clearPrompts}>
          Clear
        </button>
        <button type="button" class="primary" disabled={!prompts.length || busy || !models?.length} onClick={() => masks.segmentAll()}>
          {item.kind === "video" ? "Outline in the whole video" : "Outline"}
        </button>
        {working && (
          <button type="button" onClick={() => cancel(working)}>
            Cancel
          </button>
        )}
        {whole?.state === "done" && (
          <button type="button" onClick={save}>
            Save masks
          </button>
        )}
      </div>
      {working && <JobProgress job={working} />}
      <p class="soft" role="status">
        {whole && isFailed(whole) ? whole.message : prompts.length ? `${prompts.length} given` : "Click on an object in the frame."}
      </p>
      {lacking.map((line) => (
        <p key={line} class="soft small">
          {line}
        </p>
      ))}
    </section>
  );
}
