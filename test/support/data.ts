/** Rows of `size` values in [0, 1] around a few prototypes: something that a small VAE can learn. */
export function clusteredRows(rows: number, size = 8, clusters = 3): Float32Array {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const prototypes = Array.from({ length: clusters }, () => Array.from({ length: size }, () => (random() < 0.5 ? 0.1 : 0.9)));
  return Float32Array.from({ length: rows * size }, (_, index) => {
    const prototype = prototypes[Math.floor(index / size) % clusters]!;
    return Math.min(1, Math.max(0, prototype[index % size]! + 0.1 * (random() - 0.5)));
  });
}
