// Pictures as SVG: a curve, and the fleet as a circle of devices with their links.

const SPACE = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  const node = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function curve(title, points, show) {
  const [width, height, left, top, bottom] = [420, 130, 46, 22, 20];
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(element("title", {}, `${title} by round`), element("text", { x: 0, y: 13, class: "title" }, title));
  if (points.length === 0) return svg;
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (y0 === y1) [y0, y1] = [y0 - 0.5, y1 + 0.5];
  const x = (v) => left + ((width - left - 8) * (v - x0)) / (x1 - x0 || 1);
  const y = (v) => height - bottom - ((height - bottom - top) * (v - y0)) / (y1 - y0);
  for (const v of [y0, y1]) {
    svg.append(element("line", { class: "axis", x1: left, x2: width - 8, y1: y(v), y2: y(v) }));
    svg.append(element("text", { x: left - 5, y: y(v) + 4, "text-anchor": "end" }, show(v)));
  }
  for (const [v, anchor] of x0 === x1 ? [[x0, "start"]] : [[x0, "start"], [x1, "end"]]) {
    svg.append(element("text", { x: x(v), y: height - 5, "text-anchor": anchor }, String(v)));
  }
  const path = points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("");
  svg.append(element("path", { class: "curve", d: path }));
  const last = points[points.length - 1];
  svg.append(element("text", { class: "title", x: width - 8, y: 13, "text-anchor": "end" }, show(last[1])));
  return svg;
}

// links: [{from, to, bytes, rate}], rate in bytes since the last refresh; drawn as the width of a line, for both directions together.
export function topology(devices, links, words) {
  const size = 460, middle = size / 2, radius = devices.length > 40 ? 215 : 175;
  const svg = element("svg", { viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": "devices and links" });
  const places = new Map();
  devices.forEach((d, i) => {
    const angle = (2 * Math.PI * i) / devices.length - Math.PI / 2;
    places.set(d.id, [middle + radius * Math.cos(angle), middle + radius * Math.sin(angle), angle]);
  });
  for (const { to } of links) if (!places.has(to)) places.set(to, [middle, middle, 0]); // a centre that reports nothing
  const both = new Map();
  for (const link of links) {
    const key = [link.from, link.to].sort().join(" ");
    const sum = both.get(key) || { ...link, bytes: 0, rate: 0 };
    both.set(key, { ...sum, bytes: sum.bytes + link.bytes, rate: sum.rate + link.rate });
  }
  const most = Math.max(1, ...[...both.values()].map((l) => l.rate));
  const thin = Math.min(1, 60 / both.size);
  for (const { from, to, bytes, rate } of both.values()) {
    const [[ax, ay], [bx, by]] = [places.get(from), places.get(to)];
    const share = rate / most;
    const line = element("line", { class: "link", x1: ax, y1: ay, x2: bx, y2: by });
    line.setAttribute("stroke-width", (0.8 + 3.2 * share * Math.max(thin, 0.3)).toFixed(2));
    line.setAttribute("stroke-opacity", (Math.max(0.28, 0.4 * thin) + 0.6 * share * Math.max(thin, 0.4)).toFixed(2));
    line.append(element("title", {}, `${from} - ${to}: ${words(bytes)}`));
    svg.append(line);
  }
  const dot = devices.length > 200 ? 3 : devices.length > 40 ? 5 : 9;
  for (const d of devices) {
    const [x, y, angle] = places.get(d.id);
    const alarmed = Object.keys(d.alarms);
    const link = element("a", { href: `#/device/${encodeURIComponent(d.id)}`, "aria-label": d.id });
    const kind = alarmed.length ? "node alarm" : d.online ? "node" : "node off";
    link.append(element("circle", { class: kind, cx: x, cy: y, r: alarmed.length ? dot * 1.4 : dot }));
    link.append(element("title", {}, [d.id, ...alarmed.map((kind) => `${kind}: ${d.alarms[kind]}`)].join("\n")));
    if (devices.length <= 40) {
      const [tx, ty] = [middle + (radius + 17) * Math.cos(angle), middle + (radius + 17) * Math.sin(angle)];
      const anchor = Math.abs(Math.cos(angle)) < 0.3 ? "middle" : Math.cos(angle) > 0 ? "start" : "end";
      link.append(element("text", { x: tx, y: ty + 4, "text-anchor": anchor }, short(d.id)));
    }
    svg.append(link);
  }
  return svg;
}

function short(id) {
  const name = id.replace(/^device-/, "");
  return name.length > 9 ? `${name.slice(0, 8)}\u2026` : name;
}
