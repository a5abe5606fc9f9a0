// Asks for the fleet every other second, and shows it. Names of devices only ever become text, never markup.

import { curve, topology } from "./draw.js";

const PAUSE = 2000;
const $ = (selector) => document.querySelector(selector);
const number = (digits) => (v) => (v === null || v === undefined ? "" : v.toFixed(digits));
const bytes = (v) => {
  if (v === null || v === undefined) return "";
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (v < 1000 || unit === "GB") return `${unit === "B" ? v.toFixed(0) : v.toFixed(1)} ${unit}`;
    v /= 1000;
  }
};
const ago = (v) => (v === null ? "never" : v < 60 ? `${v.toFixed(0)} s ago` : v < 3600 ? `${(v / 60).toFixed(0)} min ago` : `${(v / 3600).toFixed(1)} h ago`);
let scores = { accuracy_all: "accuracy" }; // of the fleet's task: key -> name
const columns = () => [
  ["id", "device", (v) => v],
  ["round", "round", number(0)],
  ...Object.entries(scores).map(([key, name]) => [key, name, number(3)]),
  ["loss", "loss", number(3)],
  ["consensus_distance", "consensus", number(4)],
  ["timeouts", "timeouts", number(0)],
  ["payload_bytes_sent", "sent", bytes],
  ["memory_mb", "memory", (v) => (v === null ? "" : `${v.toFixed(0)} MB`)],
  ["temperature", "temperature", (v) => (v === null ? "" : `${v.toFixed(0)} \u00b0C`)],
  ["ago", "last seen", ago],
];
const curvesOfFleet = () => ({ ...Object.fromEntries(Object.entries(scores).map(([key, name]) => [key, [name, number(3)]])), loss: ["loss", number(3)], consensus_distance: ["consensus distance", number(4)] });
const curvesOfDevice = () => ({ ...curvesOfFleet(), payload_bytes_sent: ["sent", bytes], memory_mb: ["memory, MB", number(0)], temperature: ["temperature, \u00b0C", number(0)] });

let sorted = { key: "id", down: false };
let before = new Map(); // link -> bytes, at the last refresh
let looked = 0; // when that was, in the dashboard's seconds

function create(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function summary(fleet) {
  const online = fleet.devices.filter((d) => d.online).length;
  const rounds = fleet.devices.map((d) => d.round).filter((r) => r !== null);
  const span = rounds.length ? `round ${Math.min(...rounds)}${Math.min(...rounds) < Math.max(...rounds) ? ` to ${Math.max(...rounds)}` : ""}` : "no round yet";
  const mean = Object.entries(scores).map(([key, name]) => {
    const seen = fleet.devices.map((d) => d[key]).filter((a) => a !== null);
    return seen.length ? `, mean ${name} ${(seen.reduce((a, b) => a + b, 0) / seen.length).toFixed(3)}` : "";
  }).join("");
  $("#fleet").textContent = `${fleet.fleet}${fleet.place ? ` at ${fleet.place}` : ""}`;
  $("#summary").textContent = `${online} of ${fleet.devices.length} devices online, ${span}${mean}`;
  document.title = `${fleet.fleet} - Murmur`;
}

function alarms(fleet) {
  const active = fleet.devices.flatMap((d) => Object.entries(d.alarms).map(([kind, text]) => [d.id, kind, text]));
  $("#alarms").hidden = active.length === 0;
  $("#alarms h2").textContent = `Alarms (${active.length})`;
  $("#alarms ul").replaceChildren(
    ...active.map(([id, kind, text]) => {
      const line = create("li");
      const link = create("a", id, { href: `#/device/${encodeURIComponent(id)}` });
      line.append(create("span", kind, { class: "kind" }), link, ` ${text}`);
      return line;
    }),
  );
}

function links(fleet) {
  const now = new Map(fleet.links.map((l) => [`${l.from} ${l.to}`, l.bytes]));
  const moved = fleet.links.map((l) => ({ ...l, rate: Math.max(0, l.bytes - (before.get(`${l.from} ${l.to}`) ?? l.bytes)) }));
  const seconds = looked && fleet.now > looked ? fleet.now - looked : PAUSE / 1000;
  [before, looked] = [now, fleet.now];
  const total = moved.reduce((sum, l) => sum + l.rate, 0) / seconds;
  $("#traffic").textContent = fleet.links.length ? `${fleet.links.length} directions, ${bytes(total)} a second; a line is as wide as its rate` : "no device reports its links";
  $("#topology").replaceChildren(topology(fleet.devices, moved, bytes));
}

function heading() {
  const row = create("tr");
  for (const [key, title] of columns()) {
    const cell = create("th", undefined, { scope: "col" });
    if (sorted.key === key) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    const button = create("button", title);
    button.onclick = () => {
      sorted = { key, down: sorted.key === key && !sorted.down };
      heading();
      refresh();
    };
    cell.append(button);
    row.append(cell);
  }
  $("#devices thead").replaceChildren(row);
}

function table(fleet) {
  const wanted = $("#filter").value.toLowerCase();
  const shown = fleet.devices.filter((d) => d.id.toLowerCase().includes(wanted));
  const value = (d) => d[sorted.key] ?? -Infinity;
  shown.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sorted.down ? -1 : 1));
  $("#devices tbody").replaceChildren(
    ...shown.map((d) => {
      const row = create("tr");
      for (const [key, , show] of columns()) {
        const cell = create("td", key === "id" ? undefined : show(d[key]), d.online ? {} : { class: "off" });
        if (key === "id") {
          cell.append(create("a", d.id, { href: `#/device/${encodeURIComponent(d.id)}` }));
          const kinds = Object.keys(d.alarms);
          if (kinds.length) cell.append(" ", create("span", kinds.join(", "), { class: "mark" }));
        }
        row.append(cell);
      }
      return row;
    }),
  );
}

