/* The EEG page: one window at a time as readers look at it, the spectrogram under it, votes and predictions beside it. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const page = hbacEEG.begin(JSON.parse(document.getElementById("eeg-index").textContent));
  const { HEIGHT } = hbacSheet;
  const STRIP = 50, BETWEEN = 5, TOP = 28, BOTTOM = 50; // pixels
  const figure = document.getElementById("eeg-figure");
  const control = (name) => document.getElementById(`eeg-${name}`);
  const state = { at: 0, from: page.central[0], span: page.page_s, listed: [],
    hidden: new Set(), gains: new Map(), marks: [], fits: true, fitted: null }; // until the reader chooses a sensitivity, to a window
  const usual = control("sensitivity").value;
  let turn = 0; // of two windows asked for in haste, the later one is shown

  const { element } = hbacVotes;
  const option = (name) => control(name).value;
  const span = () => Number(option("span"));
  const range = () => [state.from, state.from + span()];
  const narrow = () => figure.clientWidth < 640; // a phone, where names and scales must not eat the picture
  const sides = () => narrow() ? { l: 50, r: 8 } : { l: 78, r: 78 };

  function mapTrace(values, i) {
    const { columns, rows, low_db: zmin, high_db: zmax, max_hz: maxHz } = page.spectrogram;
    const dx = page.window_s / columns, dy = maxHz / rows;
    return { type: "heatmap", z: values, x0: 0, dx, y0: dy / 2, dy, yaxis: `y${i + 2}`, zmin, zmax, zsmooth: "fast",
      colorscale: page.spectrogram.colours, showscale: i === 0 && !narrow(), name: page.spectrogram.regions[i],
      colorbar: { title: { text: "dB", side: "top" }, thickness: 9, len: 4 * STRIP + 20, lenmode: "pixels", x: 1.012,
        xanchor: "left", y: 0, yanchor: "bottom", ypad: 0, tickfont: { size: 10 }, outlinewidth: 0 },
      hovertemplate: `${page.spectrogram.regions[i]}  %{y:.1f} Hz  %{x:.1f} s  %{z:.0f} dB<extra></extra>` };
  }

  function layoutOf(rows, uvPerMm, shownEkg) {
    const regions = page.spectrogram.regions, [from, to] = range(), [mark0, mark1] = page.central;
    const inner = HEIGHT + 14 + regions.length * (STRIP + BETWEEN), total = inner + TOP + BOTTOM, small = narrow();
    const uirevision = `${state.at} ${from} ${to}`; // another view forgets where the reader has zoomed to
    const { yaxis, ...beside } = hbacSheet.axis(page, rows, uvPerMm, shownEkg, small, inner);
    const layout = {
      height: total, margin: { t: TOP, b: BOTTOM, ...sides() }, showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "var(--muted)", activecolor: "var(--accent)" }, hovermode: "closest", dragmode: "zoom",
      xaxis: { ...hbacSheet.timeAxis([from, to]), uirevision, anchor: `y${regions.length + 1}`,
        title: { text: "seconds of the window", standoff: 6, font: { size: 11 } } },
      yaxis: { ...yaxis, uirevision },
      ...beside,
    };
    for (const { x } of state.marks) {
      layout.shapes.push({ type: "line", yref: "y domain", x0: x, x1: x, y0: 0, y1: 1, line: { color: "var(--accent)", width: 1.5, dash: "dot" } });
    }
    regions.forEach((region, i) => {
      const bottom = (regions.length - 1 - i) * (STRIP + BETWEEN) / inner;
      layout[`yaxis${i + 2}`] = { domain: [bottom, bottom + STRIP / inner], range: [0, page.spectrogram.max_hz], tickvals: [0, 10],
        showgrid: false, zeroline: false, automargin: false, tickfont: { size: 10 }, ticks: "outside", ticklen: 3 };
      layout.annotations.push({ xref: "paper", yref: `y${i + 2} domain`, x: 0, xshift: small ? -22 : -30, xanchor: "right", y: 0.5, showarrow: false,
        text: `<span style="color:var(${region[0] === "L" ? "--left" : "--right"})">${region}</span>`, font: { size: 11 } });
    });
    const inside = [Math.max(from, mark0), Math.min(to, mark1)], all = from >= mark0 && to <= mark1;
    if (!all && inside[0] < inside[1]) {
      layout.shapes.push({ type: "rect", yref: "paper", x0: inside[0], x1: inside[1], y0: 0, y1: 1, layer: "below",
        line: { width: 0 }, fillcolor: "var(--central)" });
      for (const x of page.central.filter((x) => x > from && x < to)) {
        layout.shapes.push({ type: "line", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: "var(--accent)", width: 1 } });
      }
    }
    const text = all ? "what the experts voted on" : `the experts voted on ${mark0} to ${mark1} s`;
    layout.annotations.push({ yref: "paper", x: (from + to) / 2, y: 1, yanchor: "bottom", yshift: 4, showarrow: false, text, font: { size: 11 } });
    return layout;
  }

  /* The frequencies that the notch takes out: mains, and its harmonics where the window has them. */
  function notched(mains) {
    const chosen = option("notch"), hz = chosen === "auto" ? mains?.hz ?? 0 : Number(chosen);
    return hz === 0 ? [] : mains?.hz === hz ? mains.lines : [hz];
  }

  function said(mains, lines) {
    if (!mains) return lines.length ? `Notch at ${lines[0]} Hz.` : "";
    const others = mains.lines.slice(1);
    return `Mains at ${mains.hz} Hz found${others.length ? `, with harmonics at ${others.sort((a, b) => a - b).join(", ")} Hz` : ""}: `
      + (lines.length ? `notch at ${lines.join(", ")} Hz.` : "the notch is off.");
  }

  async function draw() {
    const mine = ++turn, shown = page.windows[state.at], montage = option("montage");
    const [low, high] = [option("low"), option("high")].map(Number);
    document.documentElement.dataset.eeg = "";
    const place = state.listed.indexOf(state.at);
    control("back").disabled = place <= 0;
    control("next").disabled = place === state.listed.length - 1;
    control("earlier").disabled = state.from <= 0;
    control("later").disabled = state.from + span() >= page.window_s;
    let channels, maps, found, lines, long;
    try {
      found = await hbacEEG.load(shown.label_id);
      lines = notched(found.mains);
      channels = await hbacEEG.electrodes(found, low, high, lines);
      maps = await hbacEEG.spectrogram(found);
      long = await hbacEEG.official(found);
    } catch (error) {
      if (mine === turn) control("said").textContent = error.message;
      return;
    }
    if (mine !== turn) return;
    if (state.fits && state.fitted !== state.at) {
      control("sensitivity").value = hbacSheet.fitting(page, channels, found, [...control("sensitivity").options].map((one) => one.value), usual);
      state.fitted = state.at;
    }
    const uvPerMm = Number(option("sensitivity"));
    const pixels = Math.max(200, figure.clientWidth - sides().l - sides().r);
    const { rows, traces, ekg } = hbacSheet.draw(page, channels, found, montage, uvPerMm, range(), pixels, 0, state);
    const smaller = rows.filter((row) => row.shrunk && !state.gains.has(row.name)).map((row) => row.name + row.shrunk);
    const layout = layoutOf(rows, uvPerMm, ekg);
    const why = option("saliency") === "on" && found.saliency && !veiled(shown) ? [hbacDrawing.saliency(found, rows, page)].filter(Boolean) : [];
    figure.style.height = `${layout.height}px`;
    await hbac.show(figure, { data: [...traces, ...maps.map(mapTrace), ...why], layout, config: { displayModeBar: narrow() ? false : "hover", modeBarButtonsToRemove: ["lasso2d", "select2d", "zoomIn2d", "zoomOut2d", "autoScale2d"] } });
    figure.removeAllListeners("plotly_click");
    figure.on("plotly_click", ({ points }) => mark(points[0]));
    control("long").hidden = !long;
    if (long) {
      const around = hbacDrawing.official(long, page, narrow());
      control("long").style.height = `${around.layout.height}px`;
      hbac.show(control("long"), around);
    }
    control("why").textContent = !why.length ? "" : `Shaded: the seconds and electrodes that spoke for ${className(found.saliency.class)} (blue) or `
      + `against it (orange) in ${page.explained}${page.explained === page.members[0] ? "" : `, not in ${page.members[0]}, which has no network at hand`}: `
      + `integrated gradients, second by second; the strongest of an electrode is ${found.saliency.most} nats.`;
    const hertz = [low ? `low filter ${low} Hz` : "no low filter", high ? `high filter ${high} Hz` : "no high filter"];
    control("settings").textContent = [`${control("montage").selectedOptions[0].text}`, ...hertz, `${uvPerMm} µV/mm`, ekg && `EKG ${ekg}`].filter(Boolean).join(", ");
    const missing = Object.keys(found.gaps);
    control("said").textContent = [said(found.mains, lines),
      state.fits && option("sensitivity") !== usual ? `At ${usual} µV/mm traces would cover one another: ${uvPerMm} µV/mm.` : "",
      option("saliency") === "on" && !found.saliency ? "No saliency: no network that did not learn this window is at hand." : "",
      state.hidden.size ? `Hidden: ${[...state.hidden].join(", ")}.` : "",
      smaller.length ? `Drawn smaller, for it would fill the page: ${smaller.join(", ")}.` : "",
      missing.length ? `Gaps: samples that were not recorded (${missing.join(", ")}).` : ""].filter(Boolean).join(" ");
    document.documentElement.dataset.eeg = [shown.label_id, montage, low, high, lines[0] ?? 0, ...range()].join(" ");
    const next = page.windows[state.listed[place + 1]];
    if (next) hbacEEG.load(next.label_id).catch(() => {}); // said when it is asked for
  }

  const className = (key) => page.class_names[page.classes.indexOf(key)];

  /* Two clicks on traces measure what is between them, a third begins anew. */
  function mark(point) {
    if (typeof point.customdata !== "number") return; // of a spectrogram
    if (state.marks.length === 2) state.marks = [];
    state.marks.push({ x: point.x, uv: point.customdata, name: point.data.name });
    measured();
    draw();
  }

  function measured() {
    const [one, other] = state.marks;
    if (!one) control("measured").textContent = "";
    else if (!other) control("measured").textContent = `${one.name} at ${one.x.toFixed(2)} s: ${one.uv.toFixed(0)} µV. Click a second point to measure.`;
    else {
      const seconds = Math.abs(other.x - one.x);
      control("measured").textContent = `${seconds.toFixed(3)} s, ${seconds ? `${(1 / seconds).toFixed(2)} Hz, ` : ""}`
        + `${Math.abs(other.uv - one.uv).toFixed(0)} µV${one.name === other.name ? ` in ${one.name}` : ` between ${one.name} and ${other.name}`}.`;
    }
  }

  function clear() {
    state.marks = [];
    measured();
    draw();
  }

  function listChannels() {
    const names = page.montages[option("montage")].flat().concat(page.ekg).map((row) => row.name), chosen = option("channel");
    control("channel").replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    showGain();
  }

  function showGain() {
    control("gain").value = String(state.gains.get(option("channel")) ?? 1);
    control("hide").textContent = state.hidden.has(option("channel")) ? "show" : "hide";
  }

  function hide() {
    const name = option("channel");
    if (!state.hidden.delete(name)) state.hidden.add(name);
    showGain();
    draw();
  }

  function everyChannel() {
    state.hidden.clear();
    state.gains.clear();
    showGain();
    draw();
  }

  function show(at) {
    state.at = Math.max(0, Math.min(page.windows.length - 1, at));
    toCentre();
    state.marks = [];
    measured();
    const shown = page.windows[state.at];
    history.replaceState(null, "", `#${shown.label_id}`);
    control("title").textContent = `EEG ${shown.eeg_id}`;
    control("facts").textContent = `label ${shown.label_id}, patient ${shown.patient_id}, `
      + `${shown.offset_s} to ${shown.offset_s + page.window_s} s of the recording; ${shown.why}`;
    control("facts").title = control("facts").textContent;
    for (const button of document.querySelectorAll(".eeg-list button")) {
      const current = Number(button.value) === state.at;
      if (current) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
      if (current) button.scrollIntoView({ block: "nearest" });
    }
    hbacVotes.show(control("votes"), shown, page);
    hbacOpinion.show(shown);
    unveil();
    return draw();
  }

  /* Who reads blind sees what others said of a window once something was said of it. */
  const veiled = (shown) => control("blind").checked && !hbacOpinion.of(shown);
  function unveil() { control("votes").hidden = veiled(page.windows[state.at]); }

  function opined() {
    listWindows();
    unveil();
    draw();
  }

  function goTo(from) { state.from = Math.max(0, Math.min(page.window_s - span(), from)); }
  function toCentre() { goTo((page.central[0] + page.central[1] - span()) / 2); }

  /* Forward or back by a page within the window. */
  function turnPage(by) {
    goTo(state.from + by * span());
    draw();
  }

  /* Another entry of a control's list, the first again after the last where it goes round. */
  function step(name, by, round = true) {
    const list = control(name), n = list.options.length, at = list.selectedIndex + by;
    if (name === "sensitivity") state.fits = false;
    list.selectedIndex = round ? (at + n) % n : Math.max(0, Math.min(n - 1, at));
    if (name === "montage") listChannels();
    draw();
  }

  function help() {
    const keys = control("keys");
    keys.hidden = !keys.hidden;
    control("help").setAttribute("aria-expanded", String(!keys.hidden));
  }

  /* Entropy of the votes in nats: how much the experts disagreed. */
  const dispute = (shown) => -shown.votes.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0);
  const most = (shown) => shown.votes.indexOf(Math.max(...shown.votes));
  /* What the chosen member said of a window; nothing where it did not. */
  const memberSaid = (shown) => shown.predictions[page.members[Number(option("member"))]];
  const klOf = (shown) => memberSaid(shown)?.kl ?? -1;
  const isRight = (shown) => {
    const prob = memberSaid(shown)?.prob;
    return prob === undefined ? "" : prob.indexOf(Math.max(...prob)) === most(shown) ? "right" : "wrong";
  };
  const orders = { kl: (one, other) => klOf(other) - klOf(one), dispute: (one, other) => dispute(other) - dispute(one) };

  /* The windows that the reader wants, in the order that the reader wants. */
  function listWindows() {
    const [only, votes, order] = ["class", "population", "order"].map(option), text = option("search").trim();
    const wanted = (shown) => (only === "" || page.classes[most(shown)] === only) && (votes === "" || shown.populations.includes(votes))
      && (option("right") === "" || isRight(shown) === option("right"))
      && [shown.eeg_id, shown.label_id, shown.patient_id].some((id) => String(id).includes(text));
    state.listed = page.windows.map((_, at) => at).filter((at) => wanted(page.windows[at]));
    if (order in orders) state.listed.sort((one, other) => orders[order](page.windows[one], page.windows[other]));
    const found = [];
    let why, list;
    for (const at of state.listed) {
      const shown = page.windows[at], heading = order in orders ? "" : shown.why, secret = veiled(shown);
      if (heading !== why) {
        why = heading;
        found.push(element("h2", "", why), list = element("ol"));
      }
      const button = list.appendChild(element("li")).appendChild(element("button"));
      button.type = "button";
      button.value = at;
      button.appendChild(element("i")).style.background = secret ? "" : `var(--${page.classes[most(shown)]})`;
      button.append(element("span", "", secret ? "?" : page.class_names[most(shown)]), element("span", "", String(shown.eeg_id)),
        element("span", "muted", `n ${shown.n_votes}`), element("b", "", memberSaid(shown) && !secret ? klOf(shown).toFixed(2) : ""));
      if (hbacOpinion.of(shown)) button.append(element("em", "", `said: ${className(hbacOpinion.of(shown))}`));
      if (at === state.at) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => show(at));
    }
    if (!found.length) found.push(element("p", "muted", "No window is like this."));
    control("windows").replaceChildren(...found);
  }

  /* To the next window of the list, or the one before. */
  function move(by) {
    const at = state.listed[state.listed.indexOf(state.at) + by];
    if (at !== undefined) show(at);
  }

  const keys = {
    ArrowRight: (shift) => shift ? move(1) : turnPage(1), ArrowLeft: (shift) => shift ? move(-1) : turnPage(-1),
    ArrowUp: () => step("sensitivity", -1, false), ArrowDown: () => step("sensitivity", 1, false),
    s: () => step("saliency", 1), h: hide, Escape: () => control("keys").hidden ? clear() : help(),
    ...Object.fromEntries(page.classes.map((name, k) => [String(k + 1), () => hbacOpinion.say(name)])),
    c: () => { toCentre(); draw(); }, n: () => step("notch", 1), b: () => control("blind").click(), "?": help,
    m: (shift) => step("montage", shift ? -1 : 1), f: (shift) => step("high", shift ? -1 : 1), l: (shift) => step("low", shift ? -1 : 1),
  };
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const typing = event.target.matches("[type=text], [type=search]");
    if (typing && /Enter|Escape/.test(key)) event.target.blur(); // then keys are those of the page again
    const choosing = typing || (event.target.matches("select, [type=range]") && /Arrow/.test(key));
    if (!(key in keys) || choosing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[key](event.shiftKey);
  });
  for (const name of ["montage", "low", "high", "notch", "sensitivity", "span", "saliency", "gain", "channel"]) {
    let byHand = false; // after a choice with the mouse, the keys are those of the page again
    control(name).addEventListener("pointerdown", () => { byHand = true; });
    control(name).addEventListener("keydown", () => { byHand = false; });
    control(name).addEventListener("change", () => {
      if (name === "span") { // around the same middle
        goTo(state.from + (state.span - span()) / 2);
        state.span = span();
      }
      if (name === "sensitivity") state.fits = false;
      if (name === "montage") listChannels();
      if (name === "channel") showGain();
      if (name === "gain") state.gains.set(option("channel"), Number(option("gain")));
      if (byHand) control(name).blur();
      draw();
    });
  }
  const buttons = { back: () => move(-1), next: () => move(1), earlier: () => turnPage(-1), later: () => turnPage(1), help,
    hide, all: everyChannel, clear };
  for (const [name, act] of Object.entries(buttons)) control(name).addEventListener("click", act);
  const asked = () => page.windows.findIndex((shown) => `#${shown.label_id}` === location.hash);
  window.addEventListener("hashchange", () => { if (asked() >= 0 && asked() !== state.at) show(asked()); });
  document.documentElement.addEventListener("hbac-theme", draw); // names of rows have their colours in their text
  for (const name of ["class", "population", "order", "search", "member", "right"]) {
    control(name).addEventListener("input", () => {
      listWindows();
      if (state.listed.includes(state.at)) draw(); else if (state.listed.length) show(state.listed[0]); // keeps the place
    });
  }
  control("blind").addEventListener("change", opined);
  if (!page.explained) control("saliency").closest("label").hidden = true;
  listChannels();
  hbacOpinion.begin(page, opined);
  listWindows();
  show(Math.max(0, asked()));
});
