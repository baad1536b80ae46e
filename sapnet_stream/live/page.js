"use strict";

const WINDOW_MS = 4000, PERIOD_MS = 1000, PATIENCE_MS = 8000;
// What the source is doing: mood, name, and what to say over the picture.
const STATES = {
  "connecting": ["wait", "Connecting", "Connecting to the camera"],
  "running": ["well", "Live", "Waiting for the first picture"],
  "stalled": ["wait", "Stalled", "The camera has stopped sending"],
  "backing-off": ["bad", "Camera lost", "The camera is not there"],
  "ended": ["wait", "Ended", "The stream has ended"],
  "stuck": ["bad", "Stuck", "No picture comes through"],
  "silent": ["bad", "No answer", "sapnet-stream does not answer"],
  "locked": ["wait", "Locked", "This page needs the token"],
};
const at = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const stage = at("stage"), divider = at("divider"), canvas = at("picture");
const brush = canvas.getContext("2d", {alpha: false});

// Of several cameras the address names one.
const chosen = new URLSearchParams(location.search).get("camera");
const which = chosen === null ? "" : `camera=${encodeURIComponent(chosen)}`;

let token = sessionStorage.getItem("token") || "";
let locked = false, shares = 50, samples = [], pair = null;

// #TOKEN behind the address is sent to nobody, and does not stay there.
function takeToken() {
  if (location.hash.length < 2) return;
  const hash = location.hash.slice(1);
  try { keepToken(decodeURIComponent(hash)); } catch { keepToken(hash); }
  history.replaceState(null, "", location.pathname + location.search);
}

function keepToken(text) {
  token = text;
  sessionStorage.setItem("token", text);
  locked = false;
}

