/** Ethernet addresses, canonical text "02:00:5e:10:00:01". */
import { WeftError } from "./errors.ts";
import { type IpAddress, ipFromBytes } from "./ip.ts";

export type Mac = string & { readonly __brand: "Mac" };

export function parseMac(text: string): Mac {
  if (!/^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text)) {
    throw new WeftError("invalid", `"${text.slice(0, 32)}" is not an Ethernet address`, {
      hint: "Write it like 02:00:5e:10:00:01.",
    });
  }
  return text.toLowerCase() as Mac;
}

export const macBytes = (mac: string): Uint8Array =>
  Uint8Array.from(mac.split(":"), (x) => Number.parseInt(x, 16));

export const macFromBytes = (b: Uint8Array): Mac =>
  Array.from(b, (x) => x.toString(16).padStart(2, "0")).join(":") as Mac;

/** A locally administered unicast address that is the same for the same seed, everywhere and always. */
export function macFromSeed(seed: string): Mac {
  const b = Uint8Array.from(new Bun.CryptoHasher("sha256").update(seed).digest().subarray(0, 6));
  b[0] = ((b[0] as number) & 0xfc) | 0x02;
  return macFromBytes(b);
}

/** The EUI-64 link-local address that the kernel derives from an Ethernet address (RFC 4291 appendix A). */
export function linkLocalOf(mac: string): IpAddress {
  const m = macBytes(mac);
  const b = new Uint8Array(16);
  b[0] = 0xfe;
  b[1] = 0x80;
  b.set(
    [
      (m[0] as number) ^ 2,
      m[1] as number,
      m[2] as number,
      0xff,
      0xfe,
      m[3] as number,
      m[4] as number,
      m[5] as number,
    ],
    8,
  );
  return ipFromBytes(b);
}