function curves(place, known, points) {
  const drawn = Object.entries(known).filter(([key]) => points[key]?.length);
  $(place).replaceChildren(...drawn.map(([key, [title, show]]) => curve(title, points[key], show)));
  if (!drawn.length) $(place).append(create("p", "nothing measured yet", { class: "none" }));
}

function facts(place, pairs) {
  $(place).replaceChildren(
    ...pairs.map(([name, value]) => {
      const row = create("tr");
      row.append(create("td", name), create("td", value));
      return row;
    }),
  );
}

function device(about, writable) {
  $("#name").textContent = about.id;
  const kinds = Object.entries(about.alarms).map(([kind, text]) => `${kind}: ${text}`);
  $("#state").textContent = [about.online ? "online" : "offline", `last seen ${ago(about.ago)}`, ...kinds].join(" \u00b7 ");
  $("#actions").hidden = !writable;
  curves("#own-curves", curvesOfDevice(), about.curves);
  const sent = Object.entries(about.row).filter(([key]) => key.startsWith("sent_to/"));
  facts("#neighbours tbody", sent.map(([key, value]) => [key.slice("sent_to/".length), bytes(value)]));
  const rest = Object.entries(about.row).filter(([key]) => !key.startsWith("sent_to/"));
  facts("#row tbody", rest.map(([key, value]) => [key, Number.isInteger(value) ? String(value) : value.toPrecision(5)]));
}

function chosen() {
  const match = /^#\/device\/(.+)$/.exec(location.hash);
  return match ? decodeURIComponent(match[1]) : null;
}

async function ask(path) {
  const answer = await fetch(path);
  return answer.ok ? answer.json() : null;
}

async function refresh() {
  const id = chosen();
  $("#whole").hidden = id !== null;
  $("#one").hidden = id === null;
  try {
    const fleet = await ask("api/fleet");
    scores = fleet.scores;
    summary(fleet);
    if (id === null) {
      alarms(fleet);
      links(fleet);
      curves("#curves", curvesOfFleet(), fleet.curves);
      table(fleet);
    } else {
      const about = await ask(`api/devices/${encodeURIComponent(id)}`);
      if (about && id === chosen()) device(about, fleet.writable);
      else if (!about) $("#state").textContent = `no device ${id} is known`;
    }
  } catch {
    $("#summary").textContent = "the dashboard does not answer; is it still running?";
  }
}

for (const button of document.querySelectorAll("#actions button")) {
  button.onclick = async () => {
    const answer = await fetch(`api/devices/${encodeURIComponent(chosen())}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${$("#token").value}` },
      body: JSON.stringify({ do: button.dataset.do }),
    });
    const result = await answer.json();
    $("#answer").textContent = result.error ?? "done";
    if (answer.ok && button.dataset.do === "forget") location.hash = "#/";
    refresh();
  };
}
$("#filter").oninput = refresh;
window.onhashchange = refresh;
heading();
refresh();
setInterval(refresh, PAUSE);
