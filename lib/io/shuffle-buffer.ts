// Rows in an order that is random as far as a buffer of some rows allows.
import { newArray } from "../graph/bytes.js";
import { philoxBlock, type Words4 } from "../graph/philox.js";
import { checkMemory } from "../runtime/memory.js";
import type { RowSource, Values } from "./epoch-rows.js";

/** Rows that are read at a time, at most about so many bytes. */
const PIECE_BYTES = 1 << 20;

/** Apart from the streams of a model's noise, of which this is the last one. */
const STREAM = 2 ** 32 - 1;

/** What a {@link ShuffleBuffer} is made with. */
export interface ShuffleBufferOptions {
  /** Rows that it holds. */
  readonly capacity: number;
  /** Values of a row, and whether they are bytes. */
  readonly size: number;
  readonly bytes: boolean;
  readonly seed: number;
  readonly operation: string;
}

/**
 * Holds some rows. Each row that is read takes the place of a random one of them, which is given out; at the end of an epoch the
 * rest comes in random order. So every row comes once per epoch. The order follows from the seed and the epoch alone.
 */
export class ShuffleBuffer implements RowSource {
  readonly #source: RowSource;
  readonly #options: ShuffleBufferOptions;
  readonly #held: Values;
  readonly #piece: Values;
  readonly #draws: Draws;
  #count = 0;
  #epoch = 0;
  /** Whether the source has rows of this epoch that were not read. */
  #reading = true;
  #filled = false;

  constructor(source: RowSource, options: ShuffleBufferOptions) {
    const { capacity, size, bytes, seed, operation } = options;
    this.#source = source;
    this.#options = options;
    const most = Math.max(1, Math.floor(PIECE_BYTES / (size * (bytes ? 1 : 4))));
    const request = { operation, what: "of rows that are mixed", hint: "use a smaller shuffleBuffer" };
    const allocate = (rows: number): Values =>
      bytes ? newArray(Uint8Array, rows * size, request) : newArray(Float32Array, rows * size, request);
    checkMemory(operation, { [request.what]: (capacity + most) * size * (bytes ? 1 : 4) }, request.hint);
    this.#held = allocate(capacity);
    this.#piece = allocate(most);
    this.#draws = new Draws(BigInt(seed));
  }

  async read(target: Values, from: number, count: number): Promise<number> {
    await this.#fill();
    if (this.#count === 0) return this.#begin();
    if (!this.#reading) return this.#drain(target, from, count);
    const rows = await this.#source.read(this.#piece, 0, Math.min(count, this.#piece.length / this.#options.size));
    if (rows === 0) {
      this.#reading = false;
      return this.#drain(target, from, count);
    }
    for (let row = 0; row < rows; row++) {
      const chosen = this.#draws.below(this.#count);
      this.#give(chosen, target, from + row);
      this.#row(this.#held, chosen).set(this.#row(this.#piece, row));
    }
    return rows;
  }

  /** Fills the buffer at the start of an epoch. */
  async #fill(): Promise<void> {
    while (!this.#filled && this.#reading && this.#count < this.#options.capacity) {
      const rows = await this.#source.read(this.#held, this.#count, this.#options.capacity - this.#count);
      this.#count += rows;
      this.#reading = rows > 0;
    }
    this.#filled = true;
  }

  #drain(target: Values, from: number, count: number): number {
    const rows = Math.min(count, this.#count);
    for (let row = 0; row < rows; row++) {
      const chosen = this.#draws.below(this.#count);
      this.#give(chosen, target, from + row);
      this.#count--;
      this.#row(this.#held, chosen).set(this.#row(this.#held, this.#count));
    }
    return rows;
  }

  #begin(): 0 {
    this.#epoch++;
    this.#draws.begin(this.#epoch);
    this.#reading = true;
    this.#filled = false;
    return 0;
  }

  #give(held: number, target: Values, row: number): void {
    target.set(this.#row(this.#held, held), row * this.#options.size);
  }

  #row(values: Values, row: number): Values {
    const { size } = this.#options;
    return values.subarray(row * size, (row + 1) * size);
  }
}

/** Random whole numbers that follow from a seed and an epoch. */
class Draws {
  #epoch = 0;
  #drawn = 0;
  #words: Words4 = [0, 0, 0, 0];

  constructor(private readonly seed: bigint) {}

  begin(epoch: number): void {
    this.#epoch = epoch;
    this.#drawn = 0;
  }

  /** From 0 to `bound` - 1, all as likely as 32 bits allow. */
  below(bound: number): number {
    const lane = this.#drawn % 4;
    if (lane === 0) this.#words = philoxBlock(this.#drawn / 4, STREAM, this.#epoch, this.seed);
    this.#drawn++;
    return Math.floor((this.#words[lane]! / 2 ** 32) * bound);
  }
}
