// What people's CSV files look like: delimiters, decimals, line ends, encodings, and the words for what cannot be read.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type CsvOptions, datasets } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
let files = 0;

function file(content: string | Uint8Array): string {
  const path = join(folder, `${files++}.csv`);
  writeFileSync(path, content);
  return path;
}

async function values(content: string | Uint8Array, options?: CsvOptions): Promise<number[]> {
  return Array.from((await datasets.csv(file(content), options)).data);
}

async function refusal(content: string | Uint8Array, options?: CsvOptions, code: "file" | "argument" | "data" = "file"): Promise<string> {
  const { message } = await failure(code, () => datasets.csv(file(content), options));
  expect(message.length).toBeLessThan(700);
  return message;
}

describe("line ends", () => {
  test("of all kinds in one file", async () => {
    expect(await values("a,b\r\n1,2\n3,4\r5,6\r\n7,8")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const { labelNames } = await datasets.csv(file('a,b\r\n1,"x\r\ny"\n2,"x\ny"\r3,"x\ry"\r'), { label: "b" });
    expect(labelNames).toEqual(["x\ny", "x\ry", "x\r\ny"].sort());
  });

  test("count lines alike", async () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      expect(await refusal(["a,t", '1,"x', 'y"', "bad,z", ""].join(end), { columns: ["a"] })).toMatch(/line 4, column "a"/);
      expect(await refusal(["a", "", "#", "1", "bad"].join(end), { comment: "#", missing: 0 })).toMatch(/line 5, column "a"/);
    }
  });

  test("are found wherever a file is cut into pieces", async () => {
    const pad = (length: number) => `"${"x".repeat(length)}"`;
    for (let length = 8170; length < 8195; length++) {
      const text = `a,t\r\n1,${pad(length)}\r\n2,"y""\r\nz"\r\n`;
      expect(await values(text, { columns: ["a"] }), `${length}`).toEqual([1, 2]);
      expect(await values(`#${"x".repeat(length)}\r\na||b\r\n1||2\r\n`, { comment: "#", delimiter: "||" })).toEqual([1, 2]);
      expect(await values(`${"n".repeat(length)}||b\n1||2\n`, { delimiter: "||" })).toEqual([1, 2]);
    }
  });
});

describe("blank lines", () => {
  test("are missing cells in a file of one column, the end of the last line is not", async () => {
    expect(await values("v\n1\n\n3\n", { missing: "mean" })).toEqual([1, 2, 3]);
    expect(await values("v\n1\n\n3", { missing: "drop" })).toEqual([1, 3]);
    expect(await values("v\n1\n3\n\n", { missing: 0 })).toEqual([1, 3, 0]);
    expect(await values("\n1\n\n", { missing: 0, header: false })).toEqual([0, 1, 0]);
    expect(await refusal("v\n1\n \n3\n")).toMatch(/line 3, column "v": missing value/);
  });

  test("are passed over in others", async () => {
    expect(await values("\n\na,b\n\n1,2\n  \n3,4\n\n\n")).toEqual([1, 2, 3, 4]);
    expect(await refusal('a,b\n1,2\n""\n')).toMatch(/line 3: wrong number of cells/);
  });
});

describe("delimiters", () => {
  test.each([",", ";", "\t", "|"])("%j is told from the first lines", async (delimiter) => {
    const text = [`a${delimiter}"b,;\t|"`, `1${delimiter}2`, `3${delimiter}4`, ""].join("\n");
    const dataset = await datasets.csv(file(text));
    expect(dataset).toMatchObject({ columns: ["a", "b,;\t|"], rows: 2 });
  });

  test("may be announced by Excel, or be of several characters", async () => {
    expect(await values("sep=|\r\na|b\r\n1|2\r\n")).toEqual([1, 2]);
    expect(await values("a::b\n1::2\n", { delimiter: "::" })).toEqual([1, 2]);
    expect(await values("a b\n1 2\n", { delimiter: " " })).toEqual([1, 2]);
  });

  test("that are not certain are asked for", async () => {
    expect(await refusal("1,5;2,5\n3,5;4,5\n", { header: false }, "argument")).toMatch(/"," or ";".*\n.*delimiter: ";".*decimal: ","/);
    expect(await refusal("a|b,c|d\n1|2,3|4\n", {}, "argument")).toMatch(/"," or "\|".*\n.*delimiter/);
  });

  test("that are given wrongly are hinted at, not categories", async () => {
    const message = await refusal("a;b\n1;2\n", { delimiter: "," });
    expect(message).toMatch(/delimiter: ";"/);
    expect(message).not.toMatch(/categorical/);
    expect(await refusal("a;b\n1;2\n", { columns: ["a"], delimiter: "," }, "argument")).toMatch(
      /no column "a".*"a;b".*\n.*another delimiter/,
    );
  });

  test("at the end of each line make no column", async () => {
    expect(await datasets.csv(file("a,b,\n1,2,\n3,4,\n"))).toMatchObject({ columns: ["a", "b"], rows: 2 });
    expect(await datasets.csv(file("a,b\n1,2,\n3,4,\n"))).toMatchObject({ columns: ["a", "b"], rows: 2 });
    expect(await datasets.csv(file("1,2,\n3,4,\n"), { header: false })).toMatchObject({ columns: ["0", "1"], rows: 2 });
    const late = `a,b,\n${"1,2,\n".repeat(30)}1,2,3\n`;
    expect(await refusal(late)).toMatch(/line 32: a value behind the last column.*received "3"/);
    expect(await values("a,b\n1,\n2,\n", { missing: 0 })).toEqual([1, 0, 2, 0]);
  });
});

