/** Versions of the CNI specification. */
import { CniError, CODE } from "../errors.ts";

/** Every released version, oldest first. */
export const CNI_VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

export const LATEST_VERSION = "1.1.0" satisfies CniVersion;
/** What a configuration or result without `cniVersion` means. */
export const DEFAULT_VERSION = "0.1.0" satisfies CniVersion;

export function isCniVersion(value: unknown): value is CniVersion {
  return (CNI_VERSIONS as readonly unknown[]).includes(value);
}

/** Major, minor, patch of "1", "1.0" or "1.0.0". Throws CniError 6. */
function numbersOf(version: string): [number, number, number] {
  const m = /^(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?$/.exec(version);
  if (m === null) {
    throw new CniError(CODE.decoding, `"${version.slice(0, 32)}" is not a version of the CNI specification`, {
      hint: `Write one of ${CNI_VERSIONS.join(", ")}.`,
    });
  }
  return [Number(m[1]), Number(m[2] ?? 0), Number(m[3] ?? 0)];
}

/** Negative, zero or positive, by number and not by text. Throws CniError 6 for what is no version. */
export function compareVersions(a: string, b: string): number {
  const x = numbersOf(a);
  const y = numbersOf(b);
  return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
}

export const versionAtLeast = (version: string, least: CniVersion): boolean =>
  compareVersions(version, least) >= 0;

/** A version that this library knows. Throws CniError 6 for what is no version, 1 for one it does not know. */
export function parseVersion(text: string): CniVersion {
  if (isCniVersion(text)) return text;
  numbersOf(text);
  throw new CniError(CODE.incompatibleVersion, `CNI version ${text} is not supported`, {
    hint: `Supported are ${CNI_VERSIONS.join(", ")}.`,
  });
}

/** The highest of the versions; undefined when there is none. */
export function highestVersion<V extends string>(versions: Iterable<V>): V | undefined {
  let best: V | undefined;
  for (const v of versions) if (best === undefined || compareVersions(v, best) > 0) best = v;
  return best;
}
