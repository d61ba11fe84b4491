/** Places where the tracks are most doubtful. */
import { goTo, isGoodEnough, nextPlace, shareLeft, visited } from "./actions";
import { useCell } from "./cell";
import * as state from "./state";

const MOST = 8;

export function Check() {
  const places = useCell(state.places);
  const points = useCell(state.project)?.points ?? [];
  const tracked = useCell(state.project)?.tracked_revision != null;
  const frame = useCell(state.frame);
  const selected = useCell(state.selected);
  useCell(visited);
  useCell(state.expectedShare);
  const until = useCell(state.until);
  const [left, done] = [shareLeft(), isGoodEnough()];
  const names = new Map(points.map((point) => [point.id, point.name]));
  if (!points.length) return null;
  return (
    <section class="panel check" aria-label="Look here next">
      <div class="row">
        <h2>Look here next</h2>
        <button type="button" disabled={!places.length || done} onClick={nextPlace} aria-keyshortcuts="n">
          Next
        </button>
      </div>
      {left !== null && (
        <>
          <p class="small" role="status">
            {`${(100 * left).toFixed(1)} % of the visible places are expected wrong${done ? ", less than you asked for." : ", besides those you went to."}`}
          </p>
          <div class="row small">
            <label for="until">Stop below</label>
            <input
              id="until"
              type="number"
              min={0}
              max={100}
              step={0.5}
              value={100 * until}
              onInput={(event) => (state.until.value = Number(event.currentTarget.value) / 100)}
            />
            <span>%</span>
          </div>
        </>
      )}
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
