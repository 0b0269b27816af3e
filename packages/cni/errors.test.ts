import { expect, test } from "bun:test";
import { isBusy, isExhausted, isNotFound, WeftError } from "@weft/base";
import { CniError, CODE, CODE_TABLE, OWN_CODE, parseErrorResult, toCniError } from "./errors.ts";

test("the table names every code once, own codes from 100 up", () => {
  const named = Object.entries({ ...CODE, ...OWN_CODE }).map(([name, code]) => `${code} ${name}`);
  expect(CODE_TABLE.map(({ code, name }) => `${code} ${name}`).sort()).toEqual(named.sort());
  expect(new Set(CODE_TABLE.map(({ code }) => code)).size).toBe(CODE_TABLE.length);
  for (const code of Object.values(OWN_CODE)) expect(code).toBeGreaterThanOrEqual(100);
  for (const code of Object.values(CODE)) expect(code).toBeLessThan(100);
});

test("prints details, causes and hint", () => {
  const cause = new WeftError("busy", "address 10.0.0.1 is locked");
  const error = new CniError(CODE.tryAgainLater, "no address", { details: "pool a", hint: "Wait.", cause });
  expect(error.toResult("1.0.0")).toEqual({
    cniVersion: "1.0.0",
    code: 11,
    msg: "no address",
    details: "pool a. address 10.0.0.1 is locked. Wait.",
  });
  expect(new CniError(7, "bad").toResult("0.4.0")).toEqual({ cniVersion: "0.4.0", code: 7, msg: "bad" });
});

test("a WeftError keeps its object, hint and kind", () => {
  const error = toCniError(
    new WeftError("exhausted", "no address is free", { object: "pool a", hint: "Add a block." }),
  );
  expect(error.cniCode).toBe(OWN_CODE.rangeExhausted);
  expect(isExhausted(error)).toBe(true);
  expect(error.toResult("1.1.0")).toEqual({
    cniVersion: "1.1.0",
    code: 102,
    msg: "pool a: no address is free",
    details: "Add a block.",
  });
});

test("not-found never becomes code 3, which would stop the runtime from cleaning up", () => {
  expect(toCniError(new WeftError("not-found", "no pool")).cniCode).not.toBe(CODE.unknownContainer);
});

test("a CniError deeper in the causes keeps its code", () => {
  const inner = new CniError(OWN_CODE.addressUnavailable, "10.0.0.9 is taken", { details: "by pod b" });
  const outer = toCniError(new Error("ADD failed", { cause: inner }));
  expect(outer.cniCode).toBe(110);
  expect(outer.toResult("1.0.0")).toMatchObject({
    msg: "ADD failed: 10.0.0.9 is taken",
    details: "by pod b",
  });
});

test("anything else is internal", () => {
  expect(toCniError(new TypeError("x is undefined")).cniCode).toBe(999);
  expect(toCniError("text").message).toBe("text");
  expect(toCniError(undefined).message).not.toBe("");
});

test("reads a plugin's error without taking its own codes for ours", () => {
  const error = parseErrorResult({ code: 104, msg: "theirs", details: "d" });
  expect(error?.cniCode).toBe(104);
  expect(isNotFound(error)).toBe(false);
  expect(isBusy(parseErrorResult({ code: 11, msg: "later" }))).toBe(true);
  for (const bad of [null, 3, {}, { code: "1", msg: "x" }, { code: 1 }, { code: -1, msg: "x" }]) {
    expect(parseErrorResult(bad)).toBeUndefined();
  }
});
