// Not a contestant: the machine's own limits on one thread, in a process of its own, so that several can be asked at once.
import { loadAddon } from "#lib/runtime/native.js";
import { listen } from "../protocol.js";

await listen((question) =>
  question.type === "probe"
    ? { type: "probed", ...loadAddon().probe(question.tier, question.seconds) }
    : { type: "failed", message: `a probe cannot ${question.type}` },
);
