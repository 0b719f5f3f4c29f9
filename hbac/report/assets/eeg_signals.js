/* Windows as the page needs them: loaded when asked for, unpacked to the step that Python wrote, brought to a montage.
   Nothing is filtered here. The counterpart in Python is eeg_packing.py. */
"use strict";

const hbacEEG = (() => {
  const waiting = new Map(); // label id, to what to do when its file has arrived
  const loaded = new Map(); // label id, to the promise of its window; the last few only
  const KEPT = 12, MISSING = 255;
  let page; // what Python wrote into the page

  /* A file of eeg/ calls this. */
  function arrived(content) {
    waiting.get(content.label_id)?.(content);
    waiting.delete(content.label_id);
  }

  function load(labelId) {
    if (!loaded.has(labelId)) {
      loaded.set(labelId, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        waiting.set(labelId, (content) => { script.remove(); resolve(content); });
        script.onerror = () => {
          loaded.delete(labelId); // another try may find it
          script.remove();
          reject(new Error(`eeg/${labelId}.js could not be loaded: it belongs beside this page`));
        };
        script.src = `eeg/${labelId}.js`;
        document.head.append(script);
      }).then((content) => ({ ...content, unpacked: new Map() })));
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
  function unpackSignal(content) {
    const { own, neighbour, shift, neighbours, steps_uv: steps } = page.packing;
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

  async function electrodes(window, band) {
    if (!window.unpacked.has(band)) window.unpacked.set(band, unpackSignal(await bytes(window.bands[band])));
    return window.unpacked.get(band);
  }

  /* One row of a montage in microvolt, NaN where one of its own electrodes was not recorded. The mean of all electrodes,
     as a reference, goes on with those that are left. */
  function derive(channels, row, window, sfreq) {
    const x = new Float32Array(channels[0].length);
    for (const [c, weight] of row.weights) {
      const channel = channels[c];
      for (let t = 0; t < x.length; t += 1) x[t] += weight * channel[t];
    }
    for (const name of row.electrodes) {
      for (const [start, stop] of window.gaps[name] ?? []) { // in samples as stored
        x.fill(NaN, Math.floor(start * sfreq / page.sfreq), Math.ceil(stop * sfreq / page.sfreq));
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

  /* The part of a signal between two times, thinned to the lowest and the highest sample of each pixel where there are
     more samples than that, in the order in which they came. Returns times and values. */
  function excerpt(x, sfreq, from, to, pixels) {
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

  return { arrived, load, electrodes, derive, spectrogram, excerpt, begin(content) { page = content; return page; } };
})();
