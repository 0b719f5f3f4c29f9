/* A sheet of EEG as readers know it: derivations from top to bottom, microvolt by millimetre, a scale beside them. */
"use strict";

const hbacSheet = (() => {
  const MM = 96 / 25.4; // pixels of a millimetre, as CSS counts them
  const HEIGHT = 560, GAP = 13; // pixels
  const PEN = 100; // so many pixels a trace may leave its baseline

  /* Rows from top to bottom, each with its baseline in pixels; the EKG always is the last. Those that the
     reader has hidden are left out. */
  function rowsOf(page, montage, hidden) {
    const groups = [...page.montages[montage], [page.ekg]].map((group) => group.filter((row) => !hidden.has(row.name)))
      .filter((group) => group.length);
    const pitch = (HEIGHT - GAP * (groups.length - 1)) / (groups.flat().length + 0.6);
    let y = pitch * 0.9;
    const rows = [];
    for (const group of groups) {
      for (const row of group) { rows.push({ ...row, y }); y += pitch; }
      y += GAP;
    }
    return rows;
  }

  const sizes = (x) => x.filter((value) => !Number.isNaN(value)).map(Math.abs).sort();
  const quantile = (sorted, share) => sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 0;

  /* The EKG's own scale: hardly any of it is to go farther than so many pixels. */
  function ekgScale(page, x, reach = 22) {
    const most = quantile(sizes(x), 0.995);
    return page.ekg_uv_per_mm.find((scale) => most / scale * MM < reach) ?? page.ekg_uv_per_mm.at(-1);
  }

  /* By how much each row is drawn smaller: 1, and more for one that is far larger than the others here and would fill the
     page, as that of a loose electrode. `from` and `to` in samples. */
  function shrunk(page, signals, uvPerMm, from, to) {
    const large = signals.map((x) => quantile(sizes(x.slice(from, to)), 0.9));
    const usual = [...large].sort((a, b) => a - b)[large.length >> 1];
    const pixels = large.map((size) => size / uvPerMm * MM);
    return large.map((size, i) => size > 3 * usual && pixels[i] > PEN / 2 ? page.shrinks.find((by) => pixels[i] / by < PEN / 4) ?? page.shrinks.at(-1) : 1);
  }

  /* The sensitivity for what the experts voted on: the usual one, or, where most rows would cover their neighbours, the
     first at which they do not. */
  function fitting(page, channels, found, choices, usual) {
    const [from, to] = page.central.map((seconds) => Math.round(seconds * page.sfreq)), rows = Object.values(page.montages)[0].flat();
    const large = rows.map((row) => quantile(sizes(hbacEEG.derive(channels, row, found).slice(from, to)), 0.95)).sort((a, b) => a - b);
    const pixels = (uvPerMm) => large[large.length >> 1] / uvPerMm * MM;
    return pixels(usual) < PEN * 0.45 ? usual : choices.find((one) => pixels(one) < PEN * 0.3) ?? choices.at(-1);
  }

  /* A row between two times of its signal; `start` is where on the axis the signal begins. */
  function lineTrace(row, x, uvPerMm, [from, to], pixels, start = 0) {
    const { time, value } = hbacEEG.excerpt(x, from - start, to - start, pixels);
    const perUv = MM / uvPerMm;
    // The axis points down, so that what is negative goes up.
    const y = value.map((uv) => row.y + Math.max(-PEN, Math.min(PEN, uv * perUv)));
    return { type: "scatter", mode: "lines", name: row.name, x: start ? time.map((t) => t + start) : time, y, customdata: value,
      connectgaps: false, line: { color: `var(--${row.side})`, width: 1 },
      hovertemplate: `${row.name}  %{customdata:.0f} µV  %{x:.2f} s<extra></extra>` };
  }

  function scaleBar(page, uvPerMm) {
    const uv = page.bars_uv.find((size) => size / uvPerMm * MM >= 30) ?? page.bars_uv.at(-1);
    const size = uv / uvPerMm * MM, y1 = HEIGHT / 2 + size / 2, y0 = y1 - size;
    return { shape: { type: "line", xref: "paper", x0: 1.015, x1: 1.015, y0, y1, line: { color: "var(--ink)", width: 2 } },
      text: { xref: "paper", x: 1.022, xanchor: "left", y: (y0 + y1) / 2, showarrow: false, text: `${uv} µV`, font: { size: 11 } } };
  }

  /* All rows of a montage: traces for hbac.show, their rows with `shrunk` said, and the EKG's scale in words. A reader's own
     gain for a row takes the place of ours. */
  function draw(page, channels, found, montage, uvPerMm, range, pixels, start = 0, { hidden = new Set(), gains = new Map() } = {}) {
    const rows = rowsOf(page, montage, hidden), signals = rows.map((row) => hbacEEG.derive(channels, row, found));
    const withEkg = rows.at(-1)?.name === page.ekg.name, ekg = withEkg ? ekgScale(page, signals.at(-1)) : 0;
    const [from, to] = range.map((seconds) => Math.round((seconds - start) * page.sfreq));
    const shrinks = shrunk(page, withEkg ? signals.slice(0, -1) : signals, uvPerMm, from, to);
    rows.forEach((row, i) => {
      const by = gains.has(row.name) ? 1 / gains.get(row.name) : shrinks[i] ?? 1;
      shrinks[i] = by;
      row.shrunk = by > 1 ? ` ÷${by}` : by < 1 ? ` ×${1 / by}` : "";
    });
    const traces = rows.map((row, i) => lineTrace(row, signals[i], shrinks[i] * (row.name === page.ekg.name ? ekg : uvPerMm), range, pixels, start));
    return { rows, traces, ekg: !withEkg ? "" : `${ekg < 1000 ? `${ekg} µV` : `${ekg / 1000} mV`}/mm` };
  }

  /* What the layout has for these rows: their names on the axis, bar and EKG's scale at the right of a page wide enough. */
  function axis(page, rows, uvPerMm, ekg, small, inner) {
    const bar = scaleBar(page, uvPerMm);
    const label = (row) => `<span style="color:var(--${row.side})">${row.name}${row.shrunk ?? ""}</span>`;
    return {
      yaxis: { range: [HEIGHT, 0], domain: [1 - HEIGHT / inner, 1], tickmode: "array", tickvals: rows.map((row) => row.y),
        ticktext: rows.map(label), showgrid: false, zeroline: false, automargin: false, ticks: "", tickfont: { size: small ? 9 : 11 } },
      shapes: small ? [] : [bar.shape],
      annotations: small ? [] : [bar.text, { xref: "paper", x: 1.012, xanchor: "left", y: rows.at(-1)?.y ?? 0, showarrow: false,
        text: ekg, font: { size: 10 }, align: "left" }],
    };
  }

  /* Time over the page: a line a second, or every so many on a long page. */
  function timeAxis([from, to]) {
    const each = to - from > 20 ? 5 : to - from > 10 ? 2 : 1;
    return { range: [from, to], dtick: each, tick0: 0, showgrid: true, gridcolor: "var(--second)", gridwidth: 1, zeroline: false,
      automargin: false, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "dot", spikecolor: "var(--muted)",
      minor: { dtick: each > 1 ? 1 : 0.2, tick0: 0, showgrid: true, gridcolor: "var(--fifth)", gridwidth: 1 } };
  }

  return { HEIGHT, draw, axis, timeAxis, fitting };
})();
