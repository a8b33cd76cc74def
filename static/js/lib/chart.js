// Draws a figure of the server with plotly in the colours of the theme, and the same numbers as a table.

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const drawn = new Map(); // element -> figure

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function wash(colour) {
  return `${colour}22`;
}

function localTime(milliseconds) {
  if (milliseconds == null || typeof milliseconds === "string") return milliseconds; // a day stays that day
  const at = new Date(milliseconds);
  return new Date(milliseconds - at.getTimezoneOffset() * 60000).toISOString().slice(0, 23);
}

function axis(own = {}) {
  return {
    gridcolor: css("--line"),
    linecolor: css("--line"),
    zerolinecolor: css("--line"),
    tickfont: { size: 11, color: css("--muted") },
    automargin: true,
    fixedrange: false,
    ...own,
  };
}

// The figure names a CSS variable where it wants a colour: in a trace's meta, in a shape's name.
function prepared(figure) {
  const layout = structuredClone(figure.layout);
  const isTime = layout.xaxis?.type === "date";
  const data = structuredClone(figure.data).map((trace) => {
    const colour = css(trace.meta);
    if (trace.line) trace.line.color = colour;
    trace.marker = { color: colour };
    if (isTime) trace.x = trace.x.map(localTime);
    if (trace.fill) trace.fillcolor = wash(colour);
    if (trace.hoverinfo !== "skip" && trace.orientation !== "h") trace.hovertemplate = isTime || trace.type === "bar" ? "%{y}" : "%{y:.4f}";
    return trace;
  });
  for (const shape of layout.shapes ?? []) shape.line.color = css(shape.name);
  return {
    data,
    layout: {
      ...layout,
      xaxis: axis(layout.xaxis),
      yaxis: axis(layout.yaxis),
      ...(layout.yaxis2 ? { yaxis2: axis(layout.yaxis2) } : {}),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: css("--font"), size: 12, color: css("--text") },
      margin: { l: 8, r: 12, t: 8, b: 28 },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line"), font: { size: 12, color: css("--text") } },
      dragmode: "zoom",
      uirevision: "kept", // a redraw keeps the reader's zoom
    },
  };
}

export function draw(element, figure) {
  const empty = document.querySelector(`[data-empty="${element.id}"]`);
  element.hidden = !figure;
  if (empty) empty.hidden = Boolean(figure);
  if (!figure) return;
  drawn.set(element, figure);
  const { data, layout } = prepared(figure);
  window.Plotly.react(element, data, layout, CONFIG);
  const table = document.querySelector(`[data-table="${element.id}"]`);
  if (table?.closest("details").open) showTable(table, figure);
  else table?.closest("details").addEventListener("toggle", () => showTable(table, drawn.get(element)), { once: true });
}

function showTable(place, figure) {
  const curves = figure.data.filter((trace) => trace.hoverinfo !== "skip");
  const table = document.createElement("table");
  table.className = "grid";
  const isTime = figure.layout.xaxis?.type === "date";
  const head = table.createTHead().insertRow();
  for (const name of [isTime ? "time" : "step", ...curves.map((trace) => trace.name)]) {
    const cell = document.createElement("th");
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  const rows = new Map();
  curves.forEach((trace, column) => {
    trace.x.forEach((x, at) => {
      if (x == null) return;
      if (!rows.has(x)) rows.set(x, []);
      rows.get(x)[column] = trace.y[at];
    });
  });
  for (const [x, values] of [...rows].sort((a, b) => b[0] - a[0])) {
    const row = body.insertRow();
    row.insertCell().textContent = isTime ? localTime(x).replace("T", " ").slice(0, 19) : x;
    curves.forEach((_, column) => (row.insertCell().textContent = values[column] ?? "–"));
  }
  place.replaceChildren(table);
}

document.addEventListener("theme", () => drawn.forEach((figure, element) => draw(element, figure)));
