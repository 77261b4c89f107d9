// The page: asks for what is new with each block of audio, draws it, and sends what its reader changes.

import { RATE, SECONDS, STEP, BINS, PAD, Surface, Spectrogram, Posteriors, decode, drawLane, drawOver } from "./drawing.js";

const BEFORE = 2.2, AFTER = 0.6; // seconds of a clip around the moment at which the word was certain
const KEPT = 30; // detections, and their clips
const FASTEST = 70; // ms from one question to the next
const QUIET = -80; // dBFS at the left end of the meter
const LAG = 0.12 * RATE; // how far the picture stays behind, so that it flows between two blocks
const HIGHEST = 0.9999;

const $ = (selector, root = document) => root.querySelector(selector);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const still = matchMedia("(prefers-reduced-motion: reduce)");
const night = matchMedia("(prefers-color-scheme: dark)");

let socket = null, number = 0;
const waiting = new Map(); // number of a question -> what to do with its answer
let known = {}; // what the daemon need not send again
let instance; // which daemon that was
let heard = 0, head = 0, flowing = false; // samples: heard, and at the right edge
let lanes = [];
const detections = []; // newest first
let style = {};

const spectrogram = new Spectrogram();
const picture = new Surface($("#spectrogram canvas"), redraw);

// asking

function connect() {
  return new Promise((done, failed) => {
    const address = new URL("live", location.href);
    address.protocol = "ws:";
    socket = new WebSocket(address);
    socket.onopen = done;
    socket.onmessage = (event) => {
      const { id, answer } = JSON.parse(event.data);
      waiting.get(id)?.(answer);
      waiting.delete(id);
    };
    socket.onclose = () => {
      failed(new Error("closed"));
      for (const answer of waiting.values()) answer({ error: "the monitor was closed" });
      waiting.clear();
    };
  });
}

function ask(command, more = {}) {
  return new Promise((done) => {
    if (socket?.readyState !== WebSocket.OPEN) return done({ error: "the monitor was closed" });
    waiting.set(++number, done);
    socket.send(JSON.stringify({ id: number, command, ...more }));
  });
}

function shown() {
  return new Promise((done) => {
    if (!document.hidden) return done();
    document.addEventListener("visibilitychange", () => done(), { once: true });
  });
}

async function follow() {
  for (;;) {
    try {
      await connect();
    } catch {
      trouble("The monitor has ended. Start it again with “chimed monitor”; its address changes each time.");
      await sleep(3000);
      continue;
    }
    while (socket.readyState === WebSocket.OPEN) {
      await shown();
      const begin = performance.now();
      const answer = await ask("window", known);
      if (answer.error) {
        known = {};
        flowing = false;
        trouble(answer.error);
        await sleep(1000);
      } else {
        take(answer);
        await sleep(FASTEST - (performance.now() - begin));
      }
    }
  }
}

// taking

function take(answer) {
  arrived = performance.now();
  trouble(answer.complaint);
  if (answer.instance !== instance) { // another daemon, which counts from zero
    spectrogram.clear();
    for (const lane of lanes) lane.posteriors = new Posteriors(lane.word.smoothing);
    for (const each of detections) each.sample = -1e12;
    head = 0;
    instance = answer.instance;
  }
  if (answer.words) adopt(answer.words);
  heard = answer.heard;
  flowing = answer.listening && !answer.muted;
  const columns = decode(answer.columns[1]), steps = new Uint16Array(decode(answer.steps[1]).buffer);
  spectrogram.push(answer.origin, answer.columns[0], columns);
  const count = steps.length / lanes.length;
  lanes.forEach((lane, i) => lane.posteriors.push(answer.origin, answer.steps[0], steps.subarray(i * count, (i + 1) * count)));
  known = {
    instance,
    origin: answer.origin,
    columns: answer.columns[0] + columns.length / BINS,
    steps: answer.steps[0] + count,
    plan: answer.plan,
    detections: answer.detections,
  };
  for (const each of answer.last ?? []) if (!detections.some((old) => old.time === each.time && old.word === each.word)) add(each);
  for (const each of detections) if (each.wanted && heard >= each.sample + AFTER * RATE) fetchClip(each);
  showState(answer);
  showLevel(answer.level);
  $("#window").classList.toggle("stale", !flowing);
  redraw();
}

function showState({ state, muted, can_mute }) {
  const text = state.charAt(0).toUpperCase() + state.slice(1);
  if ($("#state").textContent !== text) $("#state").textContent = text;
  const mute = $("#mute");
  mute.disabled = !can_mute;
  mute.title = can_mute ? "" : "A recording cannot be muted";
  if (mute.getAttribute("aria-pressed") !== String(muted)) {
    mute.setAttribute("aria-pressed", muted);
    mute.textContent = muted ? "Muted" : "Mute";
  }
}

