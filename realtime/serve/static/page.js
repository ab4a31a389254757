// The page of one viewer: pictures and numbers come over one WebSocket, newest only. Each picture
// shown is answered with its serial; a page that answers slowly, or is hidden, gets fewer.
"use strict";

const HEAD = 16; // bytes before a picture: serial, frame index (uint32), time it was read (float64)
// Keys that are no letters: what is written on a button, and what assistive software is told.
const KEYS = { space: ["Space", "Space"], left: ["←", "ArrowLeft"], right: ["→", "ArrowRight"], home: ["Home", "Home"] };
const SAMPLES = 240; // a minute, four a second
const $ = (id) => document.getElementById(id);
const pen = $("picture").getContext("2d", { alpha: false });
const newHistory = () => ({ fps: [], latency: [], screen: [], drops: [], stages: [] });
const histories = [newHistory()]; // of the only source, or of all together and then of each
let sources = []; // what is told of each of several
let latest = null; // numbers
let choice = 0; // which of them is looked at, from 1; 0: all
let socket = null;
let frozen = false;
let unseen = []; // serials not answered yet because the page is hidden
let actions = [];
let ended = false;
const shown = { serial: 0, index: -1, read: 0 }; // the picture on the canvas

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => choice && send({ source: choice });
  socket.onmessage = ({ data }) => (typeof data === "string" ? tell(JSON.parse(data)) : show(data));
  socket.onclose = ({ code }) => {
    ended = ended || code === 1001;
    setState(ended ? "ended" : "no connection");
    setMessage(ended ? "The run has ended" : "No connection; trying again");
    $("stage").classList.add("old");
    unseen = [];
    shown.serial = 0;
    sources = [];
    setButtons([]);
    $("screenshot").hidden = $("freeze").hidden = true;
    setTimeout(connect, 2000);
  };
}

async function show(data) {
  const head = new DataView(data, 0, HEAD);
  const serial = head.getUint32(0, true);
  try {
    if (!frozen) {
      const picture = await createImageBitmap(new Blob([new Uint8Array(data, HEAD)], { type: "image/jpeg" }));
      if (!frozen && serial > shown.serial) {
        draw(picture);
        Object.assign(shown, { serial, index: head.getUint32(4, true), read: head.getFloat64(8, true) });
      }
      picture.close();
    }
  } finally {
    unseen.push(serial); // answered also when it could not be shown: the next one may be
    if (!document.hidden) answer();
  }
}

function draw(picture) {
  const canvas = $("picture");
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    $("stage").style.aspectRatio = `${picture.width} / ${picture.height}`;
  }
  pen.drawImage(picture, 0, 0);
  ended = false;
  $("stage").classList.remove("old");
}

function answer() {
  for (const serial of unseen.splice(0)) send({ seen: serial });
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function tell(news) {
  setButtons([...news.buttons.filter((one) => !one.ask), ...news.buttons.filter((one) => one.ask)]);
  $("screenshot").hidden = shown.index < 0;
  sources = news.sources ?? [];
  latest = news;
  if ("fps" in news) {
    if (choice > sources.length) choice = 0; // another run than before
    [news, ...sources].forEach((one, number) => remember((histories[number] ??= newHistory()), one, number === choice ? news.screen_ms : null));
  }
  setView(news);
}

// The newest numbers, of the source that is looked at.
function setView(news) {
  const view = { ...news, ...sources[choice - 1] };
  const paused = news.buttons.some((one) => one.name === "pause" && one.on);
  setState(paused && view.state === "live" ? "paused" : view.state, view.live === false);
  $("source").textContent = view.name ?? view.source ?? "";
  if (!("fps" in news)) return setMessage("Getting ready");
  const waits = !sources.length && news.state !== "live" && news.state !== "ended"; // else it is in the picture
  setMessage(shown.index < 0 ? "Waiting for the first picture" : waits ? news.state : frozen ? "Frozen" : news.note, waits);
  $("stage").classList.toggle("old", waits && shown.index >= 0);
  setNumbers(view);
  setSources(news);
  setPeople(view.people);
  drawCharts(view, histories[choice]);
}

function setState(state, file = false) {
  const text = file && state === "live" ? "running" : state;
  setText("state", text);
  setText("told", text.replace(/ \d+ s\b/, "")); // a screen reader need not count the seconds
  $("state").dataset.kind = kindOf(state);
}

const kindOf = (state) => (state === "live" ? "good" : /^(lost|no conn)/.test(state) ? "bad" : state === "ended" ? "over" : "");

function setMessage(text, silent = false) {
  $("message").ariaLive = silent ? "off" : "polite";
  setText("message", text);
}

// Only what has changed: the rest stays selected, and is not read out again.
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

const rounded = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toFixed(digits));

