/* Windows as the page needs them: loaded when asked for, unpacked to the step that Python wrote, filtered, brought to a
   montage. The counterpart in Python is eeg_packing.py; the filters are those of scipy.signal. */
"use strict";

const hbacEEG = (() => {
  const waiting = new Map(); // label id, to what to do when its file has arrived
  const loaded = new Map(); // label id, to the promise of its window; the last few only
  const KEPT = 12, KEPT_FILTERS = 3, MISSING = 255;
  let page; // what Python wrote into the page

  /* A file of eeg/ calls this, with the checksum of its content. */
  function arrived(labelId, crc, text) {
    waiting.get(labelId)?.(crc32(`${labelId} ${text}`) === crc ? JSON.parse(text) : null);
    waiting.delete(labelId);
  }

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });

  /* As zlib's. */
  function crc32(text) {
    let crc = -1;
    for (const byte of new TextEncoder().encode(text)) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
    return ~crc >>> 0;
  }

  function load(number) {
    const labelId = String(number);
    if (!loaded.has(labelId)) {
      loaded.set(labelId, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const fail = (why) => {
          loaded.delete(labelId); // another try may find it
          script.remove();
          reject(new Error(`eeg/${labelId}.js ${why}`));
        };
        const damaged = "is damaged: make this page again";
        waiting.set(labelId, (content) => { script.remove(); if (content) resolve(content); else fail(damaged); });
        script.onerror = () => fail("could not be loaded: it belongs beside this page");
        script.onload = () => { if (waiting.delete(labelId)) fail(damaged); }; // it has not arrived
        script.src = `eeg/${labelId}.js`;
        document.head.append(script);
      }).then((content) => ({ ...content, filtered: new Map() })));
      if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    }
    return loaded.get(labelId);
  }

  async function bytes(packed) {
    const zipped = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* Channels in microvolt, one Float32Array each. */
  function unpackSignal(content, steps) {
    const { own, neighbour, shift, neighbours } = page.packing;
    const nLags = own + neighbour, nChannels = steps.length, head = 4 * nChannels * nLags;
    const coefficients = new Int32Array(content.buffer.slice(0, head));
    const size = (content.length - head) / 2, nTimes = size / nChannels;
    const half = 2 ** (shift - 1), unit = 2 ** shift, nothing = new Int16Array(nTimes);
    const channels = [];
    for (let c = 0; c < nChannels; c += 1) {
      const weight = coefficients.subarray(c * nLags, (c + 1) * nLags);
      const x = new Int16Array(nTimes), beside = neighbours[c] < 0 ? nothing : channels[neighbours[c]];
      for (let t = 0; t < nTimes; t += 1) {
        let sum = half;
        for (let lag = 1; lag <= own && lag <= t; lag += 1) sum += weight[lag - 1] * x[t - lag];
        for (let lag = 0; lag < neighbour && lag <= t; lag += 1) sum += weight[own + lag] * beside[t - lag];
        const at = head + c * nTimes + t, zigzag = content[at] | (content[at + size] << 8);
        x[t] = Math.floor(sum / unit) + ((zigzag >>> 1) ^ -(zigzag & 1)); // stored modulo 2**16
      }
      channels.push(x);
    }
    return channels.map((x, c) => Float32Array.from(x, (value) => value * steps[c]));
  }

  /* Files of a recording that follow one another, from the first to the last, as one window. */
  async function stretch(first, last) {
    const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const pieces = await Promise.all(numbers.map(load));
    for (const piece of pieces) piece.raw ??= unpackSignal(await bytes(piece.signal), piece.steps_uv);
    const starts = [0], gaps = {};
    for (const piece of pieces) starts.push(starts.at(-1) + piece.raw[0].length);
    const raw = pieces[0].raw.map((_, c) => {
      const x = new Float32Array(starts.at(-1));
      pieces.forEach((piece, i) => x.set(piece.raw[c], starts[i]));
      return x;
    });
    pieces.forEach((piece, i) => {
      for (const [name, found] of Object.entries(piece.gaps)) {
        (gaps[name] ??= []).push(...found.map(([start, stop]) => [start + starts[i], stop + starts[i]]));
      }
    });
    return { raw, gaps, filtered: new Map() };
  }

  /* A Butterworth filter of order 2 as one section [b0, b1, b2, a1, a2], by the bilinear transform. */
  function butterworth(kind, hz) {
    const k = Math.tan(Math.PI * hz / page.sfreq), scale = 1 / (1 + Math.SQRT2 * k + k * k);
    const b = kind === "high-pass" ? [1, -2, 1] : [k * k, 2 * k * k, k * k];
    return [...b.map((value) => value * scale), 2 * (k * k - 1) * scale, (1 - Math.SQRT2 * k + k * k) * scale];
  }

  /* A second-order notch; scipy calls it iirnotch. */
  function notch(hz) {
    const scale = 1 / (1 + Math.tan(Math.PI * page.notch_hz / page.sfreq));
    const middle = -2 * scale * Math.cos(2 * Math.PI * hz / page.sfreq);
    return [scale, middle, scale, middle, 2 * scale - 1];
  }

  /* One section over a signal in place, as if its first sample had been there for ever. */
  function run([b0, b1, b2, a1, a2], x) {
    const rest = (b0 + b1 + b2) / (1 + a1 + a2) * x[0]; // what it would give
    let s1 = rest - b0 * x[0], s2 = b2 * x[0] - a2 * rest;
    for (let t = 0; t < x.length; t += 1) {
      const y = b0 * x[t] + s1;
      s1 = b1 * x[t] - a1 * y + s2;
      s2 = b2 * x[t] - a2 * y;
      x[t] = y;
    }
  }

  /* Forward and backward, over the signal and its mirror images at both ends. */
  function filtered(signal, sections) {
    const n = signal.length, pad = Math.min(n - 1, Math.round(page.pad_s * page.sfreq));
    const x = new Float64Array(n + 2 * pad);
    x.set(signal, pad);
    for (let t = 1; t <= pad; t += 1) { x[pad - t] = signal[t]; x[pad + n - 1 + t] = signal[n - 1 - t]; }
    for (let way = 0; way < 2; way += 1) {
      for (const section of sections) run(section, x);
      x.reverse();
    }
    return Float32Array.from(x.subarray(pad, pad + n));
  }

  /* Channels of a window, filtered: edges in hertz (0: none), and the frequencies to take out. */
  async function electrodes(window, low, high, lines) {
    const key = [low, high, ...lines].join(" ");
    window.raw ??= unpackSignal(await bytes(window.signal), window.steps_uv);
    if (!window.filtered.has(key)) {
      const sections = [...lines.map(notch), ...(low ? [butterworth("high-pass", low)] : []), ...(high ? [butterworth("low-pass", high)] : [])];
      if (window.filtered.size >= KEPT_FILTERS) window.filtered.delete(window.filtered.keys().next().value);
      window.filtered.set(key, window.raw.map((x) => filtered(x, sections)));
    }
    return window.filtered.get(key);
  }

  /* One row of a montage in microvolt, NaN where one of its own electrodes was not recorded. The mean of all electrodes,
     as a reference, goes on with those that are left. */
  function derive(channels, row, window) {
    const x = new Float32Array(channels[0].length);
    for (const [c, weight] of row.weights) {
      const channel = channels[c];
      for (let t = 0; t < x.length; t += 1) x[t] += weight * channel[t];
    }
    for (const name of row.electrodes) {
      for (const [start, stop] of window.gaps[name] ?? []) {
        x.fill(NaN, start, stop);
      }
    }
    return x;
  }

  /* Regions of a window, each a list of rows with rising frequency, in decibels; null where nothing was recorded. */
  async function spectrogram(window) {
    const { regions, rows, columns, low_db: low, high_db: high } = page.spectrogram;
    const content = await bytes(window.spectrogram), unit = (high - low) / (MISSING - 1);
    return regions.map((_, i) => Array.from({ length: rows }, (_, h) => {
      const start = (i * rows + h) * columns;
      return Array.from(content.subarray(start, start + columns), (code) => code === MISSING ? null : low + unit * code);
    }));
  }

  /* The ten minutes around a window, regions as rows of levels from 0 to 254; null where nothing was recorded. */
  async function official(window) {
    if (!window.official) return null;
    const { regions, rows, columns } = page.official, content = await bytes(window.official.levels);
    return regions.map((_, i) => Array.from({ length: rows }, (_, h) => {
      const start = (i * rows + h) * columns;
      return Array.from(content.subarray(start, start + columns), (code) => code === MISSING ? null : code);
    }));
  }

  /* The part of a signal between two times, thinned to the lowest and the highest sample of each pixel where there are
     more samples than that, in the order in which they came. Returns times and values. */
  function excerpt(x, from, to, pixels) {
    const sfreq = page.sfreq;
    const first = Math.max(0, Math.floor(from * sfreq)), last = Math.min(x.length, Math.ceil(to * sfreq) + 1);
    const perPixel = (last - first) / pixels;
    const picked = [];
    if (perPixel <= 4) {
      for (let t = first; t < last; t += 1) picked.push(t);
    } else {
      for (let pixel = 0; pixel < pixels; pixel += 1) {
        const start = first + Math.floor(pixel * perPixel), stop = Math.min(last, first + Math.floor((pixel + 1) * perPixel));
        let low = start, high = start;
        for (let t = start; t < stop; t += 1) {
          if (Number.isNaN(x[t])) { low = high = t; break; }
          if (x[t] < x[low]) low = t;
          if (x[t] > x[high]) high = t;
        }
        picked.push(Math.min(low, high));
        if (low !== high) picked.push(Math.max(low, high));
      }
    }
    return { time: Float64Array.from(picked, (t) => t / sfreq), value: Float32Array.from(picked, (t) => x[t]) };
  }

  return { arrived, crc32, load, bytes, stretch, electrodes, derive, spectrogram, official, excerpt, begin(content) { page = content; return page; } };
})();