let peak = QUIET, peakTime = 0, said = 0;
function showLevel(level) {
  const place = (decibels) => Math.min(Math.max((decibels - QUIET) / -QUIET, 0), 1) * 100;
  const now = performance.now(), meter = $("#level");
  if (level !== null && level >= peak) [peak, peakTime] = [level, now];
  else if (now - peakTime > 1500) peak = Math.max(level ?? QUIET, peak - 2.5);
  $(".bar", meter).style.clipPath = `inset(0 ${100 - place(level ?? QUIET)}% 0 0 round 5px)`;
  $(".peak", meter).style.left = `${place(peak)}%`;
  $(".peak", meter).style.opacity = peak > QUIET ? 0.7 : 0;
  if (now - said < 240) return; // figures that can be read
  said = now;
  $(".number", meter).textContent = level === null ? "no sound" : `${level.toFixed(0).replace("-", "−")} dB`;
  meter.setAttribute("aria-valuenow", Math.round(level ?? QUIET));
  meter.setAttribute("aria-valuetext", level === null ? "no sound comes" : `${Math.round(level)} decibels`);
}

function trouble(text) {
  $("#trouble").hidden = !text;
  if (text && $("#trouble").textContent !== text) $("#trouble").textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

let noteTimer = 0;
function note(text) {
  $("#note").textContent = text;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => ($("#note").textContent = ""), 7000);
}

// lanes

class Lane {
  constructor(word, index) {
    this.root = $("#lane").content.cloneNode(true).firstElementChild;
    this.root.style.setProperty("--colour", `var(--c${index % 5})`);
    this.index = index;
    this.posteriors = new Posteriors(word.smoothing);
    $(".word", this.root).textContent = word.word;
    $("canvas", this.root).setAttribute("aria-label", `Posterior of ${word.word}, the last ten seconds`);
    this.handle = $(".handle", this.root);
    this.handle.setAttribute("aria-label", `Threshold of ${word.word}`);
    this.value = $(".value", this.root);
    this.value.setAttribute("aria-label", `Threshold of ${word.word}`);
    this.handle.addEventListener("keydown", (event) => this.key(event));
    this.handle.addEventListener("pointerdown", (event) => this.grab(event));
    this.value.addEventListener("input", () => {
      const value = this.value.valueAsNumber;
      if (value >= 0 && value <= HIGHEST) this.set(value, false);
    });
    this.value.addEventListener("change", () => this.set(this.threshold));
    $(".undo", this.root).addEventListener("click", () => { this.set(this.word.threshold); this.handle.focus(); });
    $(".save", this.root).addEventListener("click", () => this.save());
    this.adopt(word);
  }
  // what the daemon says of the word; a threshold that its reader is about to set stays
  adopt(word) {
    const changed = this.word && this.threshold !== this.word.threshold;
    this.word = word;
    if (this.posteriors.smoothing !== word.smoothing) this.posteriors = new Posteriors(word.smoothing);
    const hours = Object.entries(word.hours).filter(([, hours]) => hours > 0).map(([name, hours]) => `${hours.toFixed(2)} h of ${name}`);
    const measured = [word.tried ? `${word.tried} trials of the word` : "", ...hours].filter(Boolean).join(", ");
    $(".basis", this.root).textContent = word.points.length
      ? `Measured when the model was made${measured ? `, on ${measured}` : ""}. Your voice and your room are others.`
      : "What a threshold gives is not known: this model's file holds no curve (chimed-train evaluate --set-threshold writes one).";
    $(".figures", this.root).hidden = !word.points.length;
    this.set(changed ? this.threshold : word.threshold);
  }
  set(value, write = true) {
    this.threshold = Math.min(Math.max(Math.round(value * 10000) / 10000, 0), HIGHEST);
    const text = String(this.threshold), changed = this.threshold !== this.word.threshold;
    if (write) this.value.value = text;
    $("b", this.handle).textContent = text.length > 4 ? text : this.threshold.toFixed(2);
    this.handle.setAttribute("aria-valuenow", text);
    this.place();
    $(".undo", this.root).disabled = !changed;
    $(".save", this.root).disabled = !changed;
    const { missed, accepts } = figures(this.word.points, this.threshold);
    $(".missed", this.root).textContent = missed;
    $(".accepts", this.root).textContent = accepts;
    this.handle.setAttribute("aria-valuetext", this.word.points.length ? `${text}: ${missed} missed, ${accepts} false accepts an hour` : text);
  }
  place() {
    const { clientHeight } = $(".plot", this.root);
    this.handle.style.top = `${PAD + (1 - this.threshold) * (clientHeight - 2 * PAD)}px`;
  }
  key(event) {
    const fine = event.shiftKey ? 0.001 : 0.01;
    const steps = { ArrowUp: fine, ArrowRight: fine, ArrowDown: -fine, ArrowLeft: -fine, PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1 };
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.set(this.threshold + steps[event.key]);
  }
  grab(event) {
    if (event.button) return;
    const box = $(".plot", this.root).getBoundingClientRect(), room = box.height - 2 * PAD;
    const offset = event.clientY - box.top - PAD - (1 - this.threshold) * room;
    const move = (event) => this.set(Math.round((1 - (event.clientY - box.top - PAD - offset) / room) * 100) / 100);
    this.handle.setPointerCapture(event.pointerId);
    this.handle.addEventListener("pointermove", move);
    const drop = () => this.handle.removeEventListener("pointermove", move);
    this.handle.addEventListener("lostpointercapture", drop, { once: true });
  }
  async save() {
    const wanted = this.threshold;
    $(".save", this.root).disabled = true;
    const answer = await ask("save", { word: this.word.word, threshold: wanted });
    $(".save", this.root).disabled = this.threshold === this.word.threshold;
    note(answer.error ? `Not saved: ${answer.error}` : `Saved in ${answer.file}. chimed listens with a threshold of ${wanted} now.`);
  }
}

