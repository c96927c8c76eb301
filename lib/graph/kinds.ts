// What a value is, whichever realm made it. Jest, vitest's vm pools and `node:vm` give programs globals of their own, for which
// `instanceof Float32Array` is false; these questions are answered by internal slots instead, or by what a value can do.

type TypedArrayName =
  | "Float32Array"
  | "Float64Array"
  | "Int8Array"
  | "Int16Array"
  | "Int32Array"
  | "Uint8Array"
  | "Uint8ClampedArray"
  | "Uint16Array"
  | "Uint32Array"
  | "BigInt64Array"
  | "BigUint64Array"
  | "Float16Array";

/** `get %TypedArray%.prototype[@@toStringTag]` reads the internal slot: neither another realm nor a subclass can deceive it. */
const typedArrayTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!.get!;

/** The kind of typed array, or undefined for everything else, `DataView` included. A `Buffer` is a `Uint8Array`. */
export function typedArrayName(value: unknown): TypedArrayName | undefined {
  return typedArrayTag.call(value);
}

export function isFloat32Array(value: unknown): value is Float32Array {
  return typedArrayName(value) === "Float32Array";
}

export function isUint8Array(value: unknown): value is Uint8Array {
  return typedArrayName(value) === "Uint8Array";
}

export function isInt32Array(value: unknown): value is Int32Array {
  return typedArrayName(value) === "Int32Array";
}

/** `Array.isArray`, also for a proxy that was revoked, at which that throws. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** True for an object that can be looked at; false for a proxy that was revoked, or whose traps throw. */
export function isReadable(value: object): boolean {
  try {
    Array.isArray(value);
    Reflect.has(value, "length");
    return true;
  } catch {
    return false;
  }
}

/**
 * True for an array or what is like one. False for what does not tell its length: getters may throw, and a typed array behind a
 * proxy cannot.
 */
export function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  if (typeof value !== "object" || value === null) return false;
  try {
    const { length } = value as { readonly length?: unknown };
    return Number.isSafeInteger(length) && (length as number) >= 0;
  } catch {
    return false;
  }
}

/** What may be an object to read from: itself, or an object without properties in the place of anything else. */
export function propertiesOf(value: unknown): object {
  return typeof value === "object" && value !== null && isReadable(value) ? value : {};
}

/** True for a `Map`, of which `Map.prototype.has` reads the internal slot. */
export function isMap(value: unknown): value is ReadonlyMap<unknown, unknown> {
  try {
    Map.prototype.has.call(value as Map<unknown, unknown>, undefined);
    return true;
  } catch {
    return false;
  }
}

/** True for what can be called; a class cannot be without `new`. */
export function isFunction(value: unknown): value is (...given: never[]) => unknown {
  if (typeof value !== "function") return false;
  try {
    return !Function.prototype.toString.call(value).startsWith("class");
  } catch {
    return true; // a function of a kind that has no text
  }
}

/** True for what `await` waits for. */
export function isPromise<T>(value: unknown): value is PromiseLike<T> {
  return typeof value === "object" && value !== null && isReadable(value) && typeof (value as { then?: unknown }).then === "function";
}

/**
 * For what a function of a caller's gave and is refused. If it is a promise, since the function is async, nobody will await it, and
 * its rejection would end the process before the error that tells about it is read.
 */
export function letGo(refused: unknown): void {
  try {
    if (isPromise(refused)) refused.then(undefined, () => undefined);
  } catch {
    // What is no promise of the language's own may throw.
  }
}

/** True for an `AbortSignal`, or a polyfill's that can do as much. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  if (typeof value !== "object" || value === null || !isReadable(value)) return false;
  const { aborted, addEventListener, removeEventListener, throwIfAborted } = value as Partial<AbortSignal>;
  const methods = [addEventListener, removeEventListener, throwIfAborted];
  return typeof aborted === "boolean" && methods.every((method) => typeof method === "function");
}

/** True for a `URL`: an object that has the parts of an address. */
export function isUrl(value: unknown): value is URL {
  if (typeof value !== "object" || value === null || !isReadable(value)) return false;
  const { href, protocol, pathname } = value as Partial<URL>;
  return typeof href === "string" && typeof protocol === "string" && typeof pathname === "string";
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  const message = (thrown as { message?: unknown } | null | undefined)?.message;
  return typeof message === "string" ? message : String(thrown);
}

/** The `code` of a system error or of an error of a package (`"ENOENT"`), or `""`. */
export function codeOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : "";
}
