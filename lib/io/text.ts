// From the bytes of a file to its text, piece by piece: what is gzipped is unpacked, what is not Unicode is decoded.
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { TextDecoder } from "node:util";
import { createGunzip } from "node:zlib";
import { codeOf } from "../graph/kinds.js";

import { gzipError } from "./byte-reader.js";
import { checkReadable, fileError, fileSystemError } from "./files.js";
import type { Source } from "./source.js";

/** How a file of text may be encoded. `latin1` is windows-1252, as everywhere on the web: Latin-1 and the euro sign. */
export const encodings = ["utf-8", "utf-16le", "utf-16be", "latin1"] as const;

/** One of the {@link encodings}. */
export type Encoding = (typeof encodings)[number];

/** A file that text can be read from. */
export interface TextFile {
  readonly source: Source;
  /** Of the file as it lies on the disk. */
  readonly bytes: number;
}

/** A regular file, without opening it; throws `"file"` as {@link checkReadable} does. */
export async function textFile(source: Source): Promise<TextFile> {
  const { size } = await checkReadable(source);
  return { source, bytes: size };
}

/**
 * The text of a file in pieces, without a byte order mark.
 *
 * @param encoding default what the byte order mark says, else UTF-8
 * @param maxBytes most bytes that a gzipped file may unpack to
 */
export async function* readText({ source }: TextFile, encoding: Encoding | undefined, maxBytes: number): AsyncGenerator<string> {
  let decoder: Decoder | undefined;
  let unpacked = 0;
  try {
    for await (const piece of atLeastFour(readUnpacked(source))) {
      unpacked += piece.length;
      if (unpacked > maxBytes) {
        const hint = "pass a larger { maxBytes } where the file can be trusted";
        throw fileError(source, "unpacks to too much text", { expected: `at most maxBytes, ${maxBytes} bytes`, hint });
      }
      decoder ??= new Decoder(source, encoding ?? markedEncoding(piece) ?? "utf-8");
      yield decoder.decode(piece, false);
    }
    if (decoder !== undefined) yield decoder.decode(new Uint8Array(0), true);
  } catch (cause) {
    throw codeOf(cause).startsWith("Z_") ? gzipError(source, cause) : fileSystemError(source, cause);
  }
}

/** The first bytes of files that are often taken for text. */
const OTHER_FORMATS: readonly (readonly [start: string, what: string, hint: string])[] = [
  ["504b0304", "a ZIP archive or an Excel workbook", "save the sheet as CSV, or unpack the archive"],
  ["d0cf11e0", "an Excel workbook", "save the sheet as CSV"],
  ["425a68", "compressed with bzip2", "unpack it, or compress it with gzip"],
  ["fd377a58", "compressed with xz", "unpack it, or compress it with gzip"],
  ["28b52ffd", "compressed with Zstandard", "unpack it, or compress it with gzip"],
  ["50415231", "a Parquet file", "write the table as CSV"],
];

/** The bytes of a file, unpacked where it is gzipped; that shows by its first two bytes, whatever it is called. */
async function* readUnpacked(source: Source): AsyncGenerator<Uint8Array> {
  let start = Buffer.alloc(0);
  for await (const bytes of createReadStream(source.path, { end: 3 })) start = Buffer.concat([start, bytes]);
  const hexadecimal = start.toString("hex");
  const other = OTHER_FORMATS.find(([magic]) => hexadecimal.startsWith(magic));
  if (other !== undefined) throw fileError(source, `is no text: ${other[1]}`, { hint: other[2] });
  const file = createReadStream(source.path);
  // pipeline() hands a failed read on to what is read from, and closes the file when the loop is left early.
  yield* hexadecimal.startsWith("1f8b") ? pipeline(file, createGunzip({ chunkSize: 1 << 16 }), () => {}) : file;
}

/** Joins the first pieces until a byte order mark would be whole. */
async function* atLeastFour(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let first: Uint8Array | undefined = new Uint8Array(0);
  for await (const piece of pieces) {
    if (first === undefined) {
      yield piece;
      continue;
    }
    first = first.length === 0 ? piece : Buffer.concat([first, piece]);
    if (first.length < 4) continue;
    yield first;
    first = undefined;
  }
  if (first !== undefined && first.length > 0) yield first;
}

function markedEncoding(bytes: Uint8Array): Encoding | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  return undefined;
}

/** What windows-1252 has at 0x80 to 0x9f, where Latin-1 has control characters; Node's own decoder has those as well. */
const WINDOWS_1252 = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

/** Turns bytes into text and refuses what is none, with the place. */
class Decoder {
  private readonly decoder: TextDecoder | undefined;
  private offset = 0;
  /** The last bytes of the piece before, of which the decoder may still hold a part. */
  private before: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly source: Source,
    private readonly encoding: Encoding,
  ) {
    this.decoder = encoding === "latin1" ? undefined : new TextDecoder(encoding, { fatal: true });
  }

  decode(bytes: Uint8Array, final: boolean): string {
    const text = this.textOf(bytes, final);
    const zero = text.indexOf("\0");
    if (zero >= 0) {
      throw fileError(this.source, `is no text: a zero byte at or after byte ${this.offset}`, {
        hint: 'UTF-16 without a byte order mark is read with { encoding: "utf-16le" } or "utf-16be"',
      });
    }
    this.offset += bytes.length;
    this.before = bytes.slice(-3);
    return text;
  }

  private textOf(bytes: Uint8Array, final: boolean): string {
    if (this.decoder === undefined) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
      return text.replace(/[\x80-\x9f]/g, (character) => WINDOWS_1252[character.charCodeAt(0) - 0x80]!);
    }
    try {
      return this.decoder.decode(bytes, { stream: !final });
    } catch (cause) {
      const isUtf8 = this.encoding === "utf-8";
      const where = isUtf8 ? `at byte ${this.invalidByte(bytes)}` : `at or after byte ${Math.max(0, this.offset - 3)}`;
      const hint = isUtf8 ? 'files of older programs are read with { encoding: "latin1" }' : "is the encoding right?";
      throw fileError(this.source, `is not ${this.encoding} ${where}`, { hint, cause });
    }
  }

  /** The longest start that decodes, found by halving: a start that does is one whose every start does. */
  private invalidByte(bytes: Uint8Array): number {
    let whole = Buffer.concat([this.before, bytes]);
    while ((whole[0]! & 0xc0) === 0x80 && whole.length > bytes.length) whole = whole.subarray(1);
    let [good, bad] = [0, whole.length + 1];
    while (bad - good > 1) {
      const middle = (good + bad) >> 1;
      if (decodes(whole.subarray(0, middle), true)) good = middle;
      else bad = middle;
    }
    // What was only begun is where it went wrong.
    while (good > 0 && !decodes(whole.subarray(0, good), false)) good--;
    return this.offset - (whole.length - bytes.length) + good;
  }
}

function decodes(bytes: Uint8Array, stream: boolean): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream });
    return true;
  } catch {
    return false;
  }
}
