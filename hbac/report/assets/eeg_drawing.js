/* What the EEG page draws besides the traces: why the network said so, and the ten minutes around the window. */
"use strict";

const hbacDrawing = (() => {
  const STRIP = 46, BETWEEN = 5, TOP = 26, BOTTOM = 44; // pixels
  const FAINT = 0.55; // of the strongest shade

  /* Behind each row and second, how much its electrodes spoke for the class, or against it. */
  function saliency(found, rows, page) {
    const map = found.saliency.map, order = page.electrodes;
    const shown = rows.filter((row) => row.electrodes.some((name) => order.includes(name)));
    if (!shown.length) return null;
    const z = shown.map((row) => map[0].map((_, s) => row.electrodes.reduce((sum, name) => {
      const e = order.indexOf(name);
      return sum + (e < 0 ? 0 : map[e][s]);
    }, 0)));
    const most = Math.max(...z.flat().map(Math.abs)) || 1;
    const middle = shown.slice(1).map((row, i) => (row.y + shown[i].y) / 2);
    const half = shown.length > 1 ? middle[0] - shown[0].y : 10;
    const parts = (name) => /^#(..)(..)(..)$/.exec(hbac.colour(name)).slice(1).map((part) => parseInt(part, 16)).join(",");
    const [against, towards] = [parts("--negative"), parts("--positive")];
    return { type: "heatmap", z, x0: 0.5 * page.window_s / map[0].length, dx: page.window_s / map[0].length,
      y: [shown[0].y - half, ...middle, shown.at(-1).y + half], zmin: -most, zmax: most, showscale: false, hoverinfo: "skip",
      colorscale: [[0, `rgba(${against},${FAINT})`], [0.5, `rgba(${towards},0)`], [1, `rgba(${towards},${FAINT})`]], name: "saliency" };
  }

  /* The official spectrograms, with the EEG's window and what the experts voted on marked in them. */
  function official(levels, page, narrow) {
    const { regions, rows, columns, column_s: dx, max_hz: maxHz, window, central } = page.official;
    const inner = regions.length * (STRIP + BETWEEN), layout = { height: inner + TOP + BOTTOM, showlegend: false, shapes: [], annotations: [],
      margin: { t: TOP, b: BOTTOM, l: narrow ? 50 : 78, r: narrow ? 8 : 78 }, hovermode: "closest", dragmode: false,
      xaxis: { range: [0, columns * dx], anchor: `y${regions.length}`, dtick: 60, showgrid: false, zeroline: false, automargin: false,
        title: { text: "seconds of the spectrogram", standoff: 6, font: { size: 11 } } } };
    regions.forEach((region, i) => {
      const bottom = (regions.length - 1 - i) * (STRIP + BETWEEN) / inner, axis = `yaxis${i ? i + 1 : ""}`;
      layout[axis] = { domain: [bottom, bottom + STRIP / inner], range: [0, maxHz], tickvals: [0, 10], showgrid: false, zeroline: false,
        automargin: false, tickfont: { size: 10 } };
      layout.annotations.push({ xref: "paper", yref: `y${i ? i + 1 : ""} domain`, x: 0, xshift: narrow ? -22 : -30, xanchor: "right", y: 0.5,
        showarrow: false, text: region, font: { size: 11 } });
    });
    for (const [[x0, x1], width] of [[window, 1], [central, 2]]) {
      layout.shapes.push({ type: "rect", yref: "paper", x0, x1, y0: 0, y1: 1, line: { color: "#ffffff", width: width + 2 } },
        { type: "rect", yref: "paper", x0, x1, y0: 0, y1: 1, line: { color: "#1f5fa8", width } });
    }
    layout.annotations.push({ yref: "paper", x: (central[0] + central[1]) / 2, y: 1, yanchor: "bottom", yshift: 4, showarrow: false,
      text: "this window, and what the experts voted on", font: { size: 11 } });
    const data = levels.map((z, i) => ({ type: "heatmap", z, x0: dx / 2, dx, y0: maxHz / rows / 2, dy: maxHz / rows, yaxis: `y${i ? i + 1 : ""}`,
      zmin: 0, zmax: 254, zsmooth: "fast", showscale: false, colorscale: page.spectrogram.colours, name: regions[i],
      hovertemplate: `${regions[i]}  %{y:.1f} Hz  %{x:.0f} s<extra></extra>` }));
    return { data, layout, config: { displayModeBar: false } };
  }

  return { saliency, official };
})();
