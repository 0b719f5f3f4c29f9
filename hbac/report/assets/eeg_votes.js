/* What the experts voted and what each member predicted, as horizontal bars. */
"use strict";

const hbacVotes = (() => {
  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  function bar(share, colour, name) {
    const track = element("span", `eeg-bar ${name}`);
    const filled = track.appendChild(element("i"));
    filled.style.width = `${100 * share}%`;
    filled.style.background = colour;
    return track;
  }

  /* Class by class, the experts over the first of the predictions. */
  function classes(shown, page) {
    const [name, first] = Object.entries(shown.predictions)[0] ?? [];
    const table = element("div", "eeg-classes");
    page.classes.forEach((key, k) => {
      const share = shown.votes[k], row = table.appendChild(element("div", "eeg-class"));
      row.append(element("span", "", page.class_names[k]));
      const bars = row.appendChild(element("span"));
      bars.append(bar(share, `var(--${key})`, ""));
      if (first) bars.append(bar(first.prob[k], `var(--${key})`, "predicted"));
      const numbers = row.appendChild(element("span", "eeg-numbers"));
      numbers.append(element("span", "", String(Math.round(share * shown.n_votes))));
      if (first) numbers.append(element("span", "muted", first.prob[k].toFixed(2)));
    });
    const who = element("p", "small muted", name ? `Upper bar: votes. Lower bar: ${name}.` : "Votes.");
    return [element("h2", "", `${shown.n_votes} ${shown.n_votes === 1 ? "vote" : "votes"}`), table, who];
  }

  /* One bar of six parts for each who said something. */
  function stacked(name, share, kl, page) {
    const box = element("div", "eeg-member"), head = box.appendChild(element("div", "eeg-head"));
    head.append(element("span", "", name), element("b", "", kl === null ? "" : kl.toFixed(2)));
    const parts = box.appendChild(element("div", "eeg-stack"));
    share.forEach((part, k) => {
      const piece = parts.appendChild(element("i"));
      piece.style.width = `${100 * part}%`;
      piece.style.background = `var(--${page.classes[k]})`;
      piece.title = `${page.class_names[k]} ${part.toFixed(3)}`;
    });
    return box;
  }

  function show(place, shown, page) {
    const members = Object.entries(shown.predictions).map(([name, found]) => stacked(name, found.prob, found.kl, page));
    const heading = element("div", "eeg-head");
    heading.append(element("h2", "", "Predictions"), element("span", "small muted", "KL"));
    place.replaceChildren(...classes(shown, page), heading, stacked("experts", shown.votes, null, page), ...members);
  }

  return { show, element };
})();
