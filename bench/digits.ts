import type { Workload } from "./workload.js";

/** Marsaglia's xorshift32: enough for pictures, and the same everywhere. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * Bytes with MNIST's character from a fixed seed, rows × width, so that no data set is needed: each row is a square (the
 * last line may be cut off) with a curved stroke of a soft pen. About a seventh of the bytes is not zero, and the margin
 * is zero in every row, as MNIST's is: the weights there get gradients of exactly zero, and Adam's moments decay into
 * denormals, which a benchmark on uniform noise would never show.
 */
export function syntheticDigits(rows: number, width: number): Uint8Array {
  const random = randomNumbers(0x9e3779b9);
  const data = new Uint8Array(rows * width);
  const side = Math.ceil(Math.sqrt(width));
  const margin = side > 8 ? side / 7 : 0;
  const clamp = (x: number) => Math.min(side - 1 - margin, Math.max(margin, x));
  for (let row = 0; row < rows; row++) {
    let [x, y, direction, turn] = [clamp(random() * side), clamp(random() * side), random() * 2 * Math.PI, random() - 0.5];
    for (let point = 0; point < 2 * side; point++) {
      direction += turn * 0.6 + (random() - 0.5) * 0.4;
      if (random() < 0.05) turn = random() - 0.5;
      x = clamp(x + Math.cos(direction));
      y = clamp(y + Math.sin(direction));
      press(data, row * width, width, side, x, y);
    }
  }
  return data;
}

/** Rows for a workload; in several channels each row's stroke and ground have colours of their own. */
export function syntheticRows({ input, image }: Workload, rows: number): Uint8Array {
  const channels = image?.[2] ?? 1;
  const strokes = syntheticDigits(rows, input / channels);
  if (channels === 1) return strokes;
  const random = randomNumbers(0x85ebca6b);
  const data = new Uint8Array(rows * input);
  for (let row = 0; row < rows; row++) {
    const [ground, ink] = [0, 1].map(() => Array.from({ length: channels }, () => 255 * random())) as [number[], number[]];
    for (let pixel = (row * input) / channels; pixel < ((row + 1) * input) / channels; pixel++) {
      const share = strokes[pixel]! / 255;
      for (let channel = 0; channel < channels; channel++) {
        data[pixel * channels + channel] = ground[channel]! + share * (ink[channel]! - ground[channel]!);
      }
    }
  }
  return data;
}

/** The pen's mark: bright in the middle, fading over a pixel and a half. */
function press(data: Uint8Array, start: number, width: number, side: number, x: number, y: number): void {
  for (let line = Math.ceil(y - 1.5); line <= y + 1.5; line++) {
    for (let column = Math.ceil(x - 1.5); column <= x + 1.5; column++) {
      const pixel = line * side + column;
      if (line < 0 || column < 0 || column >= side || pixel >= width) continue;
      const ink = 255 * Math.max(0, 1 - ((x - column) ** 2 + (y - line) ** 2) / 2.25);
      data[start + pixel] = Math.max(data[start + pixel]!, ink);
    }
  }
}
