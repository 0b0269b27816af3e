import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { isNotFound, isUnsupported, WeftError } from "@weft/base";
import { codeOfErrno, ERRNO, errnoName, fsError, hasErrno, SysError, sysError } from "./errno.ts";

test("errno becomes a typed error that names the call and the object", () => {
  const error = sysError("setns", ERRNO.EPERM, "/run/netns/a");
  expect(error).toBeInstanceOf(WeftError);
  expect(error.message).toBe("setns /run/netns/a: EPERM");
  expect(error).toMatchObject({ code: "permission", errno: 1, errnoName: "EPERM", object: "/run/netns/a" });
  expect(error.hint).toContain("CAP_NET_ADMIN");
});

test("codes", () => {
  const codes = [
    "ENODEV",
    "EEXIST",
    "EINVAL",
    "EBUSY",
    "ENOBUFS",
    "ENOSPC",
    "EAFNOSUPPORT",
    "ENOTSUPP",
    "EIO",
  ];
  expect(codes.map((name) => codeOfErrno(ERRNO[name] as number))).toEqual([
    "not-found",
    "exists",
    "invalid",
    "busy",
    "overflow",
    "exhausted",
    "unsupported",
    "unsupported",
    "internal",
  ]);
  expect(isUnsupported(new SysError("x", ERRNO.EOPNOTSUPP))).toBe(true);
});

test("names are the kernel's own", () => {
  expect([11, 95, 524, 4095].map(errnoName)).toEqual(["EAGAIN", "EOPNOTSUPP", "ENOTSUPP", "errno 4095"]);
});

test("the kernel's words are in the message", () => {
  const error = new SysError("RTM_NEWLINK", ERRNO.EINVAL, { kernelMessage: "Unknown thing", offset: 36 });
  expect(error.message).toBe("RTM_NEWLINK: EINVAL (Unknown thing)");
  expect(error).toMatchObject({ kernelMessage: "Unknown thing", offset: 36 });
});

test("errors of node:fs", () => {
  let caught: unknown;
  try {
    openSync("/proc/there/is/none", "r");
  } catch (error) {
    caught = fsError(error, "a file");
  }
  expect(isNotFound(caught)).toBe(true);
  expect(hasErrno(new WeftError("internal", "wrapped", { cause: caught }), "ENOENT")).toBe(true);
  expect(hasErrno(caught, "EPERM")).toBe(false);
  const other = new Error("not of the system");
  expect(fsError(other, "a file")).toBe(other);
});
