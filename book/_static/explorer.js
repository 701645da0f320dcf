/* The explorers: a simulated token whose world is known, and tokens of real models.
 *
 * A page places <div class="explorer" data-kind="simulated|real"> with the data as JSON inside.
 * What they compute is in explorer-rules.js; here it is drawn. No dependency, no network.
 */
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const nats = (v) => v.toFixed(2);
  const layers = (n) => (n === 1 ? "1 layer" : n + " layers");
  let count = 0;

  function node(name, attributes, parent, text) {
    const element = document.createElement(name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.appendChild(element);
    return element;
  }

  function shape(name, attributes, parent, text) {
    const element = document.createElementNS(SVG, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  function slider(box, setting, onInput) {
    const id = "explorer-" + ++count;
    const row = node("div", { class: "explorer-slider" }, box);
    node("label", { for: id }, row, setting.label);
    const input = node("input", { type: "range", id, min: setting.min, max: setting.max,
      step: setting.step, value: setting.value }, row);
    const output = node("output", { for: id }, row);
    const unit = setting.step < 1 ? " nats" : setting.unit;
    const show = () => {
      output.textContent = setting.step < 1 ? (+input.value).toFixed(2) : input.value;
      input.setAttribute("aria-valuetext", output.textContent + unit);
    };
    input.addEventListener("input", () => { show(); onInput(); });
    show();
    return () => +input.value;
  }

  function button(box, text, onClick) {
    const element = node("button", { type: "button", class: "explorer-button" }, box, text);
    element.addEventListener("click", onClick);
    return element;
  }

  /* Axes over layers [first, first + n - 1] and nats [0, top], as wide as the page allows. */
  function chart(svg, width, n, first, top) {
    svg.replaceChildren();
    const height = 290, left = 42, right = 14, above = 22, below = 40;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const x = (l) => left + ((width - left - right) * (l + 0.5)) / n;
    const y = (v) => height - below - ((height - above - below) * v) / top;
    const step = [0.1, 0.2, 0.5, 1, 2, 5].find((s) => top / s <= 6) || 10;
    for (let v = 0; v <= top; v += step) {
      shape("line", { class: "ex-grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }, svg);
      shape("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, svg, +v.toFixed(1));
    }
    const every = Math.ceil(n / (width / 40));
    for (let l = n - 1; l >= 0; l -= every)
      shape("text", { x: x(l), y: height - below + 18, "text-anchor": "middle" }, svg, first + l);
    shape("text", { x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, svg, "layer");
    shape("text", { x: 2, y: 12 }, svg, "nats");
    const line = (values, name) => shape("path", { class: name,
      d: values.map((v, l) => (l ? "L" : "M") + x(l).toFixed(1) + " " + y(v).toFixed(1)).join("") }, svg);
    return { x, y, line, height, above, below, half: (width - left - right) / n / 2 };
  }

  function observed(svg, plot, x, lo, stop, steps) {
    shape("rect", { class: "ex-window", x: plot.x(lo) - plot.half, y: plot.above,
      width: plot.x(x.length - 1) - plot.x(lo) + 2 * plot.half,
      height: plot.height - plot.above - plot.below }, svg);
    plot.line(x, "ex-observed");
    const last = x.length - 1, shown = Math.min(steps, last - stop);
    const searched = x.map((v, l) => [v, l]).slice(last - shown);
    shape("path", { class: "ex-search", d: searched.map(([v, l], i) =>
      (i ? "L" : "M") + plot.x(l).toFixed(1) + " " + plot.y(v).toFixed(1)).join("") }, svg);
    x.forEach((v, l) => shape("circle", { class: l >= last - shown ? "ex-dot ex-seen" : "ex-dot",
      cx: plot.x(l), cy: plot.y(v), r: 3.5 }, svg));
    shape("circle", { class: "ex-stop", cx: plot.x(last - shown), cy: plot.y(x[last - shown]), r: 9 }, svg);
  }

  function widthOf(box) {
    const style = getComputedStyle(box);
    return Math.max(240, box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  }

  /* A small generator with a seed (mulberry32), so that a seed is a token. */
  function generator(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  function draw(n, seed) {
    const random = generator(seed);
    return {
      turning: n - 1 - Math.floor(6 * random()),
      falls: Array.from({ length: n }, () => -Math.log(1 - random())),
      noise: Array.from({ length: n }, () => 2 * random() - 1),
    };
  }

  /* G falls by drift * falls[l] onto l up to V*, ends there at the floor, and rises by `rise` after it. */
  function latent(token, floor, drift, rise) {
    const G = token.falls.map(() => floor);
    for (let l = token.turning; l > 0; l--) G[l - 1] = G[l] + drift * token.falls[l];
    for (let l = token.turning + 1; l < G.length; l++) G[l] = G[l - 1] + rise;
    return G;
  }

  function simulated(box, data) {
    const rules = window.layerStopping, sliders = node("div", { class: "explorer-sliders" }, box);
    let token = data.token, seed = 0, steps = Infinity;
    const change = () => { steps = Infinity; render(); };
    const get = Object.fromEntries(data.sliders.map((s) => [s.name, slider(sliders, s, change)]));
    const buttons = node("div", { class: "explorer-buttons" }, box);
    button(buttons, "New token", () => { token = draw(data.token.falls.length, ++seed); change(); });
    const step = button(buttons, "Search step by step", () => {
      steps = steps === Infinity ? 0 : steps + 1;
      render();
    });
    const svg = shape("svg", { role: "img" }, box);
    legend(box, [["latent", "G within the noise"], ["observed", "x, what is read"],
      ["turning", "V*, the turning point"], ["stop", "V̂, where the search is"]]);
    const readout = node("p", { class: "explorer-readout", "aria-live": "polite" }, box);
    const bars = node("dl", { class: "explorer-bars" }, box);

    function render() {
      const eps = get.eps(), K = get.K(), tau = get.tau(), rise = get.rise();
      const G = latent(token, data.floor, get.drift(), rise);
      const x = G.map((v, l) => v + eps * token.noise[l]);
      const n = x.length, lo = rules.start(x, K), stop = rules.search(x, K, tau);
      const proof = rules.certificate(x.slice(lo), eps);
      const rises = token.turning < n - 1 ? rise : Infinity;
      const bound = rules.bound(eps, tau, rises, token.turning >= lo);
      if (steps > n - 1 - stop) steps = Infinity;
      const top = 1.05 * Math.max(...G.map((v) => v + eps));
      const plot = chart(svg, widthOf(box), n, 1, top);
      const up = G.map((v, l) => plot.x(l).toFixed(1) + " " + plot.y(v + eps).toFixed(1));
      const down = G.map((v, l) => plot.x(l).toFixed(1) + " " + plot.y(v - eps).toFixed(1)).reverse();
      shape("path", { class: "ex-band", d: "M" + up.concat(down).join("L") + "Z" }, svg);
      plot.line(G, "ex-latent");
      observed(svg, plot, x, lo, stop, steps);
      const at = [plot.x(token.turning), plot.y(G[token.turning])];
      shape("path", { class: "ex-turning", d: `M${at[0]} ${at[1] - 8}l8 8l-8 8l-8 -8z` }, svg);

      step.textContent = steps === Infinity ? "Search step by step" : "Next step";
      let text;
      if (steps !== Infinity) {
        const here = n - 1 - steps, next = `layer ${here} reads ${nats(x[here - 1])}`;
        text = `Layer ${here + 1} reads ${nats(x[here])}; `;
        if (here === lo) text += "the window ends here: stop.";
        else if (here > stop) text += next + ", lower: go on.";
        else text += next + (tau > 0 ? ", not lower by more than the tolerance: stop." : ", not lower: stop.");
      } else {
        const off = token.turning - stop;
        const where = off === 0 ? "at V*" : `${layers(Math.abs(off))} ${off > 0 ? "below" : "above"} V*`;
        text = `The search stops at layer ${stop + 1}, ${where} (layer ${token.turning + 1}), and loses ` +
          `${nats(G[stop] - G[token.turning])} nats.`;
        if (token.turning < lo) text += " V* lies below the window: A4 fails.";
        if (rises <= 2 * eps) text += " Rises are no larger than 2 εₘₐₓ: A3 fails.";
        else if (rises <= 2 * eps + tau) text += " Rises are no larger than 2 εₘₐₓ + τ: T5 does not apply.";
        if (!proof) text += " No world with A1–A4 explains this trace at this noise: there is no certificate.";
      }
      readout.textContent = text;
      svg.setAttribute("aria-label", "Entropy by layer. " + text);
      const excess = (l) => G[l] - G[token.turning];
      const mean = rules.hedged(x, K, eps).reduce((sum, [l, weight]) => sum + weight * excess(l), 0);
      bar(bars, [["excess, what is lost", excess(stop), "ex-loss"],
        ...(data.hedge ? [["the same for the hedged search, mean over its draws (T7)", mean, "ex-loss"]] : []),
        ["certificate, what the trace proves if A1–A4 hold (T8)", proof ? proof[stop - lo] : null, "ex-proof"],
        [`bound for every trace (${tau > 0 ? "T5" : "T2"})`, bound, "ex-bound"]]);
      Object.assign(box.dataset, { stop, certificate: proof ? proof[stop - lo] : "none",
        excess: excess(stop), hedged: mean, bound: bound === null ? "none" : bound });
    }
    return render;
  }

  function bar(list, rows) {
    const most = Math.max(1e-9, ...rows.map((row) => row[1] || 0));
    list.replaceChildren();
    for (const [label, value, name] of rows) {
      node("dt", {}, list, label);
      const cell = node("dd", {}, list);
      const width = value === null ? 0 : (100 * Math.max(0, value)) / most;
      const track = node("span", { class: "ex-track", "aria-hidden": "true" }, cell);
      node("span", { class: "ex-bar " + name, style: `width:${width.toFixed(1)}%` }, track);
      node("span", { class: "ex-value" }, cell, value === null ? "none" : nats(value));
    }
  }

  function legend(box, entries) {
    const list = node("ul", { class: "explorer-legend" }, box);
    for (const [name, text] of entries) node("li", { class: "key-" + name }, list, text);
  }

  const visible = (text) => text.replace(/ /g, "␣").replace(/\n/g, "⏎");

  function real(box, data) {
    const rules = window.layerStopping, names = Object.keys(data.models);
    const choosers = node("div", { class: "explorer-choosers" }, box);
    const model = select(choosers, "model", names, () => { fill(); render(); });
    const which = select(choosers, "token", [], () => render());
    const buttons = node("div", { class: "explorer-buttons" }, box);
    const move = (by) => () => {
      const n = which.options.length;
      which.selectedIndex = (which.selectedIndex + by + n) % n;
      render();
    };
    button(buttons, "Previous token", move(-1));
    button(buttons, "Next token", move(1));
    const sliders = node("div", { class: "explorer-sliders" }, box);
    const get = Object.fromEntries(data.sliders.map((s) => [s.name, slider(sliders, s, () => render())]));
    const context = node("p", { class: "explorer-context" }, box);
    const svg = shape("svg", { role: "img" }, box);
    legend(box, [["observed", "entropy of the lens"], ["stop", "where the search stops"]]);
    const readout = node("p", { class: "explorer-readout", "aria-live": "polite" }, box);
    const table = node("table", { class: "table explorer-table" }, box);

    function fill() {
      which.replaceChildren();
      data.models[model.value].tokens.forEach((token, i) =>
        node("option", { value: i }, which, `${i + 1}: …${visible(token.before.slice(-14))} → ${visible(token.next)}`));
    }

    function render() {
      const found = data.models[model.value], token = found.tokens[which.selectedIndex];
      const x = token.x, n = x.length, K = get.K(), tau = get.tau(), lo = rules.start(x, K);
      const stop = rules.search(x, K, tau), top = 1.08 * Math.max(...x, 0.2);
      const plot = chart(svg, widthOf(box), n, found.first, top);
      observed(svg, plot, x, lo, stop, Infinity);
      context.replaceChildren();
      node("span", {}, context, "…" + token.before + " ");
      node("mark", {}, context, visible(token.next));
      const says = (l) => `“${visible(token.says[l])}”`;
      const right = (l) => (token.says[l] === token.next ? "right" : "wrong");
      const loss = (l) => -token.logp[l];
      const text = stop === n - 1
        ? `The search stays at layer ${found.first + stop}, which says ${says(stop)}: ${right(stop)}.`
        : `The search stops at layer ${found.first + stop}, ${layers(n - 1 - stop)} back, which says ` +
          `${says(stop)}: ${right(stop)}. The final layer says ${says(n - 1)}: ${right(n - 1)}. ` +
          `Log-loss ${nats(loss(stop))} in place of ${nats(loss(n - 1))} nats.`;
      readout.textContent = text;
      svg.setAttribute("aria-label", "Entropy by layer. " + text);
      const stops = [["final layer", n - 1], [tau > 0 ? "tolerance " + nats(tau) : "search", stop],
        ["guarded 0.5", rules.guarded(x, K, 0.5)], ["patience 1", rules.patience(x, K, 1)],
        ["window minimum", rules.minimum(x, K)], ["forward exit 0.1", rules.forward(x, K, 0.1)],
        ["hindsight", best(token.logp, lo)]];
      rows(table, x.map((v, l) => [found.first + l, nats(v), visible(token.says[l]),
        (100 * token.conf[l]).toFixed(0) + " %", nats(loss(l)),
        stops.filter((s) => s[1] === l).map((s) => s[0]).join(", ")]).reverse(), n - 1 - stop);
      Object.assign(box.dataset, { stop, stops: JSON.stringify(Object.fromEntries(stops)) });
    }
    fill();
    return render;
  }

  /* The layer of the window that gives the true token most; the deepest among ties. */
  function best(logp, lo) {
    let found = logp.length - 1;
    for (let l = found - 1; l >= lo; l--) if (logp[l] > logp[found]) found = l;
    return found;
  }

  function rows(table, body, marked) {
    table.replaceChildren();
    const head = node("tr", {}, node("thead", {}, table));
    ["layer", "entropy", "says", "sure", "log-loss", "rules that stop here"].forEach((title) =>
      node("th", { scope: "col" }, head, title));
    const list = node("tbody", {}, table);
    body.forEach((cells, i) => {
      const row = node("tr", i === marked ? { class: "ex-marked" } : {}, list);
      cells.forEach((cell) => node("td", {}, row, cell));
    });
  }

  function select(box, label, options, onChange) {
    const id = "explorer-" + ++count, row = node("div", { class: "explorer-select" }, box);
    node("label", { for: id }, row, label);
    const element = node("select", { id }, row);
    options.forEach((option) => node("option", { value: option }, element, option));
    element.addEventListener("change", onChange);
    return element;
  }

  function mount(box) {
    const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
    box.querySelectorAll(".explorer-fallback").forEach((element) => element.remove());
    const render = { simulated, real }[box.dataset.kind](box, data);
    render();
    let width = box.clientWidth;
    // The page's own layout settles after this script has run, and its side bars open and close.
    new ResizeObserver(() => {
      if (box.clientWidth !== width) { width = box.clientWidth; render(); }
    }).observe(box);
  }

  const begin = () => document.querySelectorAll(".explorer").forEach(mount);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