async function ask(path) {
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  const answer = await fetch(path, {headers, signal: AbortSignal.timeout(PATIENCE_MS)});
  if (answer.status === 401) {
    locked = true;
    tell("locked", token ? "That was not the token." : "It was given to sapnet-stream by --token-env or --token-file.");
  }
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

// One pair is asked for at a time, so a slow line shows fewer pictures and not later ones.
async function followPictures() {
  for (let seen = "0"; ; ) {
    try {
      if (locked || document.hidden) {
        await sleep(200);
        continue;
      }
      const answer = await ask(`picture?seen=${seen}&${which}`);
      const body = await answer.blob(), length = Number(answer.headers.get("Before-Bytes"));
      if (!length) continue;
      const next = await Promise.all([body.slice(0, length), body.slice(length)].map((each) => createImageBitmap(each)));
      pair?.forEach((each) => each.close());
      seen = answer.headers.get("Picture-Number");
      pair = next;
      paint();
    } catch {
      await sleep(PERIOD_MS);
    }
  }
}

async function followStatus() {
  for (;;) {
    try {
      if (!locked) report(await (await ask(`status?${which}`)).json());
    } catch {
      samples = [];
      if (!locked) tell("silent", "This page goes on by itself when it does.");
    }
    await sleep(PERIOD_MS);
  }
}

function paint() {
  const [before, after] = pair, {width, height} = before;
  if (canvas.width !== width || canvas.height !== height || divider.hidden) {
    Object.assign(canvas, {width, height});
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.style.maxWidth = `calc(82vh * ${width / height})`;
    divider.hidden = false;
    at("note").hidden = document.body.dataset.mood === "well";
  }
  const edge = Math.round(width * shares / 100);
  brush.drawImage(after, 0, 0);
  if (edge) brush.drawImage(before, 0, 0, edge, height, 0, 0, edge, height);
}

function divide(percent) {
  shares = Math.min(100, Math.max(0, percent));
  divider.style.left = `${shares}%`;
  divider.setAttribute("aria-valuenow", Math.round(shares));
  divider.setAttribute("aria-valuetext", `${Math.round(shares)} % before, the rest after`);
  at("before").style.opacity = shares > 12 ? 1 : 0;
  at("after").style.opacity = shares < 88 ? 1 : 0;
  if (pair) paint();
}

function tell(state, reason) {
  const [mood, name, title] = STATES[state] || ["wait", state, state];
  Object.assign(document.body.dataset, {state, mood});
  document.title = `${name} – sapnet-stream`;
  write("state", name);
  write("title", title);
  write("reason", reason);
  at("door").hidden = state !== "locked";
  at("note").hidden = mood === "well" && pair !== null;
}

// Only what changed, for screen readers read all that is written.
function write(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function report(status) {
  tell(status.state, status.state === "running" ? "" : status.said);
  const now = performance.now();
  // Its counts begin anew with the program.
  if (samples.length && samples.at(-1).status.frames_in > status.frames_in) samples = [];
  samples.push({now, status});
  while (samples.length > 2 && now - samples[1].now >= WINDOW_MS) samples.shift();
  const first = samples[0], seconds = (now - first.now) / 1000;
  const rate = (name) => seconds ? ((status[name] - first.status[name]) / seconds).toFixed(1) : "–";
  write("camera", status.camera);
  links(status.cameras, status.camera);
  write("in", rate("frames_in"));
  write("out", rate("frames_out"));
  write("age", span(status.age_seconds));
  at("age").className = status.age_seconds > status.bound_seconds ? "high" : "";
  write("ages", `99 %: ${span(status.age_p99_seconds)}`);
  write("load", `${Math.round(100 * status.load)} %`);
  at("load").className = status.load > 1.05 ? "high" : "";
  write("takes", `${span(status.frame_seconds)} each`);
  const drops = Object.entries(status.drops || {}).filter(([, count]) => count);
  write("dropped", status.dropped.toLocaleString("en"));
  at("drops").hidden = !drops.length;
  write("drops", drops.map(([why, count]) => `${why.replaceAll("_", " ")}: ${count}`).join(", "));
  write("reconnects", status.reconnects.toLocaleString("en"));
  write("corrupt", status.corrupt ? `${status.corrupt.toLocaleString("en")} corrupt` : "");
  write("way", status.way);
  stages(status.waits, first.status.waits, seconds);
  outputs(status.outputs);
}

function span(seconds) {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

function stages(waits, before, seconds) {
  const items = rows("stages", waits.length, ["span", "div", "span"]);
  waits.forEach(({stage, seconds: total}, number) => {
    const [name, bar, text] = items[number].children;
    const waited = seconds ? Math.min(1, Math.max(0, (total - before[number].seconds) / seconds)) : 1;
    const busy = Math.round(100 * (1 - waited));
    name.textContent = stage;
    bar.className = "bar";
    const fill = bar.firstChild || bar.appendChild(document.createElement("i"));
    fill.style.width = `${busy}%`;
    fill.className = busy > 95 ? "full" : "";
    text.textContent = `waits ${100 - busy} %`;
  });
}

function outputs(all) {
  at("sent").hidden = !all.length;
  const items = rows("outputs", all.length, ["span", "span"]);
  all.forEach(({output, state}, number) => {
    const [name, text] = items[number].children;
    name.textContent = name.title = output;
    text.textContent = state.replace("-", " ");
    text.className = state === "running" ? "" : "high";
  });
}

// To the other cameras, where there are several, and what each is doing.
function links(cameras, shown) {
  at("choice").hidden = cameras.length < 2;
  const items = rows("cameras", cameras.length, ["a"]);
  cameras.forEach(([name, state], number) => {
    const link = items[number].firstChild, [mood, text] = STATES[state] || ["wait", state];
    link.textContent = mood === "well" ? name : `${name}: ${text}`;
    link.href = `?camera=${encodeURIComponent(name)}`;
    link.className = mood;
    link.ariaCurrent = name === shown ? "page" : null;
  });
}

// The rows of a list, as many as are needed.
function rows(id, count, tags) {
  const list = at(id);
  while (list.children.length > count) list.lastChild.remove();
  while (list.children.length < count) {
    const row = list.appendChild(document.createElement("li"));
    tags.forEach((tag) => row.appendChild(document.createElement(tag)));
  }
  return list.children;
}

function drag(event) {
  if (event.type === "pointerdown") {
    if (event.button || divider.hidden || event.target.closest("form")) return;
    stage.setPointerCapture(event.pointerId);
  }
  if (!stage.hasPointerCapture(event.pointerId)) return;
  const box = stage.getBoundingClientRect();
  divide(100 * (event.clientX - box.left) / box.width);
}

stage.addEventListener("pointerdown", drag);
stage.addEventListener("pointermove", drag);
divider.addEventListener("keydown", (event) => {
  const steps = {ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100};
  if (!(event.key in steps)) return;
  event.preventDefault();
  divide(shares + steps[event.key]);
});
at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token").value);
  at("token").value = "";
});
addEventListener("hashchange", takeToken);
takeToken();
divide(shares);
followPictures();
followStatus();
