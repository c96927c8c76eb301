// ZIP archives, as far as NPZ needs them. yauzl reads the directory; members are unpacked one at a time, when they are asked for.
import zlib from "node:zlib";
import type { Entry, ZipFile } from "yauzl";
import { VaeError } from "../errors.js";
import { messageOf } from "../graph/kinds.js";
import { ByteReader, inflated } from "./byte-reader.js";
import { fileError, shownName } from "./files.js";
import { slices } from "./pace.js";
import type { Source } from "./source.js";

/** An archive whose directory has been read. */
export interface ZipArchive {
  /** The whole archive. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What reads the headers of members. */
  readonly file: ZipFile;
  /** The members by name, folders left out. */
  readonly members: ReadonlyMap<string, Entry>;
}

/** Reads the directory of an archive; throws `"file"` where it is not whole, and for two members of one name. */
export async function openZip(bytes: Uint8Array<ArrayBuffer>, source: Source): Promise<ZipArchive> {
  const { fromBufferPromise, getFileNameLowLevel } = await loadYauzl(source);
  const members = new Map<string, Entry>();
  const file = await readable(bytes, source, async () => {
    // Names are not decoded there: yauzl would refuse "../x" and change "\", which names of arrays may have.
    const opened = await fromBufferPromise(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), { decodeStrings: false });
    for await (const entry of opened.eachEntry()) {
      const name = getFileNameLowLevel(entry.generalPurposeBitFlag, entry.fileNameRaw, entry.extraFields, true);
      if (members.has(name)) {
        throw fileError(source, "the archive holds two members of one name", { received: shownName(name), hint: "save it again" });
      }
      if (!name.endsWith("/")) members.set(name, entry);
    }
    return opened;
  });
  return { bytes, file, members };
}

/** yauzl is loaded when it is first needed: ESM bundles cannot hold it, since it is CommonJS, and have to do without NPZ only. */
async function loadYauzl(source: Source): Promise<typeof import("yauzl")> {
  try {
    return await import("yauzl");
  } catch (cause) {
    throw fileError(source, "the package yauzl, which reads ZIP archives, cannot be loaded", {
      hint: 'npm install yauzl; for a bundler, leave it out of the bundle: external: ["yauzl"]',
      cause,
    });
  }
}

/** A reader of a member's bytes: no more than the directory declares, of the checksum that it declares. */
export async function openZipMember({ bytes, file }: ZipArchive, entry: Entry, source: Source): Promise<ByteReader> {
  if (entry.isEncrypted()) throw fileError(source, "the member is encrypted", { hint: "save the archive without a password" });
  if (!entry.canDecodeFileData()) {
    const received = `method ${entry.compressionMethod}`;
    throw fileError(source, "the member is packed in an unknown way", { expected: "stored (0) or deflate (8)", received });
  }
  const { fileDataStart } = await readable(bytes, source, () => file.readLocalFileHeaderPromise(entry, { minimal: true }));
  const packed = bytes.subarray(fileDataStart, fileDataStart + entry.compressedSize);
  if (entry.compressionMethod !== 0)
    return new ByteReader(
      checked(
        inflated(packed, (cause) => corrupt(source, cause)),
        entry,
        source,
      ),
    );
  for await (const _ of checked(pieces(packed), entry, source));
  // The rows may be a view of it: a small member must not keep a large archive in memory.
  return new ByteReader(2 * packed.length > bytes.length ? packed : packed.slice());
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for await (const { begin, end } of slices(bytes.length)) yield bytes.subarray(begin, end);
}

/** Passes pieces on; throws where they are not of the size and the checksum in the directory. Before 20.15, Node has no checksum. */
async function* checked(bytes: AsyncIterable<Uint8Array>, entry: Entry, source: Source): AsyncGenerator<Uint8Array> {
  let length = 0;
  let checksum = 0;
  for await (const piece of bytes) {
    length += piece.length;
    if (length > entry.uncompressedSize) throw corrupt(source);
    checksum = zlib.crc32?.(piece, checksum) ?? entry.crc32;
    yield piece;
  }
  if (length !== entry.uncompressedSize || checksum !== entry.crc32) throw corrupt(source);
}

function corrupt(source: Source, cause?: unknown): Error {
  return fileError(source, "the member is corrupt: checksum, size or packing are wrong", {
    hint: "fetch or save the archive again",
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What `read` gives; what yauzl cannot read is an error that names the file. */
async function readable<T>(bytes: Uint8Array, source: Source, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof VaeError) throw cause;
    throw fileError(source, "not a readable NPZ archive", {
      expected: "members, and a directory of them at the end",
      received: `${bytes.length} bytes: ${messageOf(cause)}`,
      hint: "the file is truncated, corrupt or of another kind: fetch or save it again",
      cause,
    });
  }
}
