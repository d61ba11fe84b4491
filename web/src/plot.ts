/** A curve on a canvas: pale what was measured, dark its running mean where there are many steps. */
import { color, prepare } from "./theme";
import type { Curve } from "./types";

const LEFT = 56;
const BOTTOM = 22;
const TOP = 8;
const MANY = 60;
const WINDOW = 20;

export function drawCurve(canvas: HTMLCanvasElement, curve: Curve): void {
  const { c, width, height } = prepare(canvas);
  const ys = curve.y.filter(Number.isFinite);
  if (!ys.length) return;
  const [x0, x1] = widened(curve.x[0], curve.x[curve.x.length - 1]);
  const [y0, y1] = widened(Math.min(...ys), Math.max(...ys));
  const px = (x: number) => LEFT + ((x - x0) / (x1 - x0)) * (width - LEFT - 10);
  const py = (y: number) => TOP + (1 - (y - y0) / (y1 - y0)) * (height - TOP - BOTTOM);
  c.font = "12px system-ui, sans-serif";
  c.lineWidth = 1;
  for (const y of ticks(y0, y1, 4)) {
    c.strokeStyle = color("line");
    c.beginPath();
    c.moveTo(LEFT, py(y));
    c.lineTo(width - 10, py(y));
    c.stroke();
    c.fillStyle = color("soft");
    c.textAlign = "right";
    c.fillText(label(y), LEFT - 6, py(y) + 4);
  }
  c.textAlign = "center";
  for (const x of ticks(x0, x1, 4)) c.fillText(label(x), Math.min(px(x), width - 18), height - 6);
  c.strokeStyle = color("accent");
  const many = curve.y.length > MANY;
  c.globalAlpha = many ? 0.35 : 1;
  c.lineWidth = many ? 1 : 2;
  line(c, curve.x.map(px), curve.y.map(py));
  c.globalAlpha = 1;
  c.lineWidth = 2;
  if (many) line(c, curve.x.map(px), smoothed(curve.y).map(py));
}

function line(c: CanvasRenderingContext2D, xs: number[], ys: number[]): void {
  c.beginPath();
  xs.forEach((x, k) => Number.isFinite(ys[k]) && c.lineTo(x, ys[k]));
  c.stroke();
  if (xs.length === 1) c.strokeRect(xs[0] - 1, ys[0] - 1, 2, 2);
}

function smoothed(values: number[]): number[] {
  return values.map((_, k) => {
    const half = Math.min(WINDOW, k, values.length - 1 - k); // shorter at both ends, so that these stay where they are
    const near = values.slice(k - half, k + half + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

function widened(low: number, high: number): [number, number] {
  return low === high ? [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)] : [low, high];
}

function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough)!;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
}

function label(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(0);
  return String(Number(value.toPrecision(3)));
}
