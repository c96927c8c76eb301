import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Answer, Question } from "./protocol.js";

/** The last lines of what a process wrote to stderr. */
const KEPT_LINES = 8;

type Of<Type extends Answer["type"]> = Extract<Answer, { readonly type: Type }>;

/** A process that speaks the protocol. Every failure, its death and silence included, rejects the question being asked. */
export class Child {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #complaints: string[] = [];

  /** @param environment variables beside those of this process */
  constructor(command: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.#process = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } });
    // A process that cannot be started closes its streams too: the next answer says so.
    this.#process.on("error", (error) => this.#complaints.push(error.message));
    this.#process.stdin!.on("error", () => undefined);
    createInterface({ input: this.#process.stderr! }).on("line", (line) => {
      this.#complaints.push(line);
      this.#complaints.splice(0, this.#complaints.length - KEPT_LINES);
    });
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  /** Asks, and waits for the answer of that type. */
  async ask<Type extends Answer["type"]>(question: Question, type: Type, seconds: number): Promise<Of<Type>> {
    this.#process.stdin!.write(`${JSON.stringify(question)}\n`);
    return this.answer(type, seconds);
  }

  /** The next answer, which has to be of that type. */
  async answer<Type extends Answer["type"]>(type: Type, seconds: number): Promise<Of<Type>> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), seconds * 1000);
    });
    try {
      return await Promise.race([this.#next(type), silence]);
    } catch (error) {
      this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #next<Type extends Answer["type"]>(type: Type): Promise<Of<Type>> {
    while (true) {
      const { value: line, done } = await this.#lines.next();
      if (done === true) throw new Error(`it ended: ${this.#complaints.filter((text) => text.trim() !== "").at(-1) ?? "without a word"}`);
      if (!line.startsWith('{"type"')) continue;
      const answer = JSON.parse(line) as Answer;
      if (answer.type === "failed") throw new Error(answer.message);
      if (answer.type === type) return answer as Of<Type>;
    }
  }

  /** Lets the process end by itself. */
  exit(): void {
    this.#process.stdin!.end(`${JSON.stringify({ type: "exit" } satisfies Question)}\n`);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }
}
