// Columns, posteriors and detections in, pictures on canvases out. Places are counted in samples since chimed started.

export const RATE = 44100;
export const STEP = 320; // samples; one column of the picture, one posterior
export const BINS = 46;
export const SECONDS = 10;
const SLOTS = 1536; // of the ring: the 1378 that are shown, and what arrives
const SPAN = 1320; // samples that a step has seen
const RANGE = 120, BYTE = 255 / RANGE; // decibels below full scale in a byte, and how many bytes one is
const SHOWN = 62; // decibels from the brightest to the darkest
const QUIETEST = -62; // dBFS; what is brightest is at least this, or silence would glow

// matplotlib's magma in nine colours; on a light page the same, from paper to ink
const MAGMA = [[13, 13, 18], [30, 19, 66], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191]];
const INK = [[250, 249, 246], [253, 236, 214], [254, 205, 160], [252, 157, 110], [238, 99, 93], [196, 62, 113], [136, 39, 125], [78, 24, 110], [24, 12, 52]];

function table(anchors) {
  const colours = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (anchors.length - 1), low = Math.min(Math.floor(place), anchors.length - 2), share = place - low;
    const [r, g, b] = [0, 1, 2].map((k) => Math.round(anchors[low][k] * (1 - share) + anchors[low + 1][k] * share));
    colours[i] = (255 << 24) | (b << 16) | (g << 8) | r; // little-endian, as all that browsers run on
  }
  return colours;
}

// What gets the brightest colour: the level that three in a thousand exceed, in dBFS.
function brightest(levels) {
  const counts = new Uint32Array(256);
  for (const level of levels) counts[level]++;
  let level = 255;
  for (let above = counts[255]; level > 0 && above < levels.length * 0.003; above += counts[--level]);
  return Math.max(QUIETEST, level / BYTE - RANGE + 2);
}

export function decode(base64) {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

// A canvas as sharp as the screen, drawn on in CSS pixels; redraw() is called when its size has changed.
export class Surface {
  constructor(canvas, redraw) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => { this.resize(); redraw(); }).observe(canvas);
    this.resize();
  }
  resize() {
    const ratio = window.devicePixelRatio || 1, { width, height } = this.canvas.getBoundingClientRect();
    this.width = width;
    this.height = height;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.context.setTransform(this.canvas.width / Math.max(1, width), 0, 0, this.canvas.height / Math.max(1, height), 0, 0);
  }
}