const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function setNumbers(news) {
  $("fps").textContent = rounded(news.fps, 1);
  $("latency").textContent = rounded(news.latency_ms);
  $("screen").textContent = news.live ? rounded(news.screen_ms) : "–";
  $("dropped").textContent = news.dropped;
  const of = news.of ? ` of ${news.of}` : "";
  const length = news.length_s ? ` of ${minutes(news.length_s)}` : "";
  const done = news.at_s === null ? `${news.frames}${of} frames` : `${minutes(news.at_s)}${length}`;
  const parts = [done, `${news.viewers} ${news.viewers === 1 ? "viewer" : "viewers"}`];
  if (news.failed) parts.push(`${news.failed} failed`);
  if (news.reconnects) parts.push(`${news.reconnects} reconnects`);
  for (const [name, output] of Object.entries(news.outputs)) {
    parts.push(output.error ? `${name}: ${output.error}` : `${name}: ${output.frames} frames`);
  }
  $("counts").textContent = parts.join(" · ");
}

function setPeople(people) {
  $("count").textContent = people.length ? `(${people.length})` : "";
  const rows = [];
  let source;
  for (const person of people) {
    if (person.source !== source) rows.push(makeRow("th", [person.source]));
    source = person.source;
    rows.push(makeRow("td", [person.id ?? "–", person.score.toFixed(2), `${person.joints} of 17`]));
  }
  if (!rows.length) rows.push(makeRow("td", ["nobody in the picture"]));
  $("people").replaceChildren(...rows);
}

// A row of the table of people; a single cell takes its whole width.
function makeRow(tag, texts) {
  const row = document.createElement("tr");
  row.append(...texts.map((text) => Object.assign(document.createElement(tag), { textContent: text })));
  if (texts.length === 1) row.firstChild.colSpan = 3;
  return row;
}

// --- several sources ----------------------------------------------------------------------------

function setSources(news) {
  const names = ["All", ...sources.map((one) => one.name)];
  const buttons = $("sources").getElementsByTagName("button");
  $("several").hidden = !sources.length;
  $("picture").classList.toggle("several", sources.length > 0);
  if (names.join("\n") !== [...buttons].map((button) => button.title).join("\n")) {
    $("sources").replaceChildren(...names.map(makeSource));
  }
  [news, ...sources].forEach((one, number) => {
    buttons[number].setAttribute("aria-pressed", String(number === choice));
    buttons[number].dataset.kind = kindOf(one.state);
    const parts = [`${rounded(one.fps, 1)} fps`];
    if (one.latency_ms !== null) parts.push(`${rounded(one.latency_ms)} ms`);
    if (one.dropped) parts.push(`${one.dropped} dropped`);
    if (one.state !== "live") parts.unshift(one.state);
    buttons[number].querySelector("small").textContent = parts.join(" · ");
  });
}

function makeSource(name, number) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", title: name });
  button.append(Object.assign(document.createElement("span"), { textContent: name }), document.createElement("small"));
  if (number < 10) button.setAttribute("aria-keyshortcuts", String(number));
  button.onclick = () => choose(number);
  item.append(button);
  return item;
}

function choose(number) {
  if (number > sources.length) return;
  choice = number;
  frozen = false;
  $("freeze").setAttribute("aria-pressed", "false");
  $("screenshot").href = choice ? `/screenshot.png?source=${choice}` : "/screenshot.png";
  send({ source: choice });
  setView(latest);
}

// A press on a place in the grid chooses its source, one on a single source all again.
function chooseAt(event) {
  if (!sources.length) return;
  if (choice) return choose(0);
  const [columns, canvas] = [Math.ceil(Math.sqrt(sources.length)), $("picture")];
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height); // the rest is black
  const across = 0.5 + (event.clientX - box.left - box.width / 2) / (scale * canvas.width);
  const down = 0.5 + (event.clientY - box.top - box.height / 2) / (scale * canvas.height);
  if (Math.min(across, down) < 0 || Math.max(across, down) >= 1) return;
  choose(Math.floor(down * Math.ceil(sources.length / columns)) * columns + Math.floor(across * columns) + 1);
}

// Buttons keep their elements, and with them the focus, as long as the same ones are offered.
function setButtons(buttons) {
  const names = (list) => list.map((one) => one.name).join();
  if (names(buttons) !== names(actions)) $("buttons").replaceChildren(...buttons.map(makeButton));
  actions = buttons;
  $("freeze").hidden = buttons.some((one) => one.name === "pause");
  if (frozen && $("freeze").hidden) freeze(); // pressed before it was known that this is a file
  buttons.forEach((action, number) => {
    const button = $("buttons").children[number];
    if ("on" in action) button.setAttribute("aria-pressed", String(action.on));
    const detail = button.querySelector("small");
    if (detail.textContent !== (action.detail ?? "")) detail.textContent = action.detail ?? "";
  });
}

function makeButton(action) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const part = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const [name, shortcut] = KEYS[action.key] ?? [action.key.toUpperCase(), action.key.toUpperCase()];
  button.append(`${action.label} `, part("small", ""), part("kbd", name));
  button.setAttribute("aria-keyshortcuts", shortcut);
  button.classList.toggle("danger", Boolean(action.ask));
  button.onclick = () => act(action);
  return button;
}