describe("numbers", () => {
  test("of all plain spellings, with blanks around", async () => {
    expect(await values('a\n1e5\n+1\n.5\n5.\n -2E-1 \n" 7 "\n\u00a08\n0007\n-0\n')).toEqual(
      [1e5, 1, 0.5, 5, Math.fround(-0.2), 7, 8, 7, -0].map(Math.fround),
    );
  });

  test("with decimal commas", async () => {
    expect(await values("\ufeffa;b\r\n1,5;2,25\r\n-3,5e1;4\r\n", { decimal: "," })).toEqual([1.5, 2.25, -35, 4]);
    expect(await values('a,b\n"1,5","2,5"\n', { decimal: ",", delimiter: "," })).toEqual([1.5, 2.5]);
    expect(await values("a\n1,5\n2\n", { decimal: "," })).toEqual([1.5, 2]);
    expect(await refusal("a;b\n1.5;2\n", { decimal: "," })).toMatch(/decimal point/);
    expect(await refusal("a;b\n1,5;2\n")).toMatch(/\{ decimal: "," \}/);
    expect(await refusal("a\n1\n4,5\n")).toMatch(/line 3: wrong number of cells[\s\S]*decimal: ","/);
  });

  test.each([
    ["4,5", /decimal: ","/],
    ["1,234", /decimal: ","[\s\S]*thousands/],
    ["1,234,567", /thousands/],
    ["1,234.5", /thousands/],
    ["1.234,5", /thousands/],
    ["1.234.567", /thousands/],
    ["1 234", /thousands/],
    ["1'234.5", /thousands/],
    ["1_000", /thousands/],
    ["0x10", /decimal notation/],
    ["-Infinity", /missingValues/],
    ["inf", /missingValues/],
    ["12 %", /percent/],
    ["€5", /currency/],
    ["5.00 $", /currency/],
    ["USD 5", /currency/],
    ["2024-01-31", /dates/],
    ["31.01.2024", /dates/],
    ["2024-01-31T10:00:00Z", /dates/],
    ["12:30", /dates/],
    ["true", /write 1 and 0/],
    ["No", /write 1 and 0/],
    ["\u22125", /minus/],
    ["1e300", /3\.4e38/],
    ["1;2", /delimiter: ";"/],
    ["red", /categorical: \["a"\]/],
    ["x".repeat(100_000), /categorical/],
  ])("%s is refused with advice", async (text, advice) => {
    const message = await refusal(`a\tb\n1\t1\n"${text}"\t1\n`);
    expect(message).toMatch(/line 3, column "a": not a number.*received/);
    expect(message).toMatch(advice);
    if (!/categorical/.test(String(advice))) expect(message).not.toMatch(/texts can be read/);
  });

  test("that float32 rounds are said where it matters", async () => {
    const path = file("id,x\n16777216,1\n16777217,2\n");
    const dataset = await datasets.csv(path);
    expect(dataset.warnings).toHaveLength(1);
    expect(dataset.warnings[0]).toMatch(/line 3, column "id": "16777217" becomes 16777216/);
    expect((await datasets.csv(path, { standardize: true })).warnings).toEqual([]);
    expect((await datasets.csv(path, { columns: ["x"] })).warnings).toEqual([]);
    expect((await datasets.csv(path, { label: "id" })).labels).toEqual(Int32Array.of(16777216, 16777217));
    const long = await datasets.csv(file("id\n12345678901234567890\n1\n"), { standardize: true });
    expect(long.warnings[0]).toMatch(/line 2, column "id"/);
    expect((await datasets.csv(file("a\n1e30\n1234567.891\n"))).warnings).toEqual([]);
  });
});

