/** Models of the server's machine, by what they are for. */
import { useEffect } from "preact/hooks";
import { get } from "./api";
import { Cell, useCell } from "./cell";
import { attempt } from "./state";

export interface Model {
  name: string;
  /** What to know of it, and how to get a better one; the first line names it. */
  remarks: string[];
}

export type Use = "answer" | "classify" | "words" | "masks";

type Models = Record<Use, Model[]> & { missing: Partial<Record<Use, string>> };

const models = new Cell<Models | null>(null);
let reading = false;

function readModels(): void {
  if (models.value || reading) return;
  reading = true;
  void attempt(() => get<Models>("/api/models")).then((read) => {
    reading = false;
    models.value = read ?? null;
  });
}

/** Read them anew, since one may have come. */
export function forgetModels(): void {
  models.value = null;
  readModels();
}

/** The models for a use, the default first; null until the server has said. */
export function useModels(use: Use): Model[] | null {
  const known = useCell(models);
  useEffect(readModels, []);
  return known?.[use] ?? null;
}

/** What is said where no model for a use is on the machine. */
export function useLacking(use: Use): string[] {
  const known = useCell(models);
  const line = known && !known[use].length ? known.missing[use] : undefined;
  return line ? [line] : [];
}
