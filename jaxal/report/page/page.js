"use strict";
const SVG = "http://www.w3.org/2000/svg";

// What a cell sorts by: its first number; words of no number after all numbers.
function worth(cell) {
  const said = cell.textContent.trim();
  const number = parseFloat(said.replace(/^[<+]/, ""));
  if (!Number.isNaN(number)) return [0, number, said];
  return [said === "-" ? 2 : 1, 0, said];
}

function before(a, b) {
  for (let i = 0; i < 2; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a[2].localeCompare(b[2], undefined, { numeric: true });
}

for (const head of document.querySelectorAll("table.sortable th")) {
  head.tabIndex = 0;
  const sort = () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => [worth(row.cells[head.cellIndex]), row]);
    rows.sort((a, b) => (up ? 1 : -1) * before(a[0], b[0]));
    for (const [, row] of rows) body.append(row);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
}

const tip = document.getElementById("tip");

function show(event, lines, picture) {
  tip.replaceChildren();
  if (picture) tip.append(Object.assign(new Image(), { src: picture, alt: "" }));
  tip.append(lines.filter(Boolean).join("\n"));
  tip.style.display = "block";
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.min(event.clientX + 14, innerWidth - box.width - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - box.height - 8) + "px";
}

function dot(map, place, name, radius, fill) {
  const made = document.createElementNS(SVG, "circle");
  made.setAttribute("cx", place[0]);
  made.setAttribute("cy", 1000 - place[1]);
  made.setAttribute("r", radius);
  if (name) made.setAttribute("class", name);
  if (fill) made.setAttribute("fill", fill);
  map.append(made);
  return made;
}

function colour(round, last) {
  if (round === 0) return "#1b1f24";
  const share = last > 1 ? (round - 1) / (last - 1) : 1;
  return `hsl(${45 - 140 * share} ${90 - 30 * share}% ${52 - 7 * share}%)`;
}

function draw(mapped, data) {
  const map = mapped.querySelector(".map");
  const [side, slider, said] = [".side", ".round", "output"].map((one) => mapped.querySelector(one));
  const told = (row) => [data.ids[row], data.texts[row]];
  const bought = () => data.sides[side.value].bought;
  const last = () => Math.max(0, ...bought().map((line) => line[0]));
  const again = () => {
    map.replaceChildren();
    said.textContent = slider.value;
    for (const [row, place] of Object.entries(data.places)) {
      dot(map, place, "pool", 4).onmousemove = (event) => show(event, told(row), data.pictures[row]);
    }
    for (const [round, row, label, score] of bought()) {
      if (round > slider.value || !data.places[row]) continue;
      const lines = [`label ${label}`, round ? `bought for round ${round}` : "initial set"];
      if (score !== null) lines.push(`score ${score.toPrecision(4)}`);
      const made = dot(map, data.places[row], "", 8, colour(round, last()));
      made.onmousemove = (event) => show(event, [...lines, ...told(row)], data.pictures[row]);
    }
  };
  const whole = () => { slider.max = slider.value = last(); again(); };
  side.onchange = whole;
  slider.oninput = again;
  map.onmouseover = (event) => { if (event.target === map) tip.style.display = "none"; };
  map.onmouseleave = () => { tip.style.display = "none"; };
  whole();
}

for (const section of document.querySelectorAll("section")) {
  const data = JSON.parse(section.querySelector("script.rows").textContent);
  for (const picture of section.querySelectorAll("img[data-row]")) {
    const found = data.pictures[picture.dataset.row];
    if (found) picture.src = found; else picture.remove();
  }
  const mapped = section.querySelector(".mapped");
  if (mapped) draw(mapped, data);
}