describe("missing values", () => {
  const spellings = ["", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", "-", "?"];

  test("are spelt in many ways", async () => {
    for (const spelling of spellings) {
      expect(await refusal(`a,b\n1,2\n${spelling},4\n`), spelling).toMatch(/line 3, column "a": missing value/);
      expect(await values(`a,b\n1,2\n${spelling},4\n5,6\n`, { missing: "mean" })).toEqual([1, 2, 3, 4, 5, 6]);
      const text = `c,b\nx,2\n${spelling},4\n`;
      expect(await refusal(text, { categorical: ["c"] })).toMatch(/line 3, column "c": missing value/);
      expect(await values(text, { categorical: ["c"], missing: "drop" })).toEqual([1, 2]);
      expect(await refusal(text, { label: "c" })).toMatch(/line 3, column "c": missing value/);
    }
  });

  test("are those that are given", async () => {
    expect(await values("a\n1\n-999\n3\n", { missingValues: ["-999"], missing: "mean" })).toEqual([1, 2, 3]);
    expect(await refusal("a\n1\nNA\n", { missingValues: ["-999"] })).toMatch(/not a number/);
    const country = await datasets.csv(file("c,b\nNA,1\nDE,2\n"), { categorical: ["c"], missingValues: [""] });
    expect(country.columns).toEqual(["c=DE", "c=NA", "b"]);
    expect((await datasets.csv(file("c,b\n,1\nDE,2\n"), { categorical: ["c"], missingValues: [] })).columns).toEqual(["c=", "c=DE", "b"]);
    const many = Array.from({ length: 200_000 }, (_, index) => `m${index}`);
    expect(await values("a\n1\nm7\n", { missingValues: many, missing: 0 })).toEqual([1, 0]);
  });

  test("in all rows leave nothing to fill in with", async () => {
    expect(await refusal("a,b\n1,\n2,\n", { missing: "mean" })).toMatch(/column "b": every value is missing/);
    expect(await refusal("a,b\n1,\n2,\n", { missing: "drop" }, "data")).toMatch(/all 2 rows have missing values/);
    expect(await values("a,b\n1,\n2,\n", { missing: 7, standardize: true })).toEqual([-1, 0, 1, 0]);
  });
});

describe("encodings", () => {
  const text = "größe,€\n1,2\n";
  const bigEndian = (value: string) => Buffer.from(value, "utf16le").swap16();

  test.each<[string, Uint8Array, CsvOptions]>([
    ["UTF-8", Buffer.from(text), {}],
    ["UTF-8 with a mark", Buffer.from(`\ufeff${text}`), {}],
    ["UTF-16 with a mark", Buffer.from(`\ufeff${text}`, "utf16le"), {}],
    ["big-endian UTF-16 with a mark", bigEndian(`\ufeff${text}`), {}],
    ["UTF-16", Buffer.from(text, "utf16le"), { encoding: "utf-16le" }],
    ["big-endian UTF-16", bigEndian(text), { encoding: "utf-16be" }],
    ["windows-1252", Buffer.from(text.replace("€", "\x80"), "latin1"), { encoding: "latin1" }],
    ["gzipped", gzipSync(text), {}],
    ["gzipped in parts", Buffer.concat([gzipSync("größe,€\n1"), gzipSync(",2\n")]), {}],
    ["gzipped UTF-16", gzipSync(Buffer.from(`\ufeff${text}`, "utf16le")), {}],
  ])("%s", async (_, bytes, options) => {
    expect(await datasets.csv(file(bytes), options)).toMatchObject({ columns: ["größe", "€"], data: Float32Array.of(1, 2) });
  });

  test("characters are whole wherever a file is cut into pieces", async () => {
    for (let length = 65_530; length < 65_540; length++) {
      const { labelNames } = await datasets.csv(file(`a,t\n1,"${"x".repeat(length)}€"\n`), { label: "t" });
      expect(labelNames![0]!.endsWith("x€")).toBe(true);
    }
  });

  test("bytes that are no text are told with their place", async () => {
    expect(await refusal(Buffer.from("größe\n1\n", "latin1"))).toMatch(/not utf-8 at byte 2\n.*encoding: "latin1"/);
    const far = Buffer.concat([Buffer.from("a\n"), Buffer.from("1\n".repeat(50_000)), Buffer.of(0xe4)]);
    expect(await refusal(Buffer.concat([far, Buffer.from("\n")]))).toMatch(/not utf-8 at byte 100002/);
    expect(await refusal(far)).toMatch(/not utf-8 at byte 100002/);
    expect(await refusal(Buffer.from("a\n1\n", "utf16le"))).toMatch(/zero byte[\s\S]*utf-16le/);
    expect(await refusal(Buffer.from("504b03041400", "hex"))).toMatch(/Excel[\s\S]*save/);
    expect(await refusal(gzipSync("a\n1\n".repeat(1000)).subarray(0, 20))).toMatch(/truncated/);
    const corrupt = gzipSync(Array.from({ length: 999 }, (_, index) => index * index).join("\n"));
    corrupt.fill(0x55, 100, 200);
    expect(await refusal(corrupt)).toMatch(/gzip data are corrupt|truncated/);
  });
});

describe("lines that are no rows", () => {
  test("are passed over by what they begin with", async () => {
    expect(await values("# made by a sensor\na,b\n1,2\n# pause\n3,4\n#", { comment: "#" })).toEqual([1, 2, 3, 4]);
    expect(await values("// x;y\na,b\n1,2\n", { comment: "//" })).toEqual([1, 2]);
    expect(await refusal("a,b\n1,2\n# pause\n3,4\n")).toMatch(/line 3: wrong number of cells[\s\S]*comment: "#"/);
  });

  test("have another number of cells", async () => {
    expect(await refusal("a,b\n1,2\n\n3\n")).toMatch(/line 4: wrong number of cells; expected 2 .*received 1/);
    expect(await refusal("a,b\n1,hello, world\n")).toMatch(/line 2: wrong number of cells; expected 2 .*received 3/);
  });
});

describe("headers", () => {
  test("that are numbers are refused unless they are meant", async () => {
    expect(await refusal("1.5,2\n3,4\n")).toMatch(/line 1: the header holds only numbers.*\n.*header: false/);
    expect(await datasets.csv(file("2020,2021\n3,4\n"), { header: true })).toMatchObject({ columns: ["2020", "2021"], rows: 1 });
    expect(await values("1.5,2\n3,4\n", { header: false })).toEqual([1.5, 2, 3, 4]);
  });

  test("without rows, files without anything", async () => {
    expect(await refusal("a,b\n", {}, "data")).toMatch(/no rows below the header[\s\S]*header: false/);
    for (const empty of ["", "\n\n\r\n", "\ufeff", "# a\n"]) {
      expect(await refusal(empty, { comment: "#" }, "data")).toMatch(/no rows, the file is empty/);
    }
  });

  test("with repeated or without names", async () => {
    expect(await refusal("a,a\n1,2\n")).toMatch(/line 1: two columns are called "a"/);
    expect(await refusal("a,,\n1,2,3\n")).toMatch(/line 1: several columns have no name/);
    expect(await datasets.csv(file(",a\n1,2\n"))).toMatchObject({ columns: ["", "a"], data: Float32Array.of(1, 2) });
  });
});

test("quotes in wrong places are told with their line", async () => {
  expect(await refusal('a,b\n1,2\n3,5" pipe\n')).toMatch(/line 3: a quote in the middle of a cell[\s\S]*doubled/);
  expect(await refusal('a,b\n1,2\n3,"5" pipe\n')).toMatch(/line 3: text behind the closing quote/);
  expect(await refusal('a,b\n1,2\n"3,4\n5,6\n')).toMatch(/line 3: a quote is opened and never closed/);
  expect((await datasets.csv(file('a,b\n1, "say ""hi""" \n2,""""\n'), { label: "b" })).labelNames).toEqual(['"', 'say "hi"']);
});

test.runIf(process.platform !== "win32")("what is no regular file is refused at once", async () => {
  const pipe = join(folder, "pipe.csv");
  execFileSync("mkfifo", [pipe]);
  mkdirSync(join(folder, "folder.csv"));
  expect((await failure("file", () => datasets.csv(pipe))).message).toMatch(/not a regular file/);
  expect((await failure("file", () => datasets.csv("/dev/zero"))).message).toMatch(/not a regular file/);
  expect((await failure("file", () => datasets.csv(join(folder, "folder.csv")))).message).toMatch(/is a folder/);
});

test.each<[string, unknown, RegExp]>([
  ["decimal", ";", /decimal to be "\." or ","/],
  ["encoding", "utf8", /encoding to be .*\n.*did you mean "utf-8"/],
  ["comment", "", /comment to be at least one character/],
  ["delimiter", '"', /delimiter to be at least one character, without quotes/],
  ["delimiter", ",\n", /delimiter to be at least one character, without quotes/],
  ["missingValues", "NA", /missingValues to be an array/],
  ["maxColumns", 0, /maxColumns to be a whole number of at least 1/],
  ["maxBytes", "1", /maxBytes to be a whole number/],
])("option %s: %j is refused", async (name, value, message) => {
  expect(await refusal("a\n1\n", { [name]: value } as CsvOptions, "argument")).toMatch(message);
});
