/* A recording from its start to its end: probabilities, events, burden, spectrograms, asymmetry over one axis of time. */
"use strict";

const hbacOverview = (() => {
  const NOTHING = 255; // the code of a step without a prediction
  const MOST_BINS = 1440; // steps beyond that are drawn as means
  const PATTERNS = ["seizure", "lpd", "gpd", "lrda"];

  const two = (value) => String(value).padStart(2, "0");
  /* h:mm:ss from the start of the recording. */
  function clock(seconds) {
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  }

  /* Probabilities of all steps, class by class: Float32Array, NaN where nothing was recorded. */
  async function unpack(page) {
    const content = await hbacEEG.bytes(page.probabilities), n = page.n_steps;
    return page.classes.map((_, k) => Float32Array.from(content.subarray(k * n, (k + 1) * n), (code) => code === NOTHING ? NaN : code / (NOTHING - 1)));
  }

  /* Means over so many steps each: classes, and the share that was not recorded, which together are 1. */
  function binned(probs, size) {
    const n = probs[0].length, nBins = Math.ceil(n / size);
    const means = probs.map(() => new Float32Array(nBins)), missing = new Float32Array(nBins);
    for (let bin = 0; bin < nBins; bin += 1) {
      const first = bin * size, last = Math.min(n, first + size);
      for (let i = first; i < last; i += 1) {
        if (Number.isNaN(probs[0][i])) missing[bin] += 1;
        else probs.forEach((x, k) => { means[k][bin] += x[i]; });
      }
      for (const mean of means) mean[bin] /= last - first;
      missing[bin] /= last - first;
    }
    return { means, missing };
  }

  /* Areas that stand on one another up to 1, what was not recorded hatched; `edges` are one more than there are values. */
  function stack(page, means, missing, edges, yaxis, unit) {
    const x = Array.from(edges, (t) => t / unit), text = Array.from(edges, clock);
    const held = (values) => [...values, values.at(-1) ?? 0];
    const area = { type: "scatter", mode: "lines", x, text, yaxis, stackgroup: yaxis, line: { width: 0, shape: "hv" } };
    const areas = page.classes.map((key, k) => ({ ...area, y: held(means[k]), name: page.class_names[k], fillcolor: `var(--${key})`,
      hovertemplate: `${page.class_names[k]} %{y:.2f}  %{text}<extra></extra>` }));
    const gap = { ...area, y: held(missing), name: "not recorded", fillcolor: "rgba(0,0,0,0)", hovertemplate: "not recorded  %{text}<extra></extra>",
      fillpattern: { shape: "/", fgcolor: "var(--muted)", bgcolor: "var(--panel)", size: 6, solidity: 0.25 } };
    return [...areas, gap];
  }

  /* Running mean of what is on the ictal-interictal continuum, over the steps that were recorded. */
  function burden(page, probs, width) {
    const n = probs[0].length, sum = new Float64Array(n + 1), count = new Float64Array(n + 1);
    const on = PATTERNS.map((key) => probs[page.classes.indexOf(key)]);
    for (let i = 0; i < n; i += 1) {
      const there = !Number.isNaN(on[0][i]);
      sum[i + 1] = sum[i] + (there ? on.reduce((total, x) => total + x[i], 0) : 0);
      count[i + 1] = count[i] + (there ? 1 : 0);
    }
    return Float32Array.from({ length: n }, (_, i) => {
      const first = Math.max(0, i - (width >> 1)), last = Math.min(n, i + (width >> 1) + 1);
      return count[last] > count[first] ? (sum[last] - sum[first]) / (count[last] - count[first]) : NaN;
    });
  }

  function eventBars(page, yaxis, unit) {
    const found = page.classes.map((key, k) => [key, k, page.events.filter((event) => event[2] === k)]).filter(([, , own]) => own.length);
    if (!found.length) return [{ type: "scatter", x: [0], y: [0], yaxis, opacity: 0, hoverinfo: "skip" }]; // an axis needs something
    return found.map(([key, k, own]) => {
      return { type: "bar", orientation: "h", yaxis, width: 0.7, base: own.map(([onset]) => onset / unit), x: own.map(([, duration]) => duration / unit),
        y: own.map(() => k), text: own.map(([onset, duration]) => `${clock(onset)}, ${duration} s`), textposition: "none", name: page.class_names[k],
        marker: { color: `var(--${key})`, line: { color: `var(--${key})`, width: 1.5 } }, hovertemplate: `${page.class_names[k]} %{text}<extra></extra>` };
    });
  }

  function map(page, values, i, yaxis, unit, small) {
    const { rows, low_db: zmin, high_db: zmax, max_hz: maxHz, colours, regions } = page.spectrogram;
    const dx = page.column_s / unit, dy = maxHz / rows;
    return { type: "heatmap", z: values, x0: dx / 2, dx, y0: dy, dy, yaxis, zmin, zmax, colorscale: colours, showscale: i === 0 && !small,
      colorbar: { title: { text: "dB", side: "top" }, thickness: 9, len: 0.3, x: 1.005, xanchor: "left", y: 0.3, outlinewidth: 0, tickfont: { size: 10 } },
      hovertemplate: `${regions[i]}  %{y:.1f} Hz  %{z:.0f} dB<extra></extra>` };
  }

  /* The figure, for hbac.show. `small`: a phone, where names would eat the picture. */
  async function figure(page, probs, small) {
    const unit = page.duration_s > 7200 ? 3600 : 60, size = Math.ceil(page.n_steps / MOST_BINS);
    const { means, missing } = binned(probs, size);
    const edges = Float64Array.from({ length: missing.length + 1 }, (_, i) => Math.min(i * size, page.n_steps) * page.step_s);
    const wide_s = page.duration_s > 3 * 3600 ? 3600 : 600, load = burden(page, probs, Math.round(wide_s / page.step_s));
    const middles = Array.from(missing, (_, bin) => Math.min(page.n_steps - 1, Math.floor((bin + 0.5) * size)));
    const levels = await hbacEEG.spectrogram({ spectrogram: page.levels });
    const rows = [["probability", 170], ["events", 90], ["burden", 80], ...page.spectrogram.regions.map((region) => [region, 62]), ["asymmetry", 100]];
    const between = 12, total = rows.reduce((sum, [, height]) => sum + height + between, -between);
    const axis = (i) => i === 0 ? "y" : `y${i + 1}`;
    const data = [
      ...stack(page, means, missing, edges, axis(0), unit),
      ...eventBars(page, axis(1), unit),
      { type: "scatter", mode: "lines", yaxis: axis(2), x: middles.map((i) => (i + 0.5) * page.step_s / unit), y: middles.map((i) => load[i]),
        connectgaps: false, line: { color: "var(--ink)", width: 1.2 }, name: "burden", hovertemplate: "burden %{y:.2f}<extra></extra>" },
      ...levels.map((values, i) => map(page, values, i, axis(3 + i), unit, small)),
      ...Object.entries(page.asymmetry).map(([band, values], b) => ({ type: "scatter", mode: "lines", yaxis: axis(7), name: band,
        x: values.map((_, i) => (i + 0.5) * page.column_s / unit), y: values, connectgaps: false, line: { color: `var(--series-${b})`, width: 1 },
        hovertemplate: `${band} %{y:.2f}<extra></extra>` })),
    ];
    const top = 8, bottom = 40, layout = { height: total + top + bottom, margin: { t: top, b: bottom, l: small ? 50 : 96, r: small ? 6 : 60 },
      hovermode: "closest", barmode: "overlay", dragmode: "zoom", showlegend: false, shapes: [], annotations: [],
      xaxis: { range: [0, page.duration_s / unit], anchor: axis(7), title: { text: unit === 3600 ? "hours" : "minutes", standoff: 4 }, automargin: false, zeroline: false } };
    let y = total;
    rows.forEach(([name, height], i) => {
      const own = { type: "linear", domain: [(y - height) / total, y / total], automargin: false, fixedrange: true, zeroline: false, tickfont: { size: 10 } };
      y -= height + between;
      const kind = { probability: { range: [0, 1], tickvals: [0, 0.5, 1] }, burden: { range: [0, 1], tickvals: [0, 0.5, 1] },
        events: { range: [4.6, -0.6], tickvals: [0, 1, 2, 3, 4], ticktext: page.class_names.slice(0, -1), showgrid: false },
        asymmetry: { range: [-1, 1], tickvals: [-0.5, 0, 0.5], ticktext: ["left", "0", "right"] } }[name]
        ?? { range: [0, page.spectrogram.max_hz], tickvals: [0, 10], ticktext: small ? [name, "10"] : ["0", "10"], showgrid: false };
      layout[i === 0 ? "yaxis" : `yaxis${i + 1}`] = { ...own, ...kind };
      if (!small && name !== "events") {
        layout.annotations.push({ xref: "paper", x: 0, xshift: -92, xanchor: "left", yref: "paper", y: (own.domain[0] + own.domain[1]) / 2, showarrow: false,
          text: { burden: `burden<br>(${wide_s / 60} min)`, asymmetry: "asym-<br>metry" }[name] ?? name, align: "left", font: { size: 11 } });
      }
    });
    return { spec: { data, layout, config: { displayModeBar: small ? false : "hover" } }, unit };
  }

  return { clock, unpack, stack, figure };
})();
