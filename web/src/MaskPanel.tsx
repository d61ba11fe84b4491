/** The mask of an object: what to do, its job, its clicks, its files. */
import { cancel, isBusy, isFailed } from "./actions";
import { useCell } from "./cell";
import { Export } from "./Export";
import { JobProgress, TrackerChoice } from "./JobPanel";
import { computeMask, MASK_FORMATS, masks, prompts } from "./masks";
import * as state from "./state";
import type { Prompt } from "./types";

export function MaskPanel() {
  useCell(state.project);
  const tracker = String(useCell(state.app)?.models.track ?? "");
  const now = useCell(masks);
  const frame = useCell(state.frame);
  const job = now?.job ?? null;
  const busy = isBusy(job);
  const list = prompts();
  const ready = list.length > 0 && !busy && now?.current === true;
  return (
    <>
      <section class="panel" aria-label="Mask">
        <div class="row">
          <button
            type="button"
            class="primary"
            disabled={!list.length || busy || ready}
            onClick={() => computeMask()}
            aria-keyshortcuts="t"
          >
            Mask
          </button>
          {busy && job && (
            <button type="button" onClick={() => cancel(job)}>
              Cancel
            </button>
          )}
        </div>
        {busy && job && <JobProgress job={job} />}
        <p class="soft" role="status" data-state={job?.state ?? "none"}>
          {!list.length
            ? "Draw a box around an object on any frame, then press Mask: it gets its mask through the whole video."
            : busy
              ? "The mask is being computed; that of a frame with clicks comes first."
              : ready
                ? "The mask is computed. Where it is wrong, click on that frame, or draw a box there, and press Mask again."
                : job && isFailed(job)
                  ? `The mask ${job.state}: ${job.message}`
                  : "There are clicks that are not computed yet: press Mask."}
        </p>
        {!list.length && (
          <p class="soft small">
            A click works too, but tells nothing of the size of the object: a box is better. More clicks show what belongs to
            the object; with Shift, what does not.
          </p>
        )}
        <TrackerChoice now={tracker} busy={busy} />
      </section>
      {list.length > 0 && (
        <section class="panel" aria-label="Clicks">
          <h2>Clicks</h2>
          <ul>
            {list.map((each) => (
              <li key={each.frame} class="point" aria-current={each.frame === frame ? "true" : undefined}>
                <button type="button" class="quiet" onClick={() => state.seek(each.frame)}>
                  {`frame ${each.frame}: ${describe(each)}`}
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
      <Export formats={MASK_FORMATS} name="Export the mask" ready={ready} />
    </>
  );
}

function describe({ box, inside, outside }: Prompt): string {
  const parts = [box && "a box", inside.length && `${inside.length} inside`, outside.length && `${outside.length} outside`];
  return parts.filter(Boolean).join(", ");
}