// What the model's own curve says of a threshold, in words. Between two of its points it is taken to be straight.
function figures(points, threshold) {
  const nothing = { missed: "–", accepts: "–" };
  if (!points.length) return nothing;
  const next = points.findIndex(([value]) => value >= threshold);
  let row = points.at(-1); // nothing changes above
  if (next === 0 && threshold < points[0][0]) return { missed: "not measured", accepts: "not measured" };
  if (next >= 0) {
    const high = points[next], low = points[Math.max(next - 1, 0)];
    const share = high[0] > low[0] ? (threshold - low[0]) / (high[0] - low[0]) : 1;
    row = high.map((value, i) => (value === null || low[i] === null ? null : low[i] + (value - low[i]) * share));
  }
  const decimals = (value) => (value >= 10 ? 0 : value >= 1 ? 1 : 2);
  return {
    missed: row[1] === null ? "not measured" : `${(row[1] * 100).toFixed(row[1] >= 0.1 ? 0 : 1)} %`,
    accepts: row[2] === null ? "not measured" : row[2] === 0 ? "0" : row[2] < 0.01 ? "< 0.01" : row[2].toFixed(decimals(row[2])),
  };
}

function adopt(words) {
  const same = words.length === lanes.length && words.every((word, i) => word.word === lanes[i].word.word);
  if (same) return lanes.forEach((lane, i) => lane.adopt(words[i]));
  lanes = words.map((word, i) => new Lane(word, i));
  $("#lanes").replaceChildren(...lanes.map((lane) => lane.root));
  document.title = `chimed: ${words.map((word) => word.word).join(", ")}`;
  for (const lane of lanes) {
    lane.surface = new Surface($("canvas", lane.root), () => { lane.place(); redraw(); });
  }
  for (const each of detections) colour(each);
  readStyle();
}

// detections

function colour(detection) {
  const lane = lanes.find((lane) => lane.word.word === detection.word);
  detection.root.style.setProperty("--colour", lane ? `var(--c${lane.index % 5})` : "var(--soft)");
}

function add(detection) {
  const root = (detection.root = $("#detection").content.cloneNode(true).firstElementChild);
  const clock = detection.time.slice(11, 19), play = $(".play", root);
  $("strong", root).textContent = detection.word;
  $("time", root).textContent = clock;
  $("time", root).dateTime = detection.time;
  $("meter", root).value = detection.score;
  $("meter", root).setAttribute("aria-label", `Score ${detection.score.toFixed(2)}`);
  $(".score span", root).textContent = detection.score.toFixed(2);
  play.setAttribute("aria-label", `Play ${detection.word}, ${clock}`);
  play.addEventListener("click", () => toggle(detection));
  colour(detection);
  detection.wanted = detection.sample - BEFORE * RATE > heard - SECONDS * RATE;
  if (!detection.wanted) gone(detection);
  detections.unshift(detection);
  $("#detections").prepend(root);
  $("#none").hidden = true;
  while (detections.length > KEPT) {
    const oldest = detections.pop();
    if (oldest.sound) URL.revokeObjectURL(oldest.sound.src);
    oldest.root.remove();
  }
}

