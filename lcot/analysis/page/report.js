"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const part = (id) => document.getElementById(id);
  const picker = part("picker"), slider = part("slider"), play = part("play"), graph = part("graph");
  const stage = document.querySelector(".stage");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Numbers that are not finite are null.
  const digits = (p, places) => (p === null ? "none" : p.toFixed(places));
  const said = (p) => (p === null ? "none" : graphNumber(p));
  const plain = (text) => text.replaceAll("_", " ");
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
      const ranked = moment.values.map((value, n) => [value ?? 0, question.nodes[n].name]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      const told = ranked.map(([value, name]) => `${name} ${said(value)}`).join(", ");
      part("told").textContent = `After ${many(k, "thought")}: ${told}`;
      const label = `Graph of the question with the probability of each concept after ${many(k, "thought")}: ${told}`;
      draw = () => drawGraph(graph, question, moment, label, (text) => { part("detail").textContent = text; });
      draw();
      part("detail").textContent = "";
      part("save").onclick = () => {
        const link = element("a");
        link.href = URL.createObjectURL(new Blob([graphFile(graph)], { type: "image/svg+xml" }));
        link.download = `${question.id.replace(/[^\w.-]+/g, "_")}-k${k}.svg`;
        link.click();
        URL.revokeObjectURL(link.href);
      };
    }
    showConcepts(question, moment);
    showLens(question, k, Number(slider.value) ? question.moments[Number(slider.value) - 1].k : 0);
  }

  let draw = () => {};
  let drawnFor = 0; // an observer is told of the element's height too, which drawing changes
  new ResizeObserver(() => {
    if (graph.clientWidth === drawnFor) return;
    drawnFor = graph.clientWidth;
    requestAnimationFrame(() => draw());
  }).observe(graph);

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
