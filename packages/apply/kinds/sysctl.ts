/** Sysctls of the node. A row that goes leaves the value: what stood there before is not known to be wanted. */
import { WeftError } from "@weft/base";
import type { KindContext, KindOps } from "../kind.ts";

interface Value {
  readonly stage: 0 | 1;
  readonly key: string;
  readonly value: string | undefined;
}

export function sysctlOps({ kernel, table }: KindContext<"sysctl">): KindOps<"sysctl", Value> {
  return {
    update(row) {
      if (kernel.self.sysctl(row.key) === undefined) {
        throw new WeftError("unsupported", `this kernel has no ${row.key.replaceAll("/", ".")}`, {
          object: row.key,
          hint: row.key.includes("ipv6")
            ? "Enable IPv6 in the kernel, or give the node no IPv6 range."
            : "See the kernel's log.",
        });
      }
      kernel.self.setSysctl(row.key, row.value);
    },
    delete() {},
    actual: {
      list: (rows = [...table.rows()]) =>
        rows.map((row) => ({ stage: row.stage, key: row.key, value: kernel.self.sysctl(row.key) })),
      keyOf: (actual) => `${actual.stage} ${actual.key}`,
      matches: (row, actual) => actual.value === row.value,
      delete() {},
    },
    describe: (row, actual) => `is ${actual.value ?? "absent"}, not ${row.value}`,
  };
}