function gone(detection) {
  $(".gone", detection.root).hidden = false;
  $(".gone", detection.root).textContent = "before this page was open";
}

async function fetchClip(detection) {
  detection.wanted = false;
  const begin = Math.round(detection.sample - BEFORE * RATE), end = Math.round(detection.sample + AFTER * RATE);
  const answer = await ask("samples", { from: Math.max(0, begin), to: end });
  if (answer.error || !answer.pcm) return gone(detection);
  const pcm = decode(answer.pcm);
  detection.seconds = pcm.length / 2 / RATE;
  const address = URL.createObjectURL(new Blob([wavHeader(pcm.length), pcm], { type: "audio/wav" }));
  detection.sound = new Audio(address);
  detection.sound.addEventListener("ended", () => playing(detection, false));
  detection.sound.addEventListener("pause", () => playing(detection, false));
  const play = $(".play", detection.root), link = $(".download", detection.root);
  play.disabled = false;
  link.href = address;
  link.download = `${detection.time.slice(0, 19).replaceAll(":", "")}_${detection.word.replace(/[^\w-]+/g, "_")}_${detection.score.toFixed(2)}.wav`;
  link.setAttribute("aria-label", `Download ${detection.word}, ${detection.time.slice(11, 19)}`);
  detection.levels = spectrogram.piece(end, detection.seconds); // they leave the ring
  detection.surface = new Surface($("canvas", detection.root), () => drawClip(detection));
  drawClip(detection);
}

function drawClip(detection) {
  spectrogram.drawPiece(detection.surface, detection.levels);
}

function toggle(detection) {
  const { sound } = detection;
  if (!sound.paused) return sound.pause();
  for (const other of detections) if (other.sound && other !== detection) other.sound.pause();
  sound.currentTime = 0;
  sound.play().then(() => playing(detection, true), (error) => note(`This browser cannot play it: ${error.message}`));
}

const PLAY = "M7 4.5v15l12-7.5z", STOP = "M6.5 6.5h11v11h-11z";
function playing(detection, is) {
  $(".play path", detection.root).setAttribute("d", is ? STOP : PLAY);
  const progress = $(".progress", detection.root);
  progress.style.opacity = is ? 1 : 0;
  if (!is) return;
  const step = () => {
    if (detection.sound.paused) return;
    progress.style.left = `${(detection.sound.currentTime / detection.seconds) * 100}%`;
    requestAnimationFrame(step);
  };
  step();
}

function wavHeader(bytes) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (place, chars) => [...chars].forEach((char, i) => view.setUint8(place + i, char.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, RATE, true); view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, bytes, true);
  return view;
}

// drawing

function readStyle() {
  const read = getComputedStyle(document.documentElement), get = (name) => read.getPropertyValue(name).trim();
  style = { ink: get("--ink"), soft: get("--soft"), rule: get("--rule"), card: get("--card") };
  for (const lane of lanes) lane.style = { ...style, colour: get(`--c${lane.index % 5}`) };
}

function redraw() {
  if (!frame && lanes.length) draw();
}

let frame = 0, last = 0, adjusted = 0, arrived = 0; // ms, all but the first
function draw(now = performance.now()) {
  frame = 0;
  const elapsed = Math.min(now - last, 100) / 1000;
  last = now;
  const wanted = heard - (still.matches ? 0 : LAG);
  if (still.matches || !flowing || Math.abs(wanted - head) > RATE) head = wanted;
  else head += elapsed * RATE + (wanted - head) * Math.min(1, elapsed * 2);
  head = Math.min(head, heard);
  if (now - adjusted > 1000) {
    adjusted = now;
    spectrogram.adjust();
  }
  const marks = detections.map((each) => ({ ...each, colour: lanes.find((lane) => lane.word.word === each.word)?.style.colour ?? style.soft }));
  spectrogram.draw(picture, head);
  drawOver(picture, marks, head, style);
  for (const lane of lanes) {
    drawLane(lane.surface, lane.posteriors, lane.threshold, lane.word.threshold, marks.filter((mark) => mark.word === lane.word.word), head, lane.style);
  }
  // between two blocks the picture flows, unless its reader wants it still
  if (flowing && !still.matches && now - arrived < 400) frame = requestAnimationFrame(draw);
}

$("#mute").addEventListener("click", async () => {
  const muted = $("#mute").getAttribute("aria-pressed") === "true";
  const answer = await ask(muted ? "unmute" : "mute");
  if (answer.error) note(answer.error);
});
function theme() {
  readStyle();
  spectrogram.dark(night.matches);
  for (const each of detections) if (each.levels) drawClip(each);
  redraw();
}
night.addEventListener("change", theme);
theme();
follow();
