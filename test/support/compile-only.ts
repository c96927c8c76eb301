/**
 * What is here for the type checker and would be refused, or train, when run. The test proves nothing by passing:
 * `tsc -p tsconfig.json` does, by which `npm test` goes too.
 */
export function compileOnly(_program: () => unknown): void {}
