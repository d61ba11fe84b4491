/** What the keys do. */
import { useEffect, useRef } from "preact/hooks";
import { useCell } from "./cell";
import { KEYS } from "./keys";
import * as state from "./state";

export function Help() {
  const open = useCell(state.helping);
  const version = useCell(state.app)?.version;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} onClose={() => (state.helping.value = false)} aria-labelledby="help-title">
      <div class="dialog-head">
        <h2 id="help-title">Keys</h2>
        <button type="button" onClick={() => (state.helping.value = false)}>
          Close
        </button>
      </div>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              {key.split(" ").map((each) => (
                <kbd key={each}>{each}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="soft">
        A square is a mark that somebody made, a disc is tracked, a ring is hidden; a dashed edge means that the model is
        unsure. An orange frame marks what the keys act on.
      </p>
      {version && <p class="soft small">{`tapetum ${version}`}</p>}
    </dialog>
  );
}
