"use strict";
// The graph of a question as SVG. Colours are the page's own variables, so that it follows dark mode and prints.
const drawGraph = (() => {
  const SIZE = 23, ROW = 92, INSET = 0.45;
  const SHADES = [[0, "#f2f7fc"], [0.15, "#d3e3f3"], [0.35, "#9dc6e3"], [0.6, "#4a90c4"], [0.8, "#1f66ab"], [1, "#08306b"]];
  const ROLES = { root: "root", target: "target", neg_target: "other option" };
  const CORNERS = {
    root: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    target: [0, 1, 2, 3, 4, 5].map((n) => [1.04 * Math.cos(n * Math.PI / 3), 1.04 * Math.sin(n * Math.PI / 3)]),
    neg_target: [[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]],
  };

  function made(kind, attributes, ...inside) {
    const part = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    part.append(...inside);
    return part;
  }

  function channels(value) {
    const above = Math.max(1, SHADES.findIndex(([place]) => place >= value));
    const [[low, from], [high, to]] = [SHADES[above - 1], SHADES[above]], part = (value - low) / (high - low);
    const at = (colour, n) => parseInt(colour.slice(1 + 2 * n, 3 + 2 * n), 16);
    return [0, 1, 2].map((n) => Math.round(at(from, n) + part * (at(to, n) - at(from, n))));
  }

  // Black or white, whichever has more contrast on a value's fill (relative luminance of WCAG 2): 4.5 at least.
  function inkOn(colour) {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#ffffff" : "#000000";
  }

  // From rim to rim, with a head. Within a column, and over a column, a straight line would run through other nodes.
  function edge([x0, y0], [x1, y1], columns, size, room, { color, width, dash = "none" }) {
    const bend = columns === 0 ? -Math.min(ROW, room) : 0, lift = columns > 1 ? -0.44 * ROW : 0;
    const [cx, cy] = [(x0 + x1) / 2 + bend, (y0 + y1) / 2 + lift], head = 7 + width;
    const toward = (x, y, gap) => {
      const long = Math.hypot(cx - x, cy - y) || 1;
      return [x + gap * (cx - x) / long, y + gap * (cy - y) / long];
    };
    const [sx, sy] = toward(x0, y0, size), [tx, ty] = toward(x1, y1, size + 3), [bx, by] = toward(x1, y1, size + 3 + head);
    const [nx, ny] = [(ty - by) / head, (bx - tx) / head], half = 0.42 * head;
    const points = [[tx, ty], [bx + half * nx, by + half * ny], [bx - half * nx, by - half * ny]];
    return [
      made("path", {
        d: `M${sx} ${sy}Q${cx} ${cy} ${bx} ${by}`, fill: "none", "stroke-width": width, "stroke-dasharray": dash, style: `stroke: ${color}`,
      }),
      made("polygon", { points: points.join(" "), style: `fill: ${color}` }),
    ];
  }

  function node(place, size, about, value, ahead) {
    const colour = channels(Math.max(0, Math.min(1, value ?? 0))), corners = CORNERS[about.role];
    const rim = ahead ? "var(--next)" : about.role ? "var(--ink)" : "var(--rim)";
    const look = { fill: `rgb(${colour})`, "stroke-width": ahead ? 3.5 : about.role ? 1.8 : 1, style: `stroke: ${rim}` };
    const shape = corners
      ? made("polygon", { points: corners.map(([x, y]) => [size * x, size * y]).join(" "), ...look })
      : made("circle", { r: size, ...look });
    const text = (said, y, further) => made("text", { y, "text-anchor": "middle", ...further }, said);
    const parts = [shape, text(value === null ? "" : graphNumber(value), 4.5, { fill: inkOn(colour) })];
    const name = { style: "fill: var(--ink)", ...(about.role ? { "font-weight": "bold" } : {}) };
    parts.push(text(about.name, size + 15, name));
    if (about.role) parts.push(text(ROLES[about.role], size + 30, { style: "fill: var(--ink)" }));
    return made("g", { class: "node", transform: `translate(${place.join(" ")})` }, ...parts);
  }

  function scale(x, y) {
    const stops = SHADES.map(([place, colour]) => made("stop", { offset: place, "stop-color": colour }));
    const label = (said, at, anchor) => made("text", { x: at, y: 10, "text-anchor": anchor, style: "fill: var(--soft)" }, said);
    return made("g", { transform: `translate(${x} ${y})`, "font-size": 12 },
      made("linearGradient", { id: "graph-scale" }, ...stops),
      label("probability 0", 78, "end"), made("rect", { x: 84, width: 90, height: 11, fill: "url(#graph-scale)" }), label("1", 180, "start"));
  }

  function details(about, value) {
    const many = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;
    return [
      `${about.name}${about.role ? ` (${ROLES[about.role]})` : ""}`,
      value === null ? "not scored" : `probability ${value.toFixed(4)}`,
      about.depth < 0 ? "not reached from the root" : `${many(about.depth, "step")} from the root`,
      about.height === null ? "no leaf beneath" : `height ${about.height}`,
      about.leads ? "leads to the target" : "does not lead to the target",
    ].join(", ");
  }

  /** Draw a question's graph at a moment into an element; `tell` is told what a node under the pointer is, or "". */
  return (into, question, moment, label, tell) => {
    const x = question.places.map(([column]) => column), y = question.places.map(([, row]) => row), high = Math.max(...y);
    const wide = Math.max(280, into.clientWidth), column = wide / (Math.max(...x) + 2 * INSET);
    const size = Math.min(SIZE, 0.38 * column), tall = ROW * (high - Math.min(...y) + 1) + 50;
    const places = question.places.map(([a, b]) => [(a + INSET) * column, 32 + (high - b) * ROW]);
    const next = new Set(moment.next.map(String)), way = new Set(question.way.map(String)), ahead = new Set(moment.frontier);
    const drawn = [[], [], []]; // pale ones first, so that they lie beneath
    for (const one of question.edges) {
      const [start, end] = one, width = 1.4 + 4 * (moment.values[end] ?? 0), marked = way.has(String(one));
      const [layer, look] = next.has(String(one))
        ? [2, { color: "var(--next)", width, dash: marked ? "none" : `${3 + 2 * width} ${2 + width}` }]
        : marked ? [1, { color: "var(--ink)", width: 1.6 }] : [0, { color: "var(--faint)", width: 1 }];
      drawn[layer].push(...edge(places[start], places[end], Math.abs(x[end] - x[start]), size, column, look));
    }
    const nodes = question.nodes.map((about, n) => {
      const group = node(places[n], size, about, moment.values[n], ahead.has(n)), said = details(about, moment.values[n]);
      group.addEventListener("pointerenter", () => tell(said));
      group.addEventListener("pointerleave", () => tell(""));
      return group;
    });
    into.replaceChildren(made("svg", {
      xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": label,
      "font-family": "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", "font-size": size < SIZE ? 11 : 13,
    }, ...drawn.flat(), ...nodes, scale(8, tall - 16)));
  };
})();

/** A probability as short as it can be read. */
const graphNumber = (p) => (p > 0.995 ? "1" : p.toFixed(2).replace(/^0/, ""));

/** The drawn graph as a file of its own, in the colours of a white page. */
function graphFile(from) {
  const light = { ink: "#1c1c1c", soft: "#5a5a5a", next: "#d55e00", rim: "#8d8d8d", faint: "#b8b8b8" };
  return from.innerHTML.replace(/var\(--(\w+)\)/g, (_, name) => light[name]);
}
