/* A second opinion: what the reader says of a window, kept by the browser, saved as a table with a row a vote. */
"use strict";

const hbacOpinion = (() => {
  const key = `hbac-opinions ${location.pathname}`;
  const COLUMNS = ["rater", "label_id", "eeg_id", "patient_id", "time_s", "class", "certainty", "said_at", "crc32"];
  const part = (name) => document.getElementById(`eeg-${name}`);
  let page, shown, told = () => {};
  let said = {}; // label id, to what was said of it

  /* What an earlier visit left; a browser may forbid it on the disk. */
  function remembered() {
    try {
      const found = JSON.parse(window.localStorage.getItem(key) ?? "{}");
      return Object.fromEntries(Object.entries(found).filter(([, one]) => page.classes.includes(one?.class)));
    } catch { return {}; }
  }

  function remember() {
    try { window.localStorage.setItem(key, JSON.stringify(said)); } catch { /* then until the page is closed */ }
  }

  function refresh() {
    const mine = said[shown.label_id], n = Object.keys(said).length;
    for (const button of part("classes").children) button.setAttribute("aria-pressed", String(button.value === mine?.class));
    if (mine) part("certainty").value = mine.certainty;
    part("save").disabled = n === 0;
    part("save").textContent = n ? `save ${n} as csv` : "save as csv";
  }

  /* Says a class of the window that is shown; the same once more takes it back. */
  function say(name) {
    if (said[shown.label_id]?.class === name) delete said[shown.label_id];
    else said[shown.label_id] = { class: name, certainty: Number(part("certainty").value), said_at: new Date().toISOString() };
    remember();
    refresh();
    told();
  }

  const cell = (value) => /[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);

  /* The table; the time is that of what the experts voted on, in seconds of the recording. */
  function csv() {
    const rater = part("rater").value.trim() || "reader", middle = (page.central[0] + page.central[1]) / 2;
    const rows = page.windows.filter((one) => said[one.label_id]).map((one) => {
      const mine = said[one.label_id];
      const checked = [rater, one.label_id, one.eeg_id, mine.class, mine.certainty].join("|"); // rater_votes.py has the same
      return [rater, one.label_id, one.eeg_id, one.patient_id, one.offset_s + middle, mine.class, mine.certainty, mine.said_at, hbacEEG.crc32(checked)];
    });
    return `${[COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `opinions-${(part("rater").value.trim() || "reader").replace(/[^\w-]+/g, "_")}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function show(one) {
    shown = one;
    refresh();
  }

  /* `then` is called whenever something was said. */
  function begin(content, then) {
    page = content;
    said = remembered();
    told = then;
    page.classes.forEach((name, k) => {
      const button = part("classes").appendChild(document.createElement("button"));
      Object.assign(button, { type: "button", value: name, textContent: page.class_names[k], title: String(k + 1) });
      button.addEventListener("click", () => say(name));
    });
    part("certainty").addEventListener("change", () => {
      const mine = said[shown.label_id];
      if (mine) { mine.certainty = Number(part("certainty").value); remember(); }
    });
    part("save").addEventListener("click", save);
    try { part("rater").value = window.localStorage.getItem("hbac-rater") ?? ""; } catch { /* then it is typed again */ }
    part("rater").addEventListener("change", () => {
      try { window.localStorage.setItem("hbac-rater", part("rater").value); } catch { /* as above */ }
    });
  }

  return { begin, show, say, csv, of: (one) => said[one.label_id]?.class };
})();
