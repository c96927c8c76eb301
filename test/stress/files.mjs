// Small files of every format that loaders read, made once per run.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";

function idx(type, shape, values) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [axis, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * axis);
  return Buffer.concat([header, Uint8Array.from(values)]);
}

function npy(descr, shape, array) {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = `${text.padEnd(64 - 10 - 1 + 64)}\n`;
  const size = Buffer.alloc(2);
  size.writeUInt16LE(header.length);
  return Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), size, Buffer.from(header), Buffer.from(array.buffer)]);
}

/** @returns their paths by the loader's name, and `labels` where it takes a file of them */
export async function makeFiles(index, folder) {
  const at = (name) => join(folder, name);
  const pixels = Array.from({ length: 32 }, (_, place) => 7 * place);
  const values = npy("<f4", [3, 4], Float32Array.from(pixels.slice(0, 12)));
  const labels = npy("<i4", [3], Int32Array.of(0, 1, 0));
  writeFileSync(at("rows.csv"), "width,height,colour,state\n1,2,red,a\n3,4,blue,b\n5,NA,red,a\n");
  writeFileSync(at("images.idx"), idx(8, [2, 4, 4], pixels));
  writeFileSync(at("labels.idx"), idx(8, [2], [0, 1]));
  writeFileSync(at("rows.npy"), values);
  writeFileSync(at("labels.npy"), labels);
  writeFileSync(at("rows.npz"), zipSync({ "rows.npy": values, "labels.npy": labels }));
  for (const label of ["cats", "dogs"]) {
    mkdirSync(at(`pictures/${label}`), { recursive: true });
    await index.saveImages(at(`pictures/${label}/a.png`), Float32Array.from(pixels.slice(0, 16)), { shape: [4, 4, 1], scale: 1, gap: 0 });
  }
  return {
    csv: at("rows.csv"),
    idx: { path: at("images.idx"), labels: at("labels.idx") },
    npy: { path: at("rows.npy"), labels: at("labels.npy") },
    npz: at("rows.npz"),
    images: at("pictures"),
    sheet: at("sheet.png"),
    model: at("model.vae"),
    network: at("model.net"),
  };
}