export class Spectrogram {
  constructor() {
    this.levels = new Uint8Array(SLOTS * BINS);
    this.at = new Float64Array(SLOTS).fill(-1); // which column lies in a slot
    this.ring = new OffscreenCanvas(SLOTS, BINS);
    this.context = this.ring.getContext("2d");
    this.image = new ImageData(SLOTS, BINS);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.top = QUIETEST;
    this.dark(false);
  }
  clear() {
    this.at.fill(-1);
  }
  dark(is) {
    this.colours = table(is ? MAGMA : INK);
    this.paint();
  }
  // columns: the first one's number in the stream that began at `origin`, and (n, BINS) bytes
  push(origin, first, bytes) {
    const begin = Math.floor(origin / STEP) + first + 1, count = bytes.length / BINS;
    for (let i = 0; i < count; i++) {
      const slot = (begin + i) % SLOTS;
      this.at[slot] = begin + i;
      this.levels.set(bytes.subarray(i * BINS, (i + 1) * BINS), slot * BINS);
      this.column(slot);
    }
    const slot = begin % SLOTS, head = Math.min(count, SLOTS - slot);
    if (head) this.context.putImageData(this.image, 0, 0, slot, 0, head, BINS);
    if (count > head) this.context.putImageData(this.image, 0, 0, 0, 0, count - head, BINS);
  }
  column(slot) {
    for (let bin = 0; bin < BINS; bin++) this.pixels[(BINS - 1 - bin) * SLOTS + slot] = this.shade(this.levels[slot * BINS + bin], this.top);
  }
  shade(level, top) {
    const shade = (level - (top - SHOWN + RANGE) * BYTE) * (255 / (SHOWN * BYTE));
    return this.colours[shade < 0 ? 0 : shade > 255 ? 255 : shade | 0];
  }
  paint() {
    for (let slot = 0; slot < SLOTS; slot++) this.column(slot);
    this.context.putImageData(this.image, 0, 0);
  }
  // Follow the loudness, so that speech has all colours, near the microphone and far from it.
  adjust() {
    const wanted = brightest(this.levels.filter((_, i) => this.at[Math.floor(i / BINS)] >= 0));
    if (Math.abs(wanted - this.top) > 3) {
      this.top = wanted;
      this.paint();
    }
  }
  // The levels of a piece that ends at a sample, (columns, BINS): what is lost is silence.
  piece(end, seconds) {
    const columns = Math.round((seconds * RATE) / STEP), levels = new Uint8Array(columns * BINS), first = Math.round(end / STEP) - columns;
    for (let i = 0; i < columns; i++) {
      const slot = (first + i) % SLOTS;
      if (first + i >= 0 && this.at[slot] === first + i) levels.set(this.levels.subarray(slot * BINS, (slot + 1) * BINS), i * BINS);
    }
    return levels;
  }
  // Such a piece on a canvas of its own, in its own range of loudness.
  drawPiece(surface, levels) {
    const columns = levels.length / BINS, image = new ImageData(columns, BINS), pixels = new Uint32Array(image.data.buffer), top = brightest(levels);
    for (let i = 0; i < levels.length; i++) pixels[(BINS - 1 - (i % BINS)) * columns + Math.floor(i / BINS)] = this.shade(levels[i], top);
    const canvas = new OffscreenCanvas(columns, BINS);
    canvas.getContext("2d").putImageData(image, 0, 0);
    surface.context.imageSmoothingQuality = "high";
    surface.context.drawImage(canvas, 0, 0, surface.width, surface.height);
  }
  // `head`: the sample at the right edge
  draw(surface, head) {
    const { context, width, height } = surface;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    const shown = (SECONDS * RATE) / STEP, last = head / STEP, first = last - shown, scale = width / shown;
    // runs of columns that are there and lie side by side in the ring
    let n = Math.max(0, Math.floor(first));
    while (n <= last) {
      if (this.at[n % SLOTS] !== n) { n++; continue; }
      let end = n + 1;
      while (end <= last && end % SLOTS !== 0 && this.at[end % SLOTS] === end) end++;
      context.drawImage(this.ring, n % SLOTS, 0, end - n, BINS, (n - first) * scale, 0, (end - n) * scale + 0.5, height);
      n = end;
    }
  }
}

// The posteriors of one word, as they came and as the gate sees them: the mean of the last `smoothing`.
export class Posteriors {
  constructor(smoothing) {
    this.smoothing = smoothing;
    this.raw = new Float32Array(SLOTS);
    this.smooth = new Float32Array(SLOTS);
    this.at = new Float64Array(SLOTS).fill(-1);
    this.latest = 0;
  }
  push(origin, first, values) {
    const zero = Math.floor(origin / STEP) + Math.ceil(SPAN / STEP) - 1, begin = zero + first;
    for (let i = 0; i < values.length; i++) {
      const n = begin + i;
      this.raw[n % SLOTS] = values[i] / 65535;
      this.at[n % SLOTS] = n;
      let sum = 0;
      for (let k = n; k > n - this.smoothing && k >= zero && k > n - SLOTS; k--) if (this.at[k % SLOTS] === k) sum += this.raw[k % SLOTS];
      this.smooth[n % SLOTS] = this.latest = sum / this.smoothing;
    }
  }
  // The outline of what is known, in pieces: a lost second is a hole.
  path(values, surface, head, y) {
    const { width } = surface, shown = (SECONDS * RATE) / STEP, last = head / STEP, first = last - shown, scale = width / shown;
    const line = new Path2D(), area = new Path2D();
    let open = false, x = 0;
    for (let n = Math.max(0, Math.ceil(first)); n <= last; n++) {
      const there = this.at[n % SLOTS] === n;
      if (there) {
        x = (n - first) * scale;
        const height = y(values[n % SLOTS]);
        if (open) line.lineTo(x, height); else { line.moveTo(x, height); area.moveTo(x, y(0)); }
        area.lineTo(x, height);
      } else if (open) area.lineTo(x, y(0));
      open = there;
    }
    if (open) area.lineTo(x, y(0));
    return { line, area };
  }
}

