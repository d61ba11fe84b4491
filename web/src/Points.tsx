/** The points of the video: colours, names, hidden, deleted. */
import { useEffect, useRef, useState } from "preact/hooks";
import { deleteSelected, edit, hideOrShowSelected, selectedPoint } from "./actions";
import { useCell } from "./cell";
import * as state from "./state";
import { isHidden } from "./tracks";
import type { Point } from "./types";

const MOST = 200;
const PALETTE = 24;

export function Points() {
  const points = useCell(state.project)?.points ?? [];
  const selected = useCell(state.selected);
  const [filter, setFilter] = useState("");
  const list = useRef<HTMLUListElement>(null);
  const found = points.filter((point) => point.name.toLowerCase().includes(filter.toLowerCase()));
  const listed = found.slice(0, MOST);
  const chosen = found.find((point) => point.id === selected);
  if (chosen && !listed.includes(chosen)) listed.unshift(chosen);
  useEffect(() => {
    const row = list.current?.querySelector("[aria-current=true]");
    row?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  return (
    <section class="panel points" aria-label="Points">
      <h2>{points.length ? `Points (${points.length})` : "Points"}</h2>
      {points.length > PALETTE && (
        <input
          type="search"
          placeholder="Filter by name"
          aria-label="Filter points by name"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      <ul ref={list} aria-label="List of points">
        {listed.map((point) => (
          <Row key={point.id} point={point} chosen={point.id === selected} />
        ))}
      </ul>
      {found.length > MOST && <p class="soft small">{`${MOST} of ${found.length} are listed; all are drawn.`}</p>}
      {points.length > 0 && <Actions />}
    </section>
  );
}

function Actions() {
  useCell(state.project);
  const selected = useCell(state.selected);
  const frame = useCell(state.frame);
  const point = selectedPoint();
  return (
    <div class="row">
      <button type="button" disabled={!selected} onClick={hideOrShowSelected} aria-keyshortcuts="h">
        {point && isHidden(point, frame) ? "Show from here" : "Hide from here"}
      </button>
      <button type="button" disabled={!selected} onClick={deleteSelected} aria-keyshortcuts="Delete">
        Delete
      </button>
    </div>
  );
}

function Row({ point, chosen }: { point: Point; chosen: boolean }) {
  const corrections = point.queries.length - 1;
  const rename = (input: HTMLInputElement) => {
    const name = input.value.trim();
    if (name && name !== point.name) void edit({ type: "edit_point", point: point.id, name });
    else input.value = point.name;
  };
  return (
    <li aria-current={chosen ? "true" : undefined} class="point">
      <input
        type="color"
        value={point.color}
        aria-label={`Colour of ${point.name}`}
        onChange={(event) => edit({ type: "edit_point", point: point.id, color: event.currentTarget.value })}
      />
      <input
        type="text"
        value={point.name}
        aria-label={`Name of ${point.name}`}
        maxLength={200}
        onFocus={() => (state.selected.value = point.id)}
        onBlur={(event) => rename(event.currentTarget)}
        onKeyDown={(event) => {
          if (event.key === "Escape") event.currentTarget.value = point.name;
          if (event.key === "Enter" || event.key === "Escape") event.currentTarget.blur();
        }}
      />
      <button
        type="button"
        class="quiet"
        title="Go to the frame where it was put"
        onClick={() => {
          state.selected.value = point.id;
          state.seek(point.queries[0]?.frame ?? 0);
        }}
      >
        {`frame ${point.queries[0]?.frame ?? 0}${corrections > 0 ? ` +${corrections}` : ""}`}
        <span class="sr">{` of ${point.name}`}</span>
      </button>
    </li>
  );
}
