// Made training runs: their ledgers and curves.

const total = {
  steps: 2000,
  samples: 64000,
  wall_seconds: 5400,
  cpu_seconds: 9000,
  flops_forward: 2e15,
  flops_backward: 4e15,
  energy_kwh: 0.31,
  co2_kg: 0.12,
};
export const runs = [
  { id: "r1", name: "runs/small", ledger: { total, sessions: [{}] } },
  {
    id: "r2",
    name: "runs/a longer name of a run",
    ledger: { total: { ...total, steps: 300, energy_kwh: 0.00004 }, sessions: [{}] },
  },
  {
    id: "r3",
    name: "runs/broken",
    ledger: null,
    trouble: "ledger.json is no ledger of a run, or is damaged; give another run",
  },
];

/** A run with its curves; undefined where there is none. */
export function readRun(id) {
  const found = runs.find((each) => each.id === id);
  if (!found) return undefined;
  const x = Array.from({ length: 200 }, (_, k) => 10 * k);
  const noise = (k) => Math.sin(k * 12.9898) * 0.5 + Math.sin(k * 78.233) * 0.5;
  const curves = [
    { name: "loss", x, y: x.map((_, k) => 2 * Math.exp(-k / 60) + 0.2 + 0.12 * noise(k)) },
    { name: "learning rate", x, y: x.map((_, k) => 1e-4 * Math.min(1, k / 20) * (1 - k / 220)) },
    { name: "average jaccard", x: [0, 500, 1000, 1500, 1990], y: [12, 31, 40, 44.5, 46] },
  ];
  return { ...found, curves: id === "r1" ? curves : [] };
}
