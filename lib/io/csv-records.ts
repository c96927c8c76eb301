// The records of a CSV file: csv-parse cuts the text into cells, here are their lines, the limits and the words for its errors.
import { type Info, type Options, Parser } from "csv-parse";
import { codeOf } from "../graph/kinds.js";
import { fileError, type Source } from "./files.js";
import type { Pace } from "./pace.js";

/** How cells are told apart, and how long things may be. */
export interface CsvSyntax {
  readonly delimiter: string;
  /** What a line begins with that is to be passed over. */
  readonly comment: string | undefined;
  readonly maxCellLength: number;
  readonly maxColumns: number;
}

/** Takes the lines of a file in their order. */
export interface RecordSink {
  /** @param line number of the line that the record began in, from 1 */
  record(cells: readonly string[], line: number): void;
  /** Lines with nothing in them, the first of them with its number. */
  blanks(count: number, line: number): void;
}

/** Bytes that are parsed before the event loop may have its turn. */
const PIECE = 1 << 13;

/** The least limit of the bytes of a record, and what each column allows for. */
const RECORD_BYTES = 4 << 20;
const BYTES_PER_COLUMN = 64;
const BYTES_PER_CHARACTER = 4;

const QUOTES_HINT = 'quotes stand around a whole cell, and a quote inside is doubled: "5"" pipe"; is the delimiter right?';

/** What the error codes of csv-parse mean. */
const PROBLEMS: Readonly<Record<string, string>> = {
  INVALID_OPENING_QUOTE: "a quote in the middle of a cell",
  CSV_INVALID_CLOSING_QUOTE: "text behind the closing quote of a cell",
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE: "text behind the closing quote of a cell",
  CSV_QUOTE_NOT_CLOSED: "a quote is opened and never closed",
};

/** Hands each record on at once: neither a queue nor an object of facts per record, which would take most of the time. */
class RecordParser extends Parser {
  constructor(
    options: Options,
    private readonly receive: (cells: readonly string[]) => void,
  ) {
    super(options);
  }

  override push(record: readonly string[] | null): boolean {
    if (record === null) return super.push(null);
    this.receive(record);
    // csv-parse makes an error with its stack for each record that is not as long as the first, even where that is allowed, and
    // drops it. For want of a first record it makes none; without this line all is read alike, only slower.
    (this.info as { -readonly [Name in keyof Info]: Info[Name] }).records = 0;
    return true;
  }
}

/** Cuts text into records, in time proportional to its length. */
export class CsvRecords {
  private readonly parser: RecordParser;
  private readonly maxRecordBytes: number;
  /** Bytes since the last line that is over. */
  private unfinished = 0;
  private endsWithLine = false;
  /** What csv-parse counts as the next line: `\r\n` in quotes are two for it. */
  private countedLine = 1;
  private blankLines = 0;
  private commentLines = 0;

  /** @param line number of the line that the text begins in */
  constructor(
    private readonly source: Source,
    private readonly syntax: CsvSyntax,
    private readonly sink: RecordSink,
    private line = 1,
  ) {
    const { delimiter, comment, maxColumns, maxCellLength } = syntax;
    this.maxRecordBytes = Math.max(RECORD_BYTES, BYTES_PER_COLUMN * maxColumns, BYTES_PER_CHARACTER * maxCellLength);
    const options: Options = {
      delimiter,
      record_delimiter: ["\r\n", "\n", "\r"],
      trim: true,
      relax_column_count: true,
      // Blank lines that are only counted take a tenth of the time. Among comments that are counted too their order would be lost.
      skip_empty_lines: comment === undefined,
      ...(comment === undefined ? {} : { comment, comment_no_infix: true }),
    };
    this.parser = new RecordParser(options, (cells) => this.take(cells));
    this.parser.on("error", () => {}); // every call says so itself
  }

  /**
   * Takes the next piece of text, of any length.
   *
   * @param between what is to be done before more of it is parsed; says whether to go on
   */
  async push(text: string, pace: Pace, between: () => Promise<boolean> | boolean): Promise<void> {
    const bytes = Buffer.from(text);
    for (let begin = 0; begin < bytes.length; begin += PIECE) {
      const piece = bytes.subarray(begin, begin + PIECE);
      this.unfinished += piece.length;
      this.endsWithLine = [0x0a, 0x0d].includes(piece.at(-1)!);
      await this.settled((done) => this.parser.write(piece, done));
      this.passOver(0);
      if (this.unfinished > this.maxRecordBytes) throw this.tooLong();
      if (!(await between())) return;
      await pace.rest();
    }
  }

  /** Takes what is left. */
  async finish(): Promise<void> {
    await this.settled((done) => this.parser.end(done));
    // csv-parse takes the end of the last line for a blank one.
    this.passOver(this.endsWithLine ? 1 : 0);
  }

  private async settled(start: (done: (error?: Error | null) => void) => void): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
    } catch (cause) {
      const problem = PROBLEMS[codeOf(cause)];
      if (problem === undefined) throw cause;
      this.passOver(0);
      const { index } = cause as { index?: unknown };
      const received = typeof index === "number" ? { received: `it in cell ${index + 1}` } : {};
      throw fileError(this.source, `line ${this.line}: ${problem}`, { ...received, hint: QUOTES_HINT, cause });
    }
  }

  private take(cells: readonly string[]): void {
    this.passOver(0);
    const { line, syntax } = this;
    const { lines } = this.parser.info;
    for (const cell of cells) if (cell.length > syntax.maxCellLength) throw this.cellTooLong();
    this.line++;
    if (lines > this.countedLine) for (const cell of cells) this.line += countLineEnds(cell);
    this.countedLine = lines + 1;
    this.unfinished = 0;
    if (syntax.comment !== undefined && cells.length === 1 && cells[0] === "") this.sink.blanks(1, line);
    else this.sink.record(cells, line);
  }

  /** Hands on the blank lines since the last record, and counts them and the comments. */
  private passOver(ignored: number): void {
    const { empty_lines: blankLines, comment_lines: commentLines } = this.parser.info;
    const blanks = blankLines - ignored - this.blankLines;
    const all = blanks + commentLines - this.commentLines;
    if (all <= 0) return;
    const { line } = this;
    this.line += all;
    this.countedLine += all;
    [this.blankLines, this.commentLines, this.unfinished] = [blankLines, commentLines, 0];
    if (blanks > 0) this.sink.blanks(blanks, line);
  }

  private cellTooLong(): Error {
    return fileError(this.source, `line ${this.line}: a cell is too long`, {
      expected: `at most maxCellLength, ${this.syntax.maxCellLength} characters`,
      hint: "is a quote opened and not closed? is the delimiter right? longer cells need a larger { maxCellLength }",
    });
  }

  private tooLong(): Error {
    return fileError(this.source, `line ${this.line}: a row is too long`, {
      expected: `at most ${this.maxRecordBytes} bytes`,
      hint:
        "is a quote opened and not closed? is the delimiter right? " +
        "wider tables need a larger { maxColumns }, longer cells a larger { maxCellLength }",
    });
  }
}

/** Line ends of all kinds: `\r\n` is one. */
function countLineEnds(text: string): number {
  return text.match(/\r\n|\n|\r/g)?.length ?? 0;
}
