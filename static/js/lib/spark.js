// The last ten minutes of each card as two SVG paths: memory (filled) and busy time. A gap in the readings stays a gap.

const SPAN_S = 600;
const HEIGHT = 36;
const GAP_S = 12;
const MIB = 2 ** 20;

export class Sparks {
  constructor() {
    this.points = new Map(); // uuid -> [[at, used bytes, busy 0..1], ...]
  }

  replay(devices) {
    for (const [uuid, points] of Object.entries(devices)) {
      this.points.set(
        uuid,
        points.map(([at, used, busy]) => [at, used == null ? null : used * MIB, busy == null ? null : busy / 100]),
      );
    }
  }

  add(uuid, at, used, busy) {
    const points = this.points.get(uuid) ?? [];
    const last = points.at(-1);
    if (last && at - last[0] < 2) return;
    points.push([at, used, busy]);
    while (points.length && points[0][0] < at - SPAN_S) points.shift();
    this.points.set(uuid, points);
  }

  draw(tile, uuid, total) {
    const points = this.points.get(uuid) ?? [];
    const svg = tile.querySelector(".spark");
    if (!svg || points.length < 2) return;
    const now = points.at(-1)[0];
    const memory = path(points, now, (point) => (point[1] == null ? null : point[1] / total));
    svg.querySelector(".line").setAttribute("d", memory.line);
    svg.querySelector(".area").setAttribute("d", memory.area);
    svg.querySelector(".busy").setAttribute("d", path(points, now, (point) => point[2]).line);
  }
}

function path(points, now, share) {
  let line = "";
  let area = "";
  let before = null;
  for (const point of points) {
    const value = share(point);
    const x = (SPAN_S - (now - point[0])).toFixed(1);
    const joined = before && value != null && point[0] - before.at <= GAP_S;
    if (before && !joined) area += `L${before.x} ${HEIGHT}Z`;
    if (value == null) {
      before = null;
      continue;
    }
    const y = (HEIGHT - 1 - Math.min(1, value) * (HEIGHT - 3)).toFixed(1);
    line += `${joined ? "L" : "M"}${x} ${y}`;
    area += joined ? `L${x} ${y}` : `M${x} ${HEIGHT}L${x} ${y}`;
    before = { at: point[0], x };
  }
  if (before) area += `L${before.x} ${HEIGHT}Z`;
  return { line, area };
}
