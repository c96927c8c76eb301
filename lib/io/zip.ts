// ZIP archives, as far as NPZ needs them: the directory is read, and members are unpacked one at a time, when they are asked
// for. (PKWARE's APPNOTE.TXT names the fields and their places.)
import { fileError, type Source } from "./files.js";
import { ByteReader, inflated } from "./unpack.js";

/** What the directory says about a member. */
export interface ZipMember {
  readonly name: string;
  readonly flags: number;
  readonly method: number;
  readonly checksum: number;
  /** Packed and unpacked bytes. */
  readonly packed: number;
  readonly unpacked: number;
  /** Where the member's own header begins in the file. */
  readonly offset: number;
}

const ENTRY = 0x02014b50;
const MEMBER = 0x04034b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;

/** Bytes of the records before their names. */
const [ENTRY_BYTES, MEMBER_BYTES, END_BYTES, END_64_BYTES, LOCATOR_BYTES] = [46, 30, 22, 56, 20];

/** 16- and 32-bit fields that are full refer to the ZIP64 records. */
const FULL_16 = 0xffff;
const FULL_32 = 0xffffffff;

/** Bits of `flags`. */
const ENCRYPTED = 1 | (1 << 6) | (1 << 13);
const UTF8 = 1 << 11;

const STORED = 0;
const DEFLATED = 8;

/** The members of an archive by name, folders left out. */
export function readZipDirectory(bytes: Uint8Array, source: Source): ReadonlyMap<string, ZipMember> {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, size, offset, prefix } = findDirectory(archive, source);
  const members = new Map<string, ZipMember>();
  const end = offset + size;
  let at = offset;
  for (let index = 0; index < count; index++) {
    if (at + ENTRY_BYTES > end || archive.readUInt32LE(at) !== ENTRY) throw unreadable(source, archive, `entry ${index} of its directory`);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((place) => archive.readUInt16LE(at + place)) as [number, number, number];
    const next = at + ENTRY_BYTES + nameBytes + extraBytes + commentBytes;
    if (next > end) throw unreadable(source, archive, `entry ${index} of its directory`);
    const flags = archive.readUInt16LE(at + 8);
    const nameEnd = at + ENTRY_BYTES + nameBytes;
    const name = archive.toString((flags & UTF8) !== 0 ? "utf8" : "latin1", at + ENTRY_BYTES, nameEnd);
    const sizes = sizesOf(archive, at, nameEnd, extraBytes);
    if (sizes === undefined) throw unreadable(source, archive, `entry ${index} of its directory`);
    if (members.has(name)) {
      throw fileError(source, "the archive holds two members of one name", { received: shortName(name), hint: "save it again" });
    }
    const member = { name, flags, method: archive.readUInt16LE(at + 10), checksum: archive.readUInt32LE(at + 16), ...sizes };
    if (!name.endsWith("/")) members.set(name, { ...member, offset: member.offset + prefix });
    at = next;
  }
  return members;
}

/** Sizes and place of an entry; those of 4 GiB and more stand in its extra field. */
function sizesOf(archive: Buffer, at: number, extraBegin: number, extraBytes: number) {
  const fields = [archive.readUInt32LE(at + 24), archive.readUInt32LE(at + 20), archive.readUInt32LE(at + 42)];
  let from = extraBegin;
  const end = extraBegin + extraBytes;
  if (fields.includes(FULL_32)) {
    while (from + 4 <= end && archive.readUInt16LE(from) !== 1) from += 4 + archive.readUInt16LE(from + 2);
    const last = from + 4 <= end ? from + 4 + archive.readUInt16LE(from + 2) : 0;
    from += 4;
    for (const [index, field] of fields.entries()) {
      if (field !== FULL_32) continue;
      if (from + 8 > Math.min(last, end)) return undefined;
      fields[index] = Number(archive.readBigUInt64LE(from));
      from += 8;
    }
  }
  const [unpacked = 0, packed = 0, offset = 0] = fields;
  return { unpacked, packed, offset };
}

