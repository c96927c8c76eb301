// Bytes one after the other, whether they lie in memory or are unpacked on the way. Nothing is unpacked that nobody reads: a
// file that says how much it holds costs no more than that, however much is packed into it.
import type { Transform } from "node:stream";
import { createGunzip, createInflateRaw } from "node:zlib";
import type { VaeError } from "../errors.js";
import { codeOf } from "../graph/kinds.js";
import { fileError } from "./files.js";
import type { Source } from "./source.js";

/** Unpacked bytes per piece. */
const PIECE_BYTES = 1 << 18;

/** Reads bytes in their order. */
export class ByteReader {
  readonly #pieces: AsyncIterator<Uint8Array> | undefined;
  #piece: Uint8Array;
  #position = 0;
  /** Bytes in all; undefined where they are unpacked on the way. */
  readonly total: number | undefined;

  /** @param bytes all of them, or pieces as they are unpacked */
  constructor(bytes: Uint8Array | AsyncIterable<Uint8Array>) {
    const whole = Symbol.asyncIterator in bytes ? undefined : bytes;
    this.total = whole?.length;
    this.#piece = whole ?? new Uint8Array();
    this.#pieces = Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : undefined;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#position;
  }

  /** The next bytes, in a piece of at most `most`; empty at the end. */
  async some(most: number): Promise<Uint8Array> {
    while (this.#piece.length === 0) {
      const next = await this.#pieces?.next();
      if (next === undefined || next.done === true) return this.#piece;
      this.#piece = next.value;
    }
    const taken = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(taken.length);
    this.#position += taken.length;
    return taken;
  }

  /** The next `length` bytes, or as many as there are. */
  async take(length: number): Promise<Uint8Array> {
    const first = await this.some(length);
    if (first.length === length || first.length === 0) return first;
    const pieces = [first];
    for (let missing = length - first.length; missing > 0; ) {
      const piece = await this.some(missing);
      if (piece.length === 0) break;
      pieces.push(piece);
      missing -= piece.length;
    }
    return Buffer.concat(pieces);
  }

  /** Ends the unpacking; a reader that is read to its end has ended it. */
  async close(): Promise<void> {
    this.#piece = new Uint8Array();
    await this.#pieces?.return?.();
  }
}

/** A reader of a file's bytes, with the gzip wrapping taken off where there is one; it shows by its first two bytes. */
export function gunzipped(bytes: Uint8Array, source: Source): ByteReader {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return new ByteReader(bytes);
  return new ByteReader(
    unpacked(bytes, createGunzip({ chunkSize: PIECE_BYTES }), (cause) => gzipError(source, cause, `, at byte ${bytes.length}`)),
  );
}

/** The error of gzip data that zlib cannot unpack; `end` says where they end too early. */
export function gzipError(source: Source, cause: unknown, end = ""): VaeError {
  const problem = codeOf(cause) === "Z_BUF_ERROR" ? `truncated: the gzip data end too early${end}` : "the gzip data are corrupt";
  return fileError(source, problem, { cause, hint: "fetch the file again" });
}

/** Pieces of what raw deflate data unpack to. */
export function inflated(bytes: Uint8Array, errorOf: (cause: unknown) => Error): AsyncGenerator<Uint8Array> {
  return unpacked(bytes, createInflateRaw({ chunkSize: PIECE_BYTES }), errorOf);
}

async function* unpacked(bytes: Uint8Array, stream: Transform, errorOf: (cause: unknown) => Error): AsyncGenerator<Uint8Array> {
  // The stream unpacks as far ahead as one piece, and goes on when that is taken.
  stream.end(bytes);
  try {
    for await (const piece of stream) yield piece as Uint8Array;
  } catch (cause) {
    throw errorOf(cause);
  } finally {
    stream.destroy();
  }
}
