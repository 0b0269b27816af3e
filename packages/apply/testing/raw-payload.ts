/**
 * The in-memory nftables knows no raw payload expression. For it, the field that a neighbour advertisement is about
 * is an IPv6 address with a name, and numbers of 128 bits are written as such addresses.
 */
import { ipFromBytes } from "@weft/base";
import type { Nftables } from "@weft/kernel/port";

export const parseWritten = (nftables: Nftables): Nftables =>
  new Proxy(nftables, {
    get(target, property) {
      if (property === "run") {
        return (script: string) =>
          target.run(
            script
              .replaceAll("@th,64,128", "ip6 saddr")
              .replaceAll(/\b0x([0-9a-f]{32})\b/g, (_, hex: string) => ipFromBytes(Buffer.from(hex, "hex"))),
          );
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