/** Where the directory is. The record that says so is the last thing in the file but for a comment. */
function findDirectory(archive: Buffer, source: Source) {
  const last = archive.length - END_BYTES;
  for (let at = last; at >= 0 && at >= last - FULL_16; at--) {
    if (archive.readUInt32LE(at) !== END || at + END_BYTES + archive.readUInt16LE(at + 20) !== archive.length) continue;
    let [begin, count, size, offset] = [at, archive.readUInt16LE(at + 10), archive.readUInt32LE(at + 12), archive.readUInt32LE(at + 16)];
    const locator = at - LOCATOR_BYTES;
    if (locator >= 0 && archive.readUInt32LE(locator) === LOCATOR_64) {
      begin = locator - END_64_BYTES;
      if (begin < 0 || archive.readUInt32LE(begin) !== END_64) throw unreadable(source, archive, "the ZIP64 record of its directory");
      [count, size, offset] = [32, 40, 48].map((place) => Number(archive.readBigUInt64LE(begin + place))) as [number, number, number];
    }
    // Bytes before the archive, such as those of a program that unpacks itself, move all places.
    const prefix = begin - size - offset;
    if (prefix < 0) throw unreadable(source, archive, "its directory");
    return { count, size, offset: offset + prefix, prefix };
  }
  throw unreadable(source, archive, "the record at its end");
}

/**
 * A reader of a member's bytes, at most as many as the directory declares. Once it is read to its end, its checksum is found to be right or
 * an error is thrown.
 */
export function openZipMember(bytes: Uint8Array, member: ZipMember, source: Source): ByteReader {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { flags, method, checksum, packed, unpacked, offset } = member;
  if ((flags & ENCRYPTED) !== 0) throw fileError(source, "the member is encrypted", { hint: "save the archive without a password" });
  if (method !== STORED && method !== DEFLATED) {
    const received = `method ${method}`;
    throw fileError(source, "the member is packed in an unknown way", { expected: "stored (0) or deflate (8)", received });
  }
  const isMember = offset + MEMBER_BYTES <= archive.length && archive.readUInt32LE(offset) === MEMBER;
  if (!isMember) throw unreadable(source, archive, `the member at byte ${offset}`);
  const begin = offset + MEMBER_BYTES + archive.readUInt16LE(offset + 26) + archive.readUInt16LE(offset + 28);
  if (begin + packed > archive.length || (method === STORED && packed !== unpacked)) {
    throw unreadable(source, archive, `the member at byte ${offset}`);
  }
  const content = bytes.subarray(begin, begin + packed);
  const corrupt = (cause?: unknown) =>
    fileError(source, "the member is corrupt: checksum, size or packing are wrong", {
      hint: "fetch or save the archive again",
      ...(cause === undefined ? {} : { cause }),
    });
  if (method === STORED) {
    if (crc32(content, 0) !== checksum) throw corrupt();
    // The rows may be a view of it: a small member must not keep a large archive in memory.
    return new ByteReader(2 * content.length > bytes.length ? content : content.slice());
  }
  return new ByteReader(checked(inflated(content, corrupt), member, corrupt));
}

async function* checked(
  pieces: AsyncIterable<Uint8Array>,
  { unpacked, checksum }: ZipMember,
  corrupt: () => Error,
): AsyncGenerator<Uint8Array> {
  let [length, found] = [0, 0];
  for await (const piece of pieces) {
    length += piece.length;
    if (length > unpacked) throw corrupt();
    found = crc32(piece, found);
    yield piece;
  }
  if (length !== unpacked || found !== checksum) throw corrupt();
}

/** CRC-32 of ISO 3309 by the table of its bytes; `zlib.crc32` came with a later Node 20. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ ((rest & 1) === 0 ? 0 : 0xedb88320);
  return rest;
});

function crc32(bytes: Uint8Array, before: number): number {
  let rest = ~before;
  for (let index = 0; index < bytes.length; index++) rest = (rest >>> 8) ^ CRC_TABLE[(rest ^ bytes[index]!) & 0xff]!;
  return ~rest >>> 0;
}

function unreadable(source: Source, archive: Uint8Array, what: string) {
  return fileError(source, "not a readable NPZ archive", {
    expected: `${what} to be whole`,
    received: `${archive.length} bytes`,
    hint: "an NPZ archive ends in a directory; without it the file is truncated or of another kind",
  });
}

/** A name for messages. */
export function shortName(name: string): string {
  return name.length > 60 ? `${name.slice(0, 59)}…` : name;
}
