/** Training runs of the folder: what they cost, and their curves. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api";
import { useCell } from "./cell";
import { drawCurve } from "./plot";
import { attempt } from "./state";
import { scheme } from "./theme";
import type { Curve } from "./types";

interface Run {
  id: string;
  name: string;
  ledger: { total: Record<string, number> } | null;
  trouble?: string;
}

const COLUMNS: [string, (total: Record<string, number>) => string][] = [
  ["Steps", (total) => total.steps.toLocaleString("en")],
  ["Samples", (total) => total.samples.toLocaleString("en")],
  ["Time", (total) => `${short(total.wall_seconds / 3600)} h`],
  ["FLOPs", (total) => short(total.flops_forward + total.flops_backward)],
  ["Energy", (total) => `${short(total.energy_kwh)} kWh`],
  ["CO₂", (total) => `${short(total.co2_kg)} kg`],
];

export function RunsTab() {
  const [runs, setRuns] = useState<Run[] | null>(null);
  const [open, setOpen] = useState<{ id: string; name: string; curves: Curve[] } | null>(null);
  useEffect(() => {
    void attempt(() => get<{ runs: Run[] }>("/api/runs")).then((answer) => setRuns(answer?.runs ?? []));
  }, []);
  const show = (run: Run) =>
    attempt(() => get<{ curves: Curve[] }>(`/api/runs/${encodeURIComponent(run.id)}`)).then(
      (answer) => answer && setOpen({ id: run.id, name: run.name, curves: answer.curves ?? [] }),
    );
  if (!runs) return <p class="empty">Reading the runs</p>;
  if (!runs.length) return <p class="empty">There are no runs in this folder; tapetum train writes them.</p>;
  return (
    <section class="wide" aria-label="Runs">
      <div class="scrolled" tabIndex={0} role="region" aria-label="Table of runs">
        <table class="runs">
          <thead>
            <tr>
              <th scope="col">Run</th>
              {COLUMNS.map(([name]) => (
                <th scope="col" class="number" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {runs.map((run) => (
              <tr key={run.id} class={open?.id === run.id ? "chosen" : undefined}>
                <th scope="row">
                  <button type="button" class="quiet" aria-expanded={open?.id === run.id} onClick={() => show(run)}>
                    {run.name}
                  </button>
                </th>
                {run.ledger ? (
                  COLUMNS.map(([name, value]) => (
                    <td class="number" key={name}>
                      {value(run.ledger!.total)}
                    </td>
                  ))
                ) : (
                  <td colSpan={COLUMNS.length} class="soft trouble">
                    {run.trouble ?? "It has no ledger."}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {open ? (
        <>
          <h2>{open.name}</h2>
          {open.curves.length === 0 && <p class="soft">It has no log with curves.</p>}
          <div class="plots">
            {open.curves.map((curve) => (
              <Plot key={`${open.id}/${curve.name}`} curve={curve} />
            ))}
          </div>
        </>
      ) : (
        <p class="soft">Choose a run to see its curves.</p>
      )}
    </section>
  );
}

function Plot({ curve }: { curve: Curve }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const shade = useCell(scheme);
  useEffect(() => {
    const sizes = new ResizeObserver(() => ref.current && drawCurve(ref.current, curve));
    sizes.observe(ref.current!);
    return () => sizes.disconnect();
  }, [curve, shade]);
  const last = curve.y[curve.y.length - 1];
  const [first, final] = [curve.x[0], curve.x[curve.x.length - 1]];
  const about = `${curve.name} from ${short(curve.y[0])} at step ${first} to ${short(last)} at step ${final}`;
  return (
    <figure>
      <figcaption>{curve.name}</figcaption>
      <canvas ref={ref} role="img" aria-label={about} />
    </figure>
  );
}

export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size !== 0 && size < 1e-3)) return value.toExponential(1);
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}
