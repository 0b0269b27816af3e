import { describe, expect, test } from "bun:test";
import {
  describeError,
  type ErrorCode,
  hasCode,
  hintOf,
  isBusy,
  isExhausted,
  isExists,
  isInvalid,
  isNotFound,
  isTimeout,
  isUnavailable,
  isUnsupported,
  WeftError,
} from "./errors.ts";

const PREDICATES: Readonly<Partial<Record<ErrorCode, (e: unknown) => boolean>>> = {
  "not-found": isNotFound,
  exists: isExists,
  busy: isBusy,
  invalid: isInvalid,
  unsupported: isUnsupported,
  unavailable: isUnavailable,
  timeout: isTimeout,
  exhausted: isExhausted,
};

describe("predicates", () => {
  test("know their code, alone and as a cause, and no other", () => {
    for (const code of Object.keys(PREDICATES) as ErrorCode[]) {
      const error = new WeftError(code, "no");
      const wrapped = new Error("outer", { cause: new WeftError("internal", "middle", { cause: error }) });
      for (const [other, predicate] of Object.entries(PREDICATES)) {
        expect([other, predicate(error), predicate(wrapped)]).toEqual([
          other,
          other === code,
          other === code,
        ]);
      }
    }
  });

  test("take anything that can be thrown", () => {
    for (const thing of [undefined, null, "text", 7, {}, [], new Error("plain"), { code: "invalid" }]) {
      expect(isInvalid(thing)).toBe(false);
    }
  });

  test("end at a circle of causes", () => {
    const one = new Error("one");
    const two = new Error("two", { cause: one });
    one.cause = two;
    expect(hasCode(one, "busy")).toBe(false);
    expect(hintOf(one)).toBeUndefined();
    expect(describeError(one)).toBe("one: two");
  });
});

describe("describeError", () => {
  test("says each message once, from the outside in", () => {
    const cause = new Error("no such device");
    expect(describeError(new WeftError("busy", "link a", { cause }))).toBe("link a: no such device");
    // A message that holds its cause's already.
    expect(describeError(new WeftError("busy", "link a: no such device", { cause }))).toBe(
      "link a: no such device",
    );
  });

  test("takes anything that can be thrown", () => {
    expect(describeError("text")).toBe("text");
    expect(describeError(7)).toBe("7");
    expect(describeError(new Error("x", { cause: "why" }))).toBe("x: why");
    expect(describeError(undefined)).toBe("unknown error");
    expect(describeError(new Error(""))).toBe("unknown error");
    expect(describeError(Object.create(null))).toBe("unknown error");
  });
});

test("the hint nearest to the surface counts", () => {
  const inner = new WeftError("busy", "inner", { hint: "Wait." });
  expect(hintOf(new WeftError("busy", "outer", { cause: inner }))).toBe("Wait.");
  expect(hintOf(new WeftError("busy", "outer", { cause: inner, hint: "Try." }))).toBe("Try.");
  expect(hintOf("text")).toBeUndefined();
});

test("an error has what it was made with", () => {
  const cause = new Error("why");
  const error = new WeftError("exists", "there", { object: "link a", hint: "Remove it.", cause });
  expect(error).toMatchObject({
    name: "WeftError",
    code: "exists",
    object: "link a",
    hint: "Remove it.",
    cause,
  });
  expect(error).toBeInstanceOf(Error);
  expect("cause" in new WeftError("busy", "no cause")).toBe(false);
});
