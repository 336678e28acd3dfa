"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const part = (id) => document.getElementById(id);
  const picker = part("picker"), slider = part("slider"), play = part("play"), graph = part("graph");
  const INK = "#222222", PALE = "#b8b8b8", NEXT = "#d55e00", SIZE = 46;
  const SHADES = [[0, "#f2f7fc"], [0.15, "#d3e3f3"], [0.35, "#9dc6e3"], [0.6, "#4a90c4"], [0.8, "#1f66ab"], [1, "#08306b"]];
  const SHAPES = { root: "square", target: "hexagon2", neg_target: "diamond", "": "circle" };
  const ROLES = { root: "root", target: "target", neg_target: "other option" };
  const stage = document.querySelector(".stage");
  let filename = "";
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Numbers that are not finite are null.
  const digits = (p, places) => (p === null ? "none" : p.toFixed(places));
  const said = (p) => (p > 0.995 ? "1" : digits(p, 2).replace(/^0/, ""));
  const plain = (text) => text.replaceAll("_", " ");
  const escaped = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const many = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

  function element(kind, text = "", name = "") {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function table(heads, rows) {
    const made = element("table"), top = made.createTHead().insertRow(), body = made.createTBody();
    heads.forEach((head) => top.append(Object.assign(element("th", head), { scope: "col" })));
    rows.forEach((row) => {
      const line = body.insertRow();
      line.className = row.name || "";
      row.cells.forEach((cell) => {
        const place = line.insertCell();
        if (typeof cell === "number" || cell === null) {
          place.className = "bar";
          const bar = element("i");
          bar.style.width = `${Math.max(0, Math.min(1, cell)) * 100}%`;
          place.append(bar);
        } else place.textContent = cell;
      });
    });
    return made;
  }

  function channels(value) {
    const above = Math.max(1, SHADES.findIndex(([place]) => place >= value));
    const [[low, from], [high, to]] = [SHADES[above - 1], SHADES[above]], part = (value - low) / (high - low);
    const at = (colour, n) => parseInt(colour.slice(1 + 2 * n, 3 + 2 * n), 16);
    return [0, 1, 2].map((n) => at(from, n) + part * (at(to, n) - at(from, n)));
  }

  // Black or white, whichever has more contrast on a value's fill (relative luminance of WCAG 2): 4.5 at least.
  function inkOn(value) {
    const [r, g, b] = channels(Math.max(0, Math.min(1, value ?? 0))).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#ffffff" : "#000000";
  }

  // -- the graph ----------------------------------------------------------------------------------------------------

  function edgeTrace(question, edges, look) {
    const x = [], y = [];
    for (const [start, end] of edges) {
      const [x0, y0] = question.places[start], [x1, y1] = question.places[end];
      // Within a column, and over a column, a straight line would run through other nodes.
      const apart = Math.abs(x1 - x0), bend = apart === 0 ? -46 / look.column : 0, lift = apart > 1 ? 0.22 : 0;
      x.push(x0, (x0 + x1) / 2 + bend, x1, null);
      y.push(y0, (y0 + y1) / 2 + lift, y1, null);
    }
    return {
      type: "scatter", mode: "lines+markers", x, y, hoverinfo: "skip", showlegend: false, cliponaxis: false,
      line: { color: look.color, width: look.width, dash: look.dash, shape: "spline", smoothing: 1 },
      marker: {
        symbol: "arrow", angleref: "previous", color: look.color, opacity: 1, standoff: SIZE / 2 + 2,
        size: x.map((_, place) => (place % 4 === 2 ? 9 + look.width : 0)),
      },
    };
  }

  function traces(question, moment, column) {
    const next = new Set(moment.next.map(String)), way = new Set(question.way.map(String));
    const rest = question.edges.filter((edge) => !next.has(String(edge)));
    const made = [
      edgeTrace(question, rest.filter((edge) => !way.has(String(edge))), { column, color: PALE, width: 1, dash: "solid" }),
      edgeTrace(question, rest.filter((edge) => way.has(String(edge))), { column, color: INK, width: 1.6, dash: "solid" }),
    ];
    for (const edge of moment.next) {
      const width = 1.4 + 4 * (moment.values[edge[1]] ?? 0);
      const dash = way.has(String(edge)) ? "solid" : `${3 + 2 * width}px,${2 + width}px`;
      made.push(edgeTrace(question, [edge], { column, color: NEXT, width, dash }));
    }
    const ahead = new Set(moment.frontier), x = question.places.map((place) => place[0]), y = question.places.map((place) => place[1]);
    const values = moment.values;
    made.push({
      type: "scatter", mode: "markers+text", x, y, showlegend: false, cliponaxis: false,
      text: values.map((value) => (value === null ? "" : said(value))),
      textfont: { size: 13, color: values.map(inkOn) },
      marker: {
        size: question.nodes.map((node) => (node.role === "neg_target" ? SIZE * 0.92 : SIZE)),
        symbol: question.nodes.map((node) => SHAPES[node.role]), opacity: 1,
        color: values.map((value) => value ?? 0), cmin: 0, cmax: 1, colorscale: SHADES,
        line: {
          color: question.nodes.map((node, n) => (ahead.has(n) ? NEXT : node.role ? INK : "#8d8d8d")),
          width: question.nodes.map((node, n) => (ahead.has(n) ? 3.5 : node.role ? 1.8 : 1)),
        },
        colorbar: { title: { text: "probability", side: "right", font: { size: 12 } }, thickness: 11, len: 0.72, outlinewidth: 0, tickfont: { size: 11 }, x: 1.01 },
      },
      hovertemplate: question.nodes.map((node, n) => [
        `<b>${escaped(node.name)}</b>${node.role ? ` (${ROLES[node.role]})` : ""}`,
        values[n] === null ? "not scored" : `probability ${values[n].toFixed(4)}`,
        node.depth < 0 ? "not reached from the root" : `${many(node.depth, "step")} from the root`,
        node.height === null ? "no leaf beneath" : `height ${node.height}`,
        node.leads ? "leads to the target" : "does not lead to the target",
      ].join("<br>") + "<extra></extra>"),
    });
    made.push({
      type: "scatter", mode: "markers+text", x, y, hoverinfo: "skip", showlegend: false, cliponaxis: false,
      marker: { size: SIZE + 2, opacity: 0 }, textposition: "bottom center", textfont: { size: 13, color: INK },
      text: question.nodes.map((node) => (node.role ? `<b>${escaped(node.name)}</b><br>${ROLES[node.role]}` : escaped(node.name))),
    });
    return made;
  }

  function drawGraph(question, moment) {
    const x = question.places.map((place) => place[0]), y = question.places.map((place) => place[1]);
    const [right, low, high] = [Math.max(...x), Math.min(...y), Math.max(...y)];
    const layout = {
      height: Math.max(330, 92 * (high - low + 1) + 40), margin: { l: 10, r: 10, t: 10, b: 10 }, hovermode: "closest",
      xaxis: { visible: false, fixedrange: true, range: [-0.45, right + 0.45] },
      yaxis: { visible: false, fixedrange: true, range: [low - 0.75, high + 0.4] },
      font: { family: "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", color: INK },
      paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", showlegend: false, dragmode: false,
    };
    const column = Math.max(1, graph.clientWidth - 110) / (right + 0.9);
    filename = `${question.id}-k${moment.k}`;
    graph.setAttribute("aria-label", "Graph of the question; its button saves it as a picture");
    if (graph.classList.contains("js-plotly-plot")) return Plotly.react(graph, traces(question, moment, column), layout);
    // Given once: at each change of its settings plotly draws all anew, and two changes at a time would do so forever.
    return Plotly.newPlot(graph, traces(question, moment, column), layout, {
      displaylogo: false, responsive: true, scrollZoom: false,
      modeBarButtons: [[{
        name: "download", title: "Download picture as SVG", icon: Plotly.Icons.camera,
        click: () => Plotly.downloadImage(graph, { format: "svg", filename, width: graph.clientWidth, height: graph.clientHeight }),
      }]],
    });
  }

  // -- the words ----------------------------------------------------------------------------------------------------

  function showConcepts(question, moment) {
    const place = part("concepts");
    place.replaceChildren();
    if (!moment.values) return;
    const ahead = new Set(moment.frontier);
    const best = question.nodes.map((node, n) => ({ node, n, value: moment.values[n] })).filter((one) => one.value !== null);
    best.sort((a, b) => b.value - a.value);
    const rows = best.slice(0, 5).map(({ node, n, value }) => ({ name: ahead.has(n) ? "ahead" : "", cells: [node.name, said(value), value] }));
    rows.push({ cells: ["all other texts", said(Math.max(0, moment.other)), Math.max(0, moment.other)] });
    const behind = moment.lead ? ` behind “${moment.lead}”` : "";
    place.append(element("h3", `Most probable concepts${behind}`), table(["concept", "p", ""], rows));
  }

  function showLens(question, k, before) {
    const place = part("lens");
    place.replaceChildren();
    if (!question.lens || k < 1 || question.lens.length < k) return;
    // Beside a graph there is room for the thoughts since the slider's last place; otherwise all of them are shown.
    for (let number = question.places ? before + 1 : 1; number <= k; number++) {
      const thought = question.lens[number - 1], block = element("div");
      block.append(element("h3", `Thought ${number} under the output head`));
      block.append(table(["token", "p", "", "nearest word", "cos"], thought.top.map(([token, p], n) => {
        const near = thought.near[n];
        return { cells: [token, said(p), p, near ? near[0] : "", near ? digits(near[1], 2) : ""] };
      })));
      if (thought.results.length) {
        const rows = thought.results.map(([text, step, rank, p]) => ({ cells: [text, String(step), String(rank), digits(p, 3)] }));
        const firsts = thought.results.some(([, , , , whole]) => !whole);
        block.append(element("h3", `Intermediate results there${firsts ? ", by their first tokens" : ""}`), table(["result", "step", "rank", "p"], rows));
      }
      place.append(block);
    }
  }

  function show() {
    const question = data.questions[Number(picker.value)], moment = question.moments[Number(slider.value)], k = moment.k;
    const isNew = data.trained && !data.trained.includes(k);
    part("count").textContent = many(k, "thought") + (isNew ? " (new to the model)" : "");
    slider.setAttribute("aria-valuetext", many(k, "thought"));
    part("text").textContent = moment.text || "(nothing)";
    const verdict = part("verdict");
    verdict.replaceChildren(element("span", moment.correct ? "✓ right" : "✗ wrong", `mark ${moment.correct ? "right" : "wrong"}`));
    if (moment.category) verdict.append(element("span", plain(moment.category), "mark plain"));
    verdict.append(element("span", ` answer: ${moment.answer ?? "none"}; gold: ${question.gold}`));
    part("asked").textContent = `Question ${question.id}: ${question.question}`;
    stage.classList.toggle("alone", !moment.values);
    (moment.values ? stage.after : stage.before).call(stage, part("asked"));
    if (moment.values) {
      drawGraph(question, moment);
      const ranked = moment.values.map((value, n) => [value ?? 0, question.nodes[n].name]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      const told = ranked.map(([value, name]) => `${name} ${said(value)}`).join(", ");
      part("told").textContent = `After ${many(k, "thought")}: ${told}`;
      // The picture is one of plotly's parts; its button is another, and would be lost within an image.
      graph.querySelectorAll(".main-svg").forEach((layer, n) => {
        if (n) return layer.setAttribute("aria-hidden", "true");
        layer.setAttribute("role", "img");
        layer.setAttribute("aria-label", `Graph of the question with the probability of each concept after ${many(k, "thought")}: ${told}`);
      });
    }
    showConcepts(question, moment);
    showLens(question, k, Number(slider.value) ? question.moments[Number(slider.value) - 1].k : 0);
  }

  // -- the controls -------------------------------------------------------------------------------------------------

  let timer = 0;
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "play";
  }
  function move(by) {
    picker.selectedIndex = (picker.selectedIndex + by + picker.options.length) % picker.options.length;
    show();
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    play.textContent = "stop";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, calm ? 2600 : 1500);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  picker.addEventListener("change", () => { stop(); show(); });
  part("before").addEventListener("click", () => move(-1));
  part("after").addEventListener("click", () => move(1));

  document.querySelectorAll(".ticks span").forEach((tick, n) => {
    if (data.trained && !data.trained.includes(data.thoughts[n])) tick.className = "new";
  });
  part("legend").textContent = "Fill and number: probability of the concept as the next one after k thoughts. Orange rim: the nodes that a real path would name next;" +
    " orange arrows lead to them, the wider the more probable. Dark arrows: a shortest way from root (square) to target (hexagon); the other option is a diamond.";

  // Closed parts cannot be opened on paper.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));

  slider.value = 0;
  picker.value = data.first;
  show();
})();
