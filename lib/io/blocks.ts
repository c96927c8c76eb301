import { newArray } from "../graph/bytes.js";
import { checkMemory } from "../runtime/memory.js";

/** Values that are copied between two turns of the event loop: 8 MiB of floats, about 10 ms in fresh memory. */
const LARGEST_BLOCK = 2 ** 21;

type Values = Float32Array | Uint8Array;

/** Values that come piece by piece. They are kept in blocks, so that growing copies nothing, and put together once at the end. */
export class Blocks {
  /** Values so far. */
  length = 0;
  readonly #blocks: Values[] = [];
  #last: Values;
  #filled = 0;

  /** @param unit values that are never parted: a block holds a multiple of them */
  constructor(
    readonly bytes: boolean,
    private readonly unit: number,
    private readonly operation: string,
  ) {
    this.#last = this.#allocate(0);
  }

  /** Appends a copy; what is no typed array may be at most one unit, at the beginning of one. */
  append(values: ArrayLike<number>): void {
    for (let start = 0; start < values.length; ) {
      if (this.#filled === this.#last.length) this.#grow();
      const count = Math.min(values.length - start, this.#last.length - this.#filled);
      const part = count === values.length ? values : (values as Values).subarray(start, start + count);
      this.#last.set(part, this.#filled);
      this.#filled += count;
      start += count;
    }
    this.length += values.length;
  }

  /** The first `length` values in one array, which takes the blocks' place; stops after each that is copied. */
  *gather(length: number): Generator<void, Values> {
    const blocks = this.#blocks.splice(0);
    if (blocks.length === 1) return length === this.#last.length ? this.#last : this.#last.slice(0, length);
    const all = this.#allocate(length);
    for (let start = 0; start < length; ) {
      const block = blocks.shift()!;
      all.set(block.subarray(0, length - start), start);
      start += block.length;
      yield;
    }
    return all;
  }

  /** 64 units to begin with, then twice as many as before. */
  #grow(): void {
    const units = Math.min(2 * Math.max(32, this.#last.length / this.unit), Math.floor(LARGEST_BLOCK / this.unit));
    this.#last = this.#allocate(Math.max(1, units) * this.unit);
    this.#blocks.push(this.#last);
    this.#filled = 0;
  }

  #allocate(length: number): Values {
    const request = { operation: this.operation, what: "of rows", hint: "collect fewer rows at a time" };
    checkMemory(request.operation, { [request.what]: length * (this.bytes ? 1 : 4) }, request.hint);
    return this.bytes ? newArray(Uint8Array, length, request) : newArray(Float32Array, length, request);
  }
}
