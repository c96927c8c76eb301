const BLOCK = 1 << 14;

/** Numbers one behind the other, in blocks: growing copies nothing, however many they become. */
export class NumberList {
  private readonly blocks: Float64Array<ArrayBuffer>[] = [];
  private current = new Float64Array(0);
  private filled = BLOCK;

  get length(): number {
    return this.blocks.length * BLOCK - BLOCK + this.filled;
  }

  push(value: number): void {
    if (this.filled === BLOCK) {
      this.current = new Float64Array(BLOCK);
      this.blocks.push(this.current);
      this.filled = 0;
    }
    this.current[this.filled++] = value;
  }

  /** Forgets all but the first numbers. */
  truncate(length: number): void {
    if (length === this.length) return;
    this.blocks.length = Math.max(1, Math.ceil(length / BLOCK));
    this.filled = length - (this.blocks.length - 1) * BLOCK;
    this.current = this.blocks.at(-1)!;
  }

  /** The numbers, block by block. */
  *[Symbol.iterator](): Generator<Float64Array> {
    for (const block of this.blocks) yield block === this.current ? block.subarray(0, this.filled) : block;
  }
}
