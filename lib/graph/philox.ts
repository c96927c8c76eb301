// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), exactly as in
// native/philox.h: noise is a pure function of (seed, step, stream, element), the same on every device.

/** The four words of a counter, or of a block of output. */
export type Words4 = readonly [number, number, number, number];

/** The high 32 bits of the 64-bit product of two uint32, by 16-bit halves so that no partial product passes 2^53. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/** The bijection itself: ten rounds on a counter of four words, under a key of two. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

function counterOf(block: number, stream: number, step: number): Words4 {
  return [block >>> 0, stream >>> 0, step % 2 ** 32, Math.floor(step / 2 ** 32)];
}

function keyOf(seed: bigint): readonly [number, number] {
  return [Number(BigInt.asUintN(32, seed)), Number(BigInt.asUintN(32, seed >> 32n))];
}

/** The block of a draw: counter = (block, stream, step low, step high), key = (seed low, seed high). */
export function philoxBlock(block: number, stream: number, step: number, seed: bigint): Words4 {
  return philox4x32(counterOf(block, stream, step), keyOf(seed));
}

/** Calls `fill` with every block of four words that `count` elements take, and the element it starts at. */
function forEachBlock(count: number, stream: number, step: number, seed: bigint, fill: (words: Words4, start: number) => void): void {
  const key = keyOf(seed);
  for (let start = 0; start < count; start += 4) fill(philox4x32(counterOf(start / 4, stream, step), key), start);
}

/** `count` uniform draws in [0, 1): multiples of 2^-24, which float32 holds exactly. */
export function uniformDraws(count: number, stream: number, step: number, seed: bigint): Float64Array {
  const draws = new Float64Array(count);
  forEachBlock(count, stream, step, seed, (words, start) => {
    for (let lane = 0; lane < 4 && start + lane < count; lane++) draws[start + lane] = (words[lane]! >>> 8) * 2 ** -24;
  });
  return draws;
}

/** `count` standard normal draws, by Box and Muller (1958) on the lane pairs (0, 1) and (2, 3). */
export function normalDraws(count: number, stream: number, step: number, seed: bigint): Float64Array {
  const draws = new Float64Array(count);
  forEachBlock(count, stream, step, seed, (words, start) => {
    for (let lane = 0; lane < 4 && start + lane < count; lane += 2) {
      const u = ((words[lane]! >>> 8) + 1) * 2 ** -24;
      const v = (words[lane + 1]! >>> 8) * 2 ** -24;
      const radius = Math.sqrt(-2 * Math.log(u));
      draws[start + lane] = radius * Math.cos(2 * Math.PI * v);
      if (start + lane + 1 < count) draws[start + lane + 1] = radius * Math.sin(2 * Math.PI * v);
    }
  });
  return draws;
}

/**
 * Where `index` goes in the pseudo-random permutation of [0, rows) of an epoch: a balanced Feistel network with Philox
 * rounds (Luby and Rackoff 1988), walked along its cycles until it lands inside [0, rows) (Black and Rogaway 2002).
 */
export function permutedIndex(index: number, rows: number, stream: number, epoch: number, seed: bigint): number {
  if (rows <= 1) return 0;
  let halfBits = 1;
  while (4 ** halfBits < rows) halfBits++;
  const half = 2 ** halfBits;
  let place = index;
  do {
    let left = Math.floor(place / half);
    let right = place % half;
    for (let round = 0; round < 4; round++) {
      const mixed = philoxBlock(right | (round << 28), stream, epoch, seed)[0];
      [left, right] = [right, left ^ (mixed % half)];
    }
    place = left * half + right;
  } while (place >= rows);
  return place;
}

/** Which row stands at position `i` of the batch of a step; batches run across the end of an epoch. */
export function batchIndex(
  place: { readonly step: number; readonly i: number },
  options: { readonly rows: number; readonly batch: number; readonly shuffle: boolean; readonly stream: number },
  seed: bigint,
): number {
  const position = place.step * options.batch + place.i;
  const within = position % options.rows;
  return options.shuffle ? permutedIndex(within, options.rows, options.stream, Math.floor(position / options.rows), seed) : within;
}