export const PAD = 12; // pixels above a posterior of 1 and below 0

// One lane: both curves, what is above the threshold in full colour, what was heard as marks.
export function drawLane(surface, posteriors, threshold, inForce, marks, head, style) {
  const { context, width, height } = surface;
  const y = (value) => PAD + (1 - value) * (height - 2 * PAD);
  context.clearRect(0, 0, width, height);
  context.lineWidth = 1;
  context.strokeStyle = style.rule;
  context.fillStyle = style.soft;
  context.font = "11px system-ui, sans-serif";
  for (const value of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(0, Math.round(y(value)) + 0.5);
    context.lineTo(width, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillText(String(value), 6, y(value) + (value === 1 ? 12 : -4));
  }
  if (Math.abs(inForce - threshold) > 0.00005) {
    context.setLineDash([2, 4]);
    context.strokeStyle = style.soft;
    context.beginPath();
    context.moveTo(0, y(inForce));
    context.lineTo(width, y(inForce));
    context.stroke();
    context.setLineDash([]);
  }
  const raw = posteriors.path(posteriors.raw, surface, head, y), smooth = posteriors.path(posteriors.smooth, surface, head, y);
  context.strokeStyle = style.colour;
  context.fillStyle = style.colour;
  context.globalAlpha = 0.35;
  context.stroke(raw.line);
  context.globalAlpha = 0.16;
  context.fill(smooth.area);
  context.save();
  context.beginPath();
  context.rect(0, 0, width, y(threshold));
  context.clip();
  context.globalAlpha = 0.6;
  context.fill(smooth.area);
  context.restore();
  context.globalAlpha = 1;
  context.lineWidth = 1.8;
  context.lineJoin = "round";
  context.stroke(smooth.line);
  for (const mark of marks) {
    const x = width - ((head - mark.sample) / RATE / SECONDS) * width;
    if (x < -60 || x > width) continue;
    context.fillStyle = style.ink;
    context.fillRect(Math.round(x), 0, 1.5, height);
    context.font = "600 12px system-ui, sans-serif";
    const text = mark.score.toFixed(2), w = context.measureText(text).width + 12;
    const left = x + w > width - 100 ? Math.round(x) - w - 3 : Math.round(x) + 4; // the handle is at the right
    context.beginPath();
    context.roundRect(left, 4, w, 19, 5);
    context.fill();
    context.fillStyle = style.card;
    context.fillText(text, left + 6, 17.5);
  }
}

// What stands over the spectrogram: frequencies, and a line where something was heard.
export function drawOver(surface, marks, head, style) {
  const { context, width, height } = surface;
  context.font = "11px system-ui, sans-serif";
  for (const kilohertz of [2, 4, 6, 8]) {
    const y = height * (1 - kilohertz / ((BINS - 0.5) * RATE / 200 / 1000));
    const text = `${kilohertz} kHz`;
    context.fillStyle = style.card;
    context.globalAlpha = 0.62;
    context.beginPath();
    context.roundRect(4, y - 8, context.measureText(text).width + 8, 16, 4);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = style.ink;
    context.fillText(text, 8, y + 4);
  }
  for (const mark of marks) {
    const x = width - ((head - mark.sample) / RATE / SECONDS) * width;
    if (x < 0 || x > width) continue;
    context.fillStyle = mark.colour;
    context.fillRect(Math.round(x) - 1, 0, 2, height);
  }
}
