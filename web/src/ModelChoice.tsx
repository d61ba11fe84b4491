/** Choice of a model among those of the server's machine, and what should be known of it. */
import type { Model } from "./models";

interface Props {
  models: Model[] | null;
  chosen: string;
  choose: (name: string) => void;
}

export function ModelChoice({ models, chosen, choose }: Props) {
  if (!models || models.length < 2) return null;
  return (
    <label class="choice">
      <span>Model</span>
      <select value={chosen || models[0].name} onChange={(event) => choose(event.currentTarget.value)}>
        {models.map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Remarks({ lines }: { lines: string[] | null | undefined }) {
  if (!lines?.length) return null;
  return (
    <ul class="remarks soft small" aria-label="What it knows">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}
