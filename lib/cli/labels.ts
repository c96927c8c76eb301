// Numbers beside the pictures of a sheet, in a pixel font of our own: fonts of the system may not be there.
import type { Sheet } from "../io/index.js";

/** Glyphs of 3 × 5 pixels, line by line, a bit per pixel. */
const GLYPHS: Readonly<Record<string, readonly number[]>> = {
  "0": [0b111, 0b101, 0b101, 0b101, 0b111],
  "1": [0b010, 0b110, 0b010, 0b010, 0b111],
  "2": [0b111, 0b001, 0b111, 0b100, 0b111],
  "3": [0b111, 0b001, 0b111, 0b001, 0b111],
  "4": [0b101, 0b101, 0b111, 0b001, 0b001],
  "5": [0b111, 0b100, 0b111, 0b001, 0b111],
  "6": [0b111, 0b100, 0b111, 0b101, 0b111],
  "7": [0b111, 0b001, 0b010, 0b010, 0b010],
  "8": [0b111, 0b101, 0b111, 0b101, 0b111],
  "9": [0b111, 0b101, 0b111, 0b001, 0b111],
  "-": [0b000, 0b000, 0b111, 0b000, 0b000],
  ".": [0b000, 0b000, 0b000, 0b000, 0b010],
  z: [0b000, 0b111, 0b010, 0b100, 0b111],
};
const GLYPH = { width: 3, height: 5 } as const;
/** Pixels per dot of a glyph, and of the margin around a text. */
const DOT = 2;
const MARGIN = 4 * DOT;
const INK = 220;

/** What stands at a sheet's edges: a text for each line of pictures, and one for each column. */
export interface SheetLabels {
  readonly lines: readonly string[];
  readonly columns: readonly string[];
}

/**
 * The sheet with room at its left and top, where the labels stand. Labels are made of digits, `-`, `.` and `z`; other
 * characters are blanks.
 *
 * @param background the grey value of the added room, as that of the sheet's gaps
 */
export function withLabels(sheet: Sheet, { lines, columns }: SheetLabels, background = 48): Sheet {
  const { channels } = sheet;
  const left = Math.max(...lines.map(textWidth)) + 2 * MARGIN;
  const top = GLYPH.height * DOT + 2 * MARGIN;
  const [width, height] = [sheet.width + left, sheet.height + top];
  const data = new Uint8Array(width * height * channels).fill(background);
  for (let y = 0; y < sheet.height; y++) {
    const row = sheet.data.subarray(y * sheet.width * channels, (y + 1) * sheet.width * channels);
    data.set(row, ((y + top) * width + left) * channels);
  }
  const labelled = { width, height, channels, data };
  const [cellWidth, cellHeight] = [sheet.width / columns.length, sheet.height / lines.length];
  lines.forEach((text, line) => {
    write(labelled, text, left - MARGIN - textWidth(text), top + Math.round((line + 0.5) * cellHeight - (GLYPH.height * DOT) / 2));
  });
  columns.forEach((text, column) => {
    write(labelled, text, left + Math.round((column + 0.5) * cellWidth - textWidth(text) / 2), MARGIN);
  });
  return labelled;
}

function textWidth(text: string): number {
  return (text.length * (GLYPH.width + 1) - 1) * DOT;
}

function write({ width, channels, data }: Sheet, text: string, left: number, top: number): void {
  for (const [place, character] of [...text].entries()) {
    const glyph = GLYPHS[character] ?? [];
    for (let y = 0; y < glyph.length * DOT; y++) {
      for (let x = 0; x < GLYPH.width * DOT; x++) {
        const bit = GLYPH.width - 1 - Math.floor(x / DOT);
        if (((glyph[Math.floor(y / DOT)]! >> bit) & 1) === 0) continue;
        const at = ((top + y) * width + left + place * (GLYPH.width + 1) * DOT + x) * channels;
        data.fill(INK, at, at + channels);
      }
    }
  }
}
