/** A value that components and canvases watch. */
import { useLayoutEffect, useReducer } from "preact/hooks";

export class Cell<T> {
  #value: T;
  #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set value(value: T) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Read a cell in a component, which is drawn again when the value changes. */
export function useCell<T>(cell: Cell<T>): T {
  const [, redraw] = useReducer((n: number, _: void) => n + 1, 0);
  const drawn = cell.value;
  useLayoutEffect(() => {
    if (!Object.is(cell.value, drawn)) redraw(); // it changed between drawing and watching
    return cell.watch(() => redraw());
  }, [cell]);
  return drawn;
}

/** Call `listener` when any of the cells changes. */
export function watchAll(cells: Cell<any>[], listener: () => void): () => void {
  const ends = cells.map((cell) => cell.watch(listener));
  return () => ends.forEach((end) => end());
}
