/* The page of a recording: all of it at once, and below a page of EEG anywhere in it, of which only that is read. */
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const page = hbacEEG.begin(JSON.parse(document.getElementById("recording").textContent));
  const { HEIGHT } = hbacSheet, { clock } = hbacOverview;
  const STRIP = 54, TOP = 26, BOTTOM = 36; // pixels
  const overview = document.getElementById("overview"), figure = document.getElementById("eeg-figure");
  const control = (name) => document.getElementById(`eeg-${name}`), option = (name) => control(name).value;
  const probs = await hbacOverview.unpack(page);
  const span = () => Math.min(Number(option("span")), page.duration_s);
  const state = { from: 0, span: span() };
  let turn = 0; // of two places asked for in haste, the later one is shown
  let drawn; // what the overview was drawn with

  /* Time of day where the page has it. */
  const time = (seconds) => page.start === null ? clock(seconds)
    : `${clock(seconds)} (${new Date(Date.parse(`${page.start}Z`) + 1000 * seconds).toISOString().slice(11, 19)})`;

  async function drawOverview() {
    drawn = await hbacOverview.figure(page, probs, overview.clientWidth < 640);
    overview.style.minHeight = `${drawn.spec.layout.height}px`;
    mark();
    await hbac.show(overview, drawn.spec);
    document.documentElement.dataset.overview = "drawn";
  }

  /* Where in the recording the page of EEG is. */
  function mark() {
    const x = (state.from + span() / 2) / drawn.unit;
    drawn.spec.layout.shapes = [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: "var(--ink)", width: 1, dash: "dot" } }];
    if (overview.classList.contains("js-plotly-plot")) Plotly.relayout(overview, { shapes: hbac.coloured(drawn.spec.layout.shapes) });
  }

  function strip() {
    const { step_s: step } = page, first = Math.max(0, Math.floor(state.from / step)), last = Math.min(page.n_steps, Math.ceil((state.from + span()) / step));
    const part = probs.map((x) => x.subarray(first, last)), missing = Array.from(part[0], (value) => Number.isNaN(value) ? 1 : 0);
    const edges = Float64Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
    return last > first ? hbacOverview.stack(page, part.map((x) => x.map((value) => value || 0)), missing, edges, "y2", 1) : [];
  }

  async function draw() {
    const mine = ++turn, [low, high] = [option("low"), option("high")].map(Number), montage = option("montage");
    const range = [state.from, state.from + span()], small = figure.clientWidth < 640;
    document.documentElement.dataset.eeg = "";
    control("at").value = state.from;
    control("title").textContent = `${time(range[0])} to ${time(range[1])}`;
    control("earlier").disabled = range[0] <= 0;
    control("later").disabled = range[1] >= page.duration_s;
    const last = page.n_tiles - 1, tile = (seconds) => Math.max(0, Math.min(last, Math.floor(seconds / page.tile_s)));
    const tiles = [tile(range[0] - page.margin_s), tile(range[1] + page.margin_s)], start = tiles[0] * page.tile_s;
    let found, channels;
    try {
      found = await hbacEEG.stretch(...tiles);
      channels = await hbacEEG.electrodes(found, low, high, []);
    } catch (error) {
      if (mine === turn) control("said").textContent = error.message;
      return;
    }
    if (mine !== turn) return;
    const uvPerMm = Number(option("sensitivity")), margin = small ? { l: 50, r: 8 } : { l: 78, r: 78 };
    const pixels = Math.max(200, figure.clientWidth - margin.l - margin.r);
    const { rows, traces, ekg } = hbacSheet.draw(page, channels, found, montage, uvPerMm, range, pixels, start);
    const inner = HEIGHT + 10 + STRIP, beside = hbacSheet.axis(page, rows, uvPerMm, ekg, small, inner), axis = hbacSheet.timeAxis(range);
    const uirevision = range.join(" "), every = axis.dtick === 1 && small ? 2 : axis.dtick;
    const ticks = Array.from({ length: Math.floor(span() / every) + 1 }, (_, i) => Math.ceil(range[0] / every) * every + i * every);
    const layout = { height: inner + TOP + BOTTOM, margin: { t: TOP, b: BOTTOM, ...margin }, showlegend: false, hovermode: "closest", dragmode: "zoom", ...beside,
      xaxis: { ...axis, uirevision, anchor: "y2", tickmode: "array", tickvals: ticks, ticktext: ticks.map(clock) }, yaxis: { ...beside.yaxis, uirevision },
      yaxis2: { domain: [0, STRIP / inner], range: [0, 1], fixedrange: true, tickvals: [], zeroline: false, automargin: false } };
    for (const [onset, duration, k] of page.events) {
      if (onset >= range[1] || onset + duration <= range[0]) continue;
      layout.shapes.push({ type: "rect", yref: "paper", x0: Math.max(onset, range[0]), x1: Math.min(onset + duration, range[1]), y0: 1, y1: 1.012,
        line: { width: 0 }, fillcolor: `var(--${page.classes[k]})` });
      layout.annotations.push({ yref: "paper", x: Math.max(onset, range[0]), xanchor: "left", y: 1.008, yanchor: "bottom", showarrow: false, text: page.class_names[k], font: { size: 11 } });
    }
    figure.style.height = `${layout.height}px`;
    await hbac.show(figure, { data: [...traces, ...strip()], layout, config: { displayModeBar: small ? false : "hover" } });
    const smaller = rows.filter((row) => row.shrunk).map((row) => row.name + row.shrunk);
    control("said").textContent = smaller.length ? `Drawn smaller, for it would fill the page: ${smaller.join(", ")}.` : "";
    document.documentElement.dataset.eeg = [montage, low, high, ...range].join(" ");
  }

  function goTo(from, by = "link") {
    state.from = Math.round(10 * Math.max(0, Math.min(page.duration_s - span(), from))) / 10;
    if (by !== "link") history.replaceState(null, "", `#s=${state.from}`);
    for (const link of document.querySelectorAll(".eeg-list a")) {
      const onset = Number(link.dataset.onset), current = onset < state.from + span() && onset + Number(link.dataset.duration) > state.from;
      if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    if (drawn) mark();
    return draw();
  }

  /* Another entry of a control's list, the first again after the last where it goes round. */
  function step(name, by, round = true) {
    const list = control(name), n = list.options.length, at = list.selectedIndex + by;
    list.selectedIndex = round ? (at + n) % n : Math.max(0, Math.min(n - 1, at));
    draw();
  }

  const asked = () => /^#s=(\d+(?:\.\d+)?)$/.exec(location.hash);
  const turnPage = (by) => goTo(state.from + by * span(), "key");
  /* To the next event that is shown in the list, or the one before. */
  function move(by) {
    const onsets = [...document.querySelectorAll(".eeg-list li:not([hidden]) a")].map((link) => Number(link.dataset.onset));
    const lead = page.lead_s, next = by > 0 ? onsets.find((onset) => onset - lead > state.from + 0.1) : onsets.findLast((onset) => onset - lead < state.from - 0.1);
    if (next !== undefined) goTo(next - lead, "key");
  }
  const keys = {
    ArrowRight: (shift) => shift ? move(1) : turnPage(1), ArrowLeft: (shift) => shift ? move(-1) : turnPage(-1),
    ArrowUp: () => step("sensitivity", -1, false), ArrowDown: () => step("sensitivity", 1, false), m: () => step("montage", 1),
  };
  document.addEventListener("keydown", (event) => {
    const choosing = event.target.tagName === "INPUT" || (event.target.tagName === "SELECT" && /Up|Down/.test(event.key));
    if (!(event.key in keys) || choosing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key](event.shiftKey);
  });
  for (const name of ["montage", "low", "high", "sensitivity"]) control(name).addEventListener("change", () => draw());
  control("span").addEventListener("change", () => { // around the same middle
    const middle = state.from + state.span / 2;
    state.span = span();
    goTo(middle - span() / 2, "key");
  });
  control("at").max = Math.max(0, page.duration_s - span());
  control("at").addEventListener("input", () => goTo(Number(option("at")), "slider"));
  for (const [name, act] of Object.entries({ back: () => move(-1), next: () => move(1), earlier: () => turnPage(-1), later: () => turnPage(1) })) {
    control(name).addEventListener("click", act);
  }
  control("class").addEventListener("input", () => {
    for (const item of document.querySelectorAll(".eeg-list li")) item.hidden = option("class") !== "" && item.dataset.class !== option("class");
  });
  window.addEventListener("hashchange", () => { if (asked()) goTo(Number(asked()[1])); });
  document.documentElement.addEventListener("hbac-theme", draw); // names of rows have their colours in their text

  // A click in the overview, which plotly.js tells of only beside a point: pressed and let go at one place.
  let pressed;
  window.addEventListener("pointerdown", (event) => { pressed = overview.contains(event.target) ? [event.clientX, event.clientY] : undefined; }, true);
  window.addEventListener("pointerup", (event) => {
    const axis = overview._fullLayout?.xaxis;
    if (!pressed || !axis || Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 4) return;
    const at = event.clientX - overview.getBoundingClientRect().left - axis._offset;
    if (at >= 0 && at <= axis._length) goTo(axis.p2l(at) * drawn.unit - span() / 2, "click");
  }, true);

  await drawOverview();
  await goTo(asked() ? Number(asked()[1]) : Math.max(0, (page.events[0]?.[0] ?? 0) - page.lead_s));
});
