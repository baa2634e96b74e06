// Drawings as SVG, from numbers alone.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360, LEFT = 22, WINDOW_S = 3600;

function shape(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function picture(height, title) {
  const made = shape("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
  made.append(shape("title", {}, title));
  return made;
}

/** Replicas over the last hour: on demand below, spot on top, what was wanted as a dashed line. */
export function replicas(history, now) {
  const height = 110, bottom = height - 16, top = 6;
  const points = history.map(([at, desired, onDemand, spot]) => ({ at, desired, onDemand, spot }));
  const begin = Math.max(now - WINDOW_S, Math.min(points[0].at, now - 60));
  const shown = points.filter((point, i) => point.at >= begin || (points[i + 1]?.at ?? Infinity) > begin);
  const most = Math.max(1, ...shown.map((point) => Math.max(point.desired, point.onDemand + point.spot)));
  const x = (at) => LEFT + ((Math.max(at, begin) - begin) / (now - begin)) * (WIDTH - LEFT - 4);
  const y = (count) => bottom - (count / most) * (bottom - top);
  // Counts hold until the next change: steps, never slopes.
  const steps = (value) => {
    const corners = [];
    shown.forEach((point, i) => {
      const end = i + 1 < shown.length ? shown[i + 1].at : now;
      corners.push([x(point.at), y(value(point))], [x(end), y(value(point))]);
    });
    return corners.map((corner) => corner.map((number) => number.toFixed(1)).join(",")).join(" ");
  };
  const area = (value) => `${x(begin).toFixed(1)},${bottom} ${steps(value)} ${x(now).toFixed(1)},${bottom}`;
  const last = shown.at(-1);
  const made = picture(height, `${last.onDemand} replicas on demand and ${last.spot} on spot, ${last.desired} wanted`);
  made.append(
    shape("polygon", { class: "spot", points: area((point) => point.onDemand + point.spot) }),
    shape("polygon", { class: "on-demand", points: area((point) => point.onDemand) }),
    shape("polyline", { class: "desired", points: steps((point) => point.desired) }),
    shape("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: bottom, y2: bottom }),
    shape("text", { x: LEFT - 4, y: top + 8, "text-anchor": "end" }, most),
    shape("text", { x: LEFT - 4, y: bottom, "text-anchor": "end" }, 0),
    shape("text", { x: LEFT, y: height - 3 }, ago(now - begin)),
    shape("text", { x: WIDTH - 2, y: height - 3, "text-anchor": "end" }, "now"),
  );
  return made;
}

/** The drop with its interval against the limit, in percentage points. */
export function interval({ drop, lower, upper, limit }) {
  const height = 40, middle = 12;
  const from = Math.min(lower, 0), to = Math.max(upper, limit), room = (to - from || 1) * 0.06;
  const x = (value) => LEFT + ((value - from + room) / (to - from + 2 * room || 1)) * (WIDTH - 2 * LEFT);
  const made = picture(height, `drop ${pp(drop)}, interval ${pp(lower)} to ${pp(upper)}, limit ${pp(limit)}`);
  made.append(
    shape("line", { class: "axis", x1: LEFT, x2: WIDTH - LEFT, y1: middle, y2: middle }),
    shape("rect", { class: "span", x: x(lower), width: Math.max(1, x(upper) - x(lower)), y: middle - 6, height: 12, rx: 2 }),
    shape("circle", { class: "dot", cx: x(drop), cy: middle, r: 3.5 }),
    shape("line", { class: "limit", x1: x(limit), x2: x(limit), y1: middle - 10, y2: middle + 10 }),
    shape("text", { x: x(limit), y: height - 4, "text-anchor": "end" }, `limit ${pp(limit)}`),
  );
  return made;
}

export function pp(share) {
  return `${(100 * share).toFixed(2).replace(/\.?0+$/, "")}pp`;
}

function ago(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`;
}
