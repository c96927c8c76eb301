// From the text of a CSV file to its cells (RFC 4180, with line ends of all kinds).
import { fileError, type Source } from "./files.js";

/** How cells are told apart. */
export interface CsvSyntax {
  readonly delimiter: string;
  /** What a line begins with that is to be passed over. */
  readonly comment: string | undefined;
  readonly maxCellLength: number;
}

/** Takes the cells of a file one by one. */
export interface CellSink {
  /** Set where no more cells can be taken for now; what is left waits for the next call of {@link Tokenizer.push}. */
  readonly paused: boolean;
  /** @param line number of the line that the record began in, from 1 */
  cell(text: string, index: number, line: number): void;
  /**
   * The record is over.
   *
   * @param line number of the line that it began in, from 1
   * @param blank whether its line held nothing at all
   */
  end(line: number, cells: number, blank: boolean): void;
}

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;

const LONG_CELL = 1 << 12;

/** The cell goes on in the next piece of text. */
const UNFINISHED = -1;

/** Cuts text into cells, in time proportional to its length. */
export class Tokenizer {
  private line = 1;
  private recordLine = 1;
  private cells = 0;
  private inComment = false;
  /** The text of a cell that had no end yet, and what came behind it since. */
  private rest = "";
  private waiting = "";
  private readonly first: number;

  constructor(
    private readonly source: Source,
    private readonly syntax: CsvSyntax,
    private readonly sink: CellSink,
  ) {
    this.first = syntax.delimiter.charCodeAt(0);
  }

  /** Takes the next piece of text, of any length. */
  push(piece: string): void {
    this.waiting += piece;
    // A long cell is looked at again only once there is as much more of it: in the end twice as often as it is long.
    if (this.waiting.length >= this.rest.length || this.rest.length < LONG_CELL) this.take(this.rest + this.waiting, false);
  }

  /** Takes what is left; once more where the sink was paused. */
  finish(): void {
    this.take(this.rest + this.waiting, true);
    if (this.cells > 0) this.closeRecord("", false);
  }

  private take(text: string, final: boolean): void {
    let at = 0;
    this.waiting = "";
    while (at < text.length) {
      const next = this.takeCell(text, at, final);
      if (next === UNFINISHED && text.length - at > this.syntax.maxCellLength) throw this.tooLong();
      if (next === UNFINISHED) break;
      at = next;
      if (this.sink.paused) break;
    }
    this.rest = text.slice(at);
  }

  /** Takes the cell that begins at `start`; says where the next one begins. */
  private takeCell(text: string, start: number, final: boolean): number {
    if (this.cells === 0) {
      const { comment } = this.syntax;
      this.recordLine = this.line;
      if (comment !== undefined && !this.inComment) {
        if (!final && text.length - start < comment.length && comment.startsWith(text.slice(start))) return UNFINISHED;
        this.inComment = text.startsWith(comment, start);
      }
      if (this.inComment) return this.takeComment(text, start, final);
    }
    let at = this.skipBlanks(text, start);
    if (text.charCodeAt(at) === QUOTE) return this.takeQuoted(text, at, final);
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) throw this.wrongQuote("a quote in the middle of a cell");
      if (code !== this.first && code !== LINE_FEED && code !== RETURN) continue;
      const next = this.closeCell(text, start, at, at, final);
      if (next !== undefined) return next;
    }
    return final ? this.closeRecord(text.slice(start), false, text.length) : UNFINISHED;
  }

  private takeQuoted(text: string, open: number, final: boolean): number {
    let doubled = false;
    let close = text.indexOf('"', open + 1);
    while (close >= 0 && text.charCodeAt(close + 1) === QUOTE) {
      doubled = true;
      close = text.indexOf('"', close + 2);
    }
    if (close < 0) {
      if (!final) return UNFINISHED;
      throw this.wrongQuote("a quote is opened and never closed");
    }
    const at = this.skipBlanks(text, close + 1);
    if (at === text.length && !final) return UNFINISHED; // what follows may double the quote
    const cell = () => {
      const raw = text.slice(open + 1, close);
      this.line += countLineEnds(raw);
      return doubled ? raw.replaceAll('""', '"') : raw;
    };
    if (at === text.length) return this.closeRecord(cell(), true, at);
    const next = this.closeCell(text, open, close, at, final, cell);
    if (next === undefined) throw this.wrongQuote("text behind the closing quote of a cell");
    return next;
  }

  /** Ends the cell where a delimiter or a line end stands at `at`; undefined where there is none. */
  private closeCell(text: string, start: number, end: number, at: number, final: boolean, quoted?: () => string): number | undefined {
    const code = text.charCodeAt(at);
    const { delimiter } = this.syntax;
    if (code === this.first && (delimiter.length === 1 || text.startsWith(delimiter, at))) {
      this.emit(quoted === undefined ? text.slice(start, end) : quoted(), quoted !== undefined);
      return at + delimiter.length;
    }
    if (code !== LINE_FEED && code !== RETURN) {
      // Half of a longer delimiter may stand at the end of a piece.
      return code === this.first && !final && delimiter.startsWith(text.slice(at)) ? UNFINISHED : undefined;
    }
    if (code === RETURN && at + 1 === text.length && !final) return UNFINISHED;
    this.closeRecord(quoted === undefined ? text.slice(start, end) : quoted(), quoted !== undefined);
    this.line++;
    return code === RETURN && text.charCodeAt(at + 1) === LINE_FEED ? at + 2 : at + 1;
  }

  private takeComment(text: string, start: number, final: boolean): number {
    for (let at = start; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code !== LINE_FEED && code !== RETURN) continue;
      if (code === RETURN && at + 1 === text.length && !final) return at === start ? UNFINISHED : at;
      this.inComment = false;
      this.line++;
      return code === RETURN && text.charCodeAt(at + 1) === LINE_FEED ? at + 2 : at + 1;
    }
    return text.length;
  }

  private emit(text: string, quoted: boolean): string {
    if (text.length > this.syntax.maxCellLength) throw this.tooLong();
    const cell = quoted ? text : text.trim();
    this.sink.cell(cell, this.cells++, this.recordLine);
    return cell;
  }

  private closeRecord(text: string, quoted: boolean, next = 0): number {
    const cell = this.emit(text, quoted);
    const { cells } = this;
    this.cells = 0;
    this.sink.end(this.recordLine, cells, cells === 1 && !quoted && cell === "");
    return next;
  }

  private skipBlanks(text: string, start: number): number {
    let at = start;
    let code = text.charCodeAt(at);
    while ((code === SPACE || code === TAB) && code !== this.first) code = text.charCodeAt(++at);
    return at;
  }

  private wrongQuote(problem: string): Error {
    return fileError(this.source, `line ${this.line}: ${problem}`, {
      hint: 'quotes stand around a whole cell, and a quote inside is doubled: "5"" pipe"; is the delimiter right?',
    });
  }

  private tooLong(): Error {
    return fileError(this.source, `line ${this.line}: a cell is too long`, {
      expected: `at most maxCellLength, ${this.syntax.maxCellLength} characters`,
      hint: "is a quote opened and not closed? is the delimiter right? longer cells need a larger { maxCellLength }",
    });
  }
}

/** Line ends of all kinds: `\r\n` is one. */
function countLineEnds(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  for (let at = text.indexOf("\r"); at >= 0; at = text.indexOf("\r", at + 1)) if (text.charCodeAt(at + 1) !== LINE_FEED) count++;
  return count;
}