function act(action) {
  if (!action.ask) return send({ do: action.name });
  const dialog = $("confirm");
  $("question").textContent = action.ask;
  $("yes").textContent = action.label;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && send({ do: action.name });
  dialog.showModal();
}

function freeze() {
  frozen = !frozen;
  $("freeze").setAttribute("aria-pressed", String(frozen));
  setMessage(frozen ? "Frozen" : "");
}

function fullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen?.();
}

// --- charts -------------------------------------------------------------------------------------

function remember(history, news, screen) {
  const add = (list, value) => {
    list.push(value);
    if (list.length > SAMPLES) list.shift();
  };
  add(history.fps, news.fps);
  add(history.latency, news.latency_ms);
  add(history.screen, news.live ? screen : null);
  add(history.drops, news.dropped_per_s);
  add(history.stages, news.stages);
}

function drawCharts(news, history) {
  if (document.hidden) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  chart("chart-fps", [{ values: history.fps, colour: colour("a"), fill: true }], colour, 10);
  const lines = [
    { values: history.screen, colour: colour("b") },
    { values: history.latency, colour: colour("a"), fill: true },
  ];
  chart("chart-latency", lines, colour, 20);
  chart("chart-drops", [{ values: history.drops, colour: colour("b"), fill: true }], colour, 5);
  drawStages(Object.keys(news.stages), history.stages, colour);
}

function drawStages(names, stages, colour) {
  let below = stages.map(() => 0);
  const layers = names.map((name, number) => {
    below = below.map((height, n) => height + (stages[n][name] ?? 0));
    return { values: below, colour: colour(`s${number % 7}`), fill: true, solid: true };
  });
  chart("chart-stages", layers.reverse(), colour, 10);
  const last = stages.at(-1);
  const items = names.map((name, number) => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("i"), { className: `s${number % 7}` }));
    item.append(`${name} ${rounded(last[name], 1)}`);
    return item;
  });
  $("stages").replaceChildren(...items);
}

// Round number at or above the highest value, at least `least`.
function ceiling(layers, least) {
  const highest = Math.max(least, ...layers.flatMap((layer) => layer.values.map((value) => value ?? 0)));
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= highest * 0.999);
}

function chart(id, layers, colour, least) {
  const canvas = $(id);
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const top = ceiling(layers, least);
  const left = 34;
  const [low, high] = [height - 16, 6];
  const x = (n, count) => width - ((count - 1 - n) / (SAMPLES - 1)) * (width - left);
  const y = (value) => low - (value / top) * (low - high);
  grid(pen, [left, width, low, high], top, colour);
  for (const layer of layers) trace(pen, layer, x, y, low);
}

function grid(pen, [left, right, low, high], top, colour) {
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("soft");
  pen.lineWidth = 1;
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    const y = Math.round(low - share * (low - high)) + 0.5;
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(right, y);
    pen.stroke();
    pen.fillText(String(+(share * top).toPrecision(3)), left - 6, y);
  }
  pen.textBaseline = "alphabetic";
  pen.fillText("now", right, low + 14);
  pen.textAlign = "left";
  pen.fillText("1 min ago", left, low + 14);
}

function trace(pen, layer, x, y, low) {
  const count = layer.values.length;
  let start = 0;
  while (start < count) {
    if (layer.values[start] === null) {
      start += 1;
      continue;
    }
    let end = start;
    while (end + 1 < count && layer.values[end + 1] !== null) end += 1;
    pen.beginPath();
    for (let n = start; n <= end; n += 1) pen.lineTo(x(n, count), y(layer.values[n]));
    pen.strokeStyle = pen.fillStyle = layer.colour;
    pen.lineWidth = 1.75;
    pen.stroke();
    if (layer.fill) {
      pen.lineTo(x(end, count), low);
      pen.lineTo(x(start, count), low);
      pen.globalAlpha = layer.solid ? 1 : 0.16;
      pen.fill();
      pen.globalAlpha = 1;
    }
    start = end + 1;
  }
}

// --- keyboard -----------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("confirm").open) return;
  const key = event.key.toLowerCase();
  const pressing = event.target.closest("button, a") && (key === " " || key === "enter");
  if (pressing) return; // the element with the focus takes these
  const name = { " ": "space", "=": "+", _: "-", arrowleft: "left", arrowright: "right" }[key] ?? key;
  const action = actions.find((one) => one.key === name);
  if (action) act(action);
  else if (key === "s" && !$("screenshot").hidden) $("screenshot").click();
  else if (key === "f") fullscreen();
  else if (key === " " && !$("freeze").hidden) freeze();
  else if (/^\d$/.test(key) && sources.length) choose(Number(key));
  else return;
  event.preventDefault();
});
document.addEventListener("visibilitychange", () => document.hidden || answer());
$("freeze").onclick = freeze;
$("picture").onclick = chooseAt;
$("fullscreen").hidden = !document.fullscreenEnabled;
setState("connecting");
setMessage("Waiting for the first picture");
$("fullscreen").onclick = fullscreen;
connect();
