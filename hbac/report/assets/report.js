/* Draws the figures of a page in the colours of its theme, and lets the reader switch both. No module, no fetch:
   neither works from the disk. */
"use strict";

const hbac = (() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 560; // pixels
  const specs = new Map(); // the div of a figure, to what Python wrote

  function remembered() {
    try { return window.localStorage.getItem("hbac-theme"); } catch { return null; }
  }

  function setTheme(theme) {
    root.dataset.theme = theme;
    for (const div of specs.keys()) if (div.classList.contains("js-plotly-plot")) draw(div);
    root.dispatchEvent(new CustomEvent("hbac-theme", { detail: theme }));
  }

  function colour(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }

  /* A copy of plain data in which every "var(--name)" is the colour of that name, in the midst of a text, too. */
  function coloured(value) {
    if (typeof value === "string") return value.replace(/var\((--[\w-]+)\)/g, (_, name) => colour(name));
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner)]));
  }

  function themed(layout) {
    const themedLayout = coloured(layout);
    const ink = colour("--ink"), line = colour("--line"), grid = colour("--grid"), panel = colour("--panel");
    themedLayout.paper_bgcolor = themedLayout.plot_bgcolor = "rgba(0,0,0,0)";
    themedLayout.font = { family: getComputedStyle(document.body).fontFamily, size: 12, ...themedLayout.font, color: ink };
    themedLayout.hoverlabel = { bgcolor: panel, bordercolor: line, font: { color: ink }, namelength: -1 };
    themedLayout.legend = { bgcolor: "rgba(0,0,0,0)", ...themedLayout.legend };
    themedLayout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--accent") };
    themedLayout.uirevision = "kept";
    for (const key of Object.keys(themedLayout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        themedLayout[key] = { gridcolor: grid, zerolinecolor: grid, linecolor: line, tickcolor: line, automargin: true,
          ...themedLayout[key] };
      }
    }
    return themedLayout;
  }

  /* Where names would take the figure's room: the rank alone where there is one, and no more than a word else. */
  function shorten(layout, data) {
    const names = [...new Set(data.flatMap(({ y }) => Array.isArray(y) ? y : []).filter((name) => typeof name === "string"))];
    const short = (name) => /^\d+(?=\s)/.exec(name)?.[0] ?? (name.length > 12 ? `${name.slice(0, 11)}…` : name);
    if (names.length) layout.yaxis = { ...layout.yaxis, tickmode: "array", tickvals: names, ticktext: names.map(short) };
  }

  /* Draws a figure, or draws it again in the colours of today. */
  function draw(div) {
    const spec = specs.get(div);
    const config = { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
      ...spec.config };
    const layout = themed(spec.layout);
    // On a narrow screen a long legend would take the figure's room; what a point is also stands beside the pointer.
    if (div.clientWidth < NARROW && spec.data.length > 8) layout.showlegend = false;
    if (div.clientWidth < NARROW) shorten(layout, spec.data);
    if (root.classList.contains("paper")) layout.width = div.clientWidth; // nothing says when paper has another width
    return Plotly.react(div, coloured(spec.data), layout, config);
  }

  /* Registers a figure: {data, layout, config}. Call again with another spec to change it. */
  function show(div, spec) {
    specs.set(div, spec);
    return draw(div);
  }

  const isHidden = (div) => div.closest("[hidden]") !== null;
  const waitingNow = () => [...document.querySelectorAll(".figure > script")].map((script) => script.parentElement)
    .filter((div) => !specs.has(div) && !isHidden(div));
  const specOf = (div) => JSON.parse(div.querySelector("script").textContent);

  function drawWhereVisible() {
    const waiting = waitingNow();
    const next = () => {
      const div = waiting.shift();
      const below = !div || div.getBoundingClientRect().top > window.innerHeight;
      if (below) root.dataset.opened ??= performance.now(); // milliseconds until the first screen was there
      if (!div) { root.dataset.drawn = "true"; return; }
      if (!specs.has(div)) show(div, specOf(div)); // unless it was printed before it was seen
      // What is seen is drawn at once, the rest when there is time.
      if (below) requestIdleCallback(next, { timeout: 200 }); else setTimeout(next);
    };
    next();
  }

  /* One of several panels: buttons or a list, whose values are the panels' ids. */
  function choose(id) {
    const panel = document.getElementById(id);
    for (const other of panel.parentElement.children) if (other.classList.contains("option")) other.hidden = other !== panel;
    for (const button of panel.parentElement.querySelectorAll(":scope > .choice > button")) {
      button.setAttribute("aria-pressed", String(button.value === id));
    }
    drawWhereVisible();
    for (const div of panel.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(div);
  }

  /* What a cell sorts by: its number where it begins with one, else its text. */
  function value(row, column) {
    const text = row.cells[column].innerText.trim(), number = parseFloat(text.replaceAll(",", "").replace("−", "-"));
    return Number.isNaN(number) ? text : number;
  }

  function compare(one, other) {
    if (one === "" || other === "") return (one === "") - (other === ""); // what is not there comes last
    return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  }

  /* Sorts a table by a column, the other way round the second time. */
  function sort(table, head) {
    const rising = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const keyed = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    keyed.sort(([one], [other]) => one === "" || other === "" ? compare(one, other) : (rising ? 1 : -1) * compare(one, other));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  /* What is shown of a table, as text with commas. */
  function csv(table) {
    const cell = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const rows = [...table.rows].filter((row) => !row.hidden);
    return `${rows.map((row) => [...row.cells].map((one) => cell(one.innerText.trim().replace(/\s*\n\s*/g, " "))).join(",")).join("\r\n")}\r\n`;
  }

  function save(table) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    link.download = `${table.closest("section")?.id ?? "table"}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /* Tables of several rows are sorted by their headings and saved; those with a line a member are filtered together. */
  function furnish() {
    for (const table of document.querySelectorAll(".scroll > table")) {
      if (table.tBodies[0].rows.length < 2) continue;
      for (const head of table.tHead.rows[0].cells) {
        if (!head.textContent.trim()) continue;
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        button.addEventListener("click", () => sort(table, head));
        head.replaceChildren(button);
      }
      if (table.closest(".panel") && !table.closest("details")) {
        const tools = document.createElement("div"), button = tools.appendChild(document.createElement("button"));
        Object.assign(button, { type: "button", textContent: "csv", title: "save this table" });
        tools.className = "tools";
        button.addEventListener("click", () => save(table));
        table.parentElement.before(tools);
      }
    }
    const filter = document.getElementById("members");
    filter?.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      for (const row of document.querySelectorAll("#ranking tbody tr:not(.reference)")) {
        row.hidden = !row.cells[1].innerText.toLowerCase().includes(wanted);
      }
    });
  }

  /* Paper is white and narrow, and takes all that is chosen, seen or not. */
  function setPaper(on) {
    const screen = remembered() ?? (dark.matches ? "dark" : "light");
    root.classList.toggle("paper", on);
    root.dataset.theme = on ? "light" : screen;
    for (const div of on ? waitingNow() : []) specs.set(div, specOf(div));
    for (const div of specs.keys()) {
      if (isHidden(div)) continue;
      div.style.zoom = ""; // of a matrix that is wider than the paper
      if (on && div.parentElement.clientWidth < div.offsetWidth) div.style.zoom = div.parentElement.clientWidth / div.offsetWidth;
      draw(div);
      if (!on) Plotly.Plots.resize(div);
    }
  }

  window.addEventListener("beforeprint", () => setPaper(true));
  window.addEventListener("afterprint", () => setPaper(false));

  root.dataset.theme = remembered() ?? (dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { if (!remembered()) setTheme(dark.matches ? "dark" : "light"); });
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      try { window.localStorage.setItem("hbac-theme", theme); } catch { /* a browser may forbid it on the disk */ }
      setTheme(theme);
    });
    for (const control of document.querySelectorAll(".choice > button")) {
      control.addEventListener("click", () => choose(control.value));
    }
    for (const control of document.querySelectorAll(".choice > select")) {
      control.addEventListener("change", () => choose(control.value));
    }
    furnish();
    drawWhereVisible();
  });

  return { sort, csv, show, colour, coloured };
})();
