/** Places where the tracks are most doubtful. */
import { goTo, nextPlace } from "./actions";
import { useCell } from "./cell";
import * as state from "./state";

const MOST = 8;

export function Check() {
  const places = useCell(state.places);
  const points = useCell(state.project)?.points ?? [];
  const tracked = useCell(state.project)?.tracked_revision != null;
  const frame = useCell(state.frame);
  const selected = useCell(state.selected);
  const names = new Map(points.map((point) => [point.id, point.name]));
  if (!points.length) return null;
  return (
    <section class="panel check" aria-label="Look here next">
      <div class="row">
        <h2>Look here next</h2>
        <button type="button" disabled={!places.length} onClick={nextPlace} aria-keyshortcuts="n">
          Next
        </button>
      </div>
      {places.length === 0 && (
        <p class="soft small">
          {tracked ? "No place is doubtful." : "Doubtful places are listed here once points are tracked."}
        </p>
      )}
      <ol aria-label="Doubtful places">
        {places.slice(0, MOST).map((place) => (
          <li key={`${place.point}/${place.frame}/${place.reason}`}>
            <button
              type="button"
              class="quiet place"
              aria-current={place.frame === frame && place.point === selected ? "true" : undefined}
              onClick={() => goTo(place)}
            >
              <span class="name">{names.get(place.point) ?? "a point"}</span>
              <span class="soft">{`frame ${place.frame}`}</span>
              <span class="soft reason">{place.reason}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
