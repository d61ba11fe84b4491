/** How many rows and columns a grid of points has. */
import { useEffect, useRef, useState } from "preact/hooks";
import { edit } from "./actions";
import { useCell } from "./cell";
import * as state from "./state";

const MOST = 4096;

export function GridDialog() {
  const box = useCell(state.gridBox);
  const dialog = useRef<HTMLDialogElement>(null);
  const [rows, setRows] = useState(5);
  const [columns, setColumns] = useState(5);
  useEffect(() => {
    if (box && !dialog.current?.open) dialog.current?.showModal();
    if (!box) dialog.current?.close();
  }, [box]);
  const close = () => {
    state.gridBox.value = null;
    state.tool.value = "point";
  };
  const add = (event: Event) => {
    event.preventDefault();
    const area = box && box !== "whole" ? { box } : {};
    void edit({ type: "add_grid", frame: state.frame.value, rows, columns, ...area });
    close();
  };
  const number = (name: string, value: number, set: (value: number) => void) => (
    <label>
      {name}
      <input
        type="number"
        min={1}
        max={256}
        required
        value={value}
        onInput={(event) => set(event.currentTarget.valueAsNumber || 1)}
      />
    </label>
  );
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="grid-title">
      <form onSubmit={add}>
        <h2 id="grid-title">{box === "whole" ? "Grid over the whole frame" : "Grid in the box"}</h2>
        <div class="row">
          {number("Rows", rows, setRows)}
          {number("Columns", columns, setColumns)}
        </div>
        <p class="soft">{rows * columns > MOST ? `At most ${MOST} points fit in a project.` : `${rows * columns} points`}</p>
        <div class="row">
          <button type="submit" class="primary" disabled={rows * columns > MOST}>
            Add
          </button>
          <button type="button" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}
