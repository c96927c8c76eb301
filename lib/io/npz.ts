import { Fields, noMore } from "../graph/arguments.js";
import { type ArrayOptions, arrayOptions, readLabels, readRows } from "./arrays.js";
import type { Dataset } from "./dataset.js";
import { fileError, readBytes, shownName, sourceOf } from "./files.js";
import { readNpyHeader } from "./npy.js";
import { nameOption } from "./options.js";
import { openZip, openZipMember } from "./zip.js";

/** What an NPZ archive is read with. */
export interface NpzOptions extends ArrayOptions {
  /** Name of the array with the rows; may be left out where there is only one beside the labels. */
  readonly key?: string;
  /** Name of the array with one whole number per row. */
  readonly labels?: string;
}

/** Names that a message lists. */
const MOST_NAMES = 12;

/**
 * Loads rows, and labels if asked for, from arrays of a NumPy `.npz` archive, compressed or not; other arrays stay packed. See
 * `datasets.npy` for what becomes of the element types. Checksums are compared from Node 20.15 on; sizes always.
 *
 * @example
 * ```ts
 * const sprites = await datasets.npz("dsprites.npz", { key: "imgs", bytes: "raw", maxBytes: 13e9 });
 * ```
 * @throws VaeError as `datasets.npy` does; `"file"` for archives and arrays that are corrupt, encrypted or larger than
 *   `maxBytes`, and for a name that is not in the archive, listing those that are.
 */
export async function npz(path: string | URL, options: NpzOptions = {}, ...surplus: never[]): Promise<Dataset> {
  noMore("datasets.npz", surplus, 'datasets.npz("arrays.npz", { key: "rows" })');
  const source = sourceOf("datasets.npz", path);
  const fields = new Fields(source.operation, options);
  const key = nameOption(fields, "key");
  const labels = nameOption(fields, "labels");
  const { bytes, limit } = arrayOptions(fields);
  fields.finish();
  const archive = await openZip(await readBytes(source), source);
  const { members } = archive;
  const names = [...members.keys()].map((name) => name.replace(/\.npy$/, ""));
  const listed = (some: readonly string[]) =>
    `${some.slice(0, MOST_NAMES).map(shownName).join(", ")}${some.length > MOST_NAMES ? ", …" : ""}`;
  const others = names.filter((name) => name !== labels);
  const chosen = key ?? (others.length === 1 ? others[0] : undefined);
  if (chosen === undefined) {
    const expected = `{ key } to be one of ${listed(others)}`;
    throw fileError(source, "which array holds the rows?", { expected, received: "no key" });
  }
  const open = async (name: string) => {
    const member = members.get(`${name}.npy`) ?? members.get(name);
    const received = `"${shownName(name)}"`;
    if (member === undefined) throw fileError(source, `no array ${received}`, { expected: `one of ${listed(names)}`, received });
    const memberSource = { ...source, path: `${source.path}[${shownName(name)}]` };
    const reader = await openZipMember(archive, member, memberSource);
    return { reader, header: await readNpyHeader(reader, memberSource), source: memberSource };
  };
  const rows = await open(chosen);
  const dataset = {
    ...(await readRows(rows.reader, rows.header, { bytes, limit: limit(archive.bytes.length) }, rows.source)),
    name: source.path,
  };
  if (labels === undefined) return dataset;
  const label = await open(labels);
  return { ...dataset, labels: await readLabels(label.reader, label.header, dataset, limit(archive.bytes.length), label.source) };
}
