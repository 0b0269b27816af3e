/**
 * Quantities of resources: "0.5", "500m", "1.5Gi", "1e3" (API reference, Quantity). Kubernetes keeps each in one form,
 * so that equal ones look alike: a number without a fraction, and the largest suffix that leaves it so. What is finer
 * than a billionth is rounded up.
 */

const FORM = /^([+-]?)(\d*)(?:\.(\d*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE])|[eE]([+-]?\d{1,2}))?$/;
const BINARY = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/** By the power of a thousand, from 10^-9 on. */
const DECIMAL = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const NANO = 9;

interface Quantity {
  /** Billionths. */
  readonly nano: bigint;
  readonly style: "binary" | "decimal" | "exponent";
}

const up = (value: bigint, unit: bigint): bigint =>
  value / unit + (value % unit === 0n ? 0n : value > 0n ? 1n : -1n);

function parse(text: string): Quantity | undefined {
  const found = FORM.exec(text);
  if (found === null) return undefined;
  const [, sign, whole = "", fraction = "", binary, decimal, exponent] = found;
  const digits = whole + fraction;
  if (digits === "" || digits.length > 60) return undefined;
  const power = decimal === undefined ? Number(exponent ?? 0) : 3 * DECIMAL.indexOf(decimal) - NANO;
  const scale = power + NANO - fraction.length;
  const factor = binary === undefined ? 1n : 1024n ** BigInt(BINARY.indexOf(binary) + 1);
  const value = BigInt(digits) * factor * (sign === "-" ? -1n : 1n);
  const nano = scale >= 0 ? value * 10n ** BigInt(scale) : up(value, 10n ** BigInt(-scale));
  return {
    nano,
    style: binary !== undefined ? "binary" : exponent !== undefined ? "exponent" : "decimal",
  };
}

/** The value in billionths; undefined for what is no quantity. */
export const nanoOf = (text: string): bigint | undefined => parse(text)?.nano;

/** A thousandth, in billionths: resources are not counted finer. */
export const MILLI = 1_000_000n;

/** The one form of a quantity, rounded up to `finest` (in billionths); undefined for what is none. */
export function canonicalQuantity(text: string, finest = 1n): string | undefined {
  const parsed = parse(text);
  if (parsed === undefined) return undefined;
  const { style } = parsed;
  const nano = up(parsed.nano, finest) * finest;
  if (nano === 0n) return "0";
  const one = 10n ** BigInt(NANO);
  const size = nano < 0n ? -nano : nano;
  if (style === "binary" && size >= 1024n * one && nano % one === 0n) {
    const [value, steps] = divided(nano / one, 1024n, BINARY.length);
    return `${value}${steps === 0 ? "" : BINARY[steps - 1]}`;
  }
  const [value, steps] = divided(nano, 1000n, DECIMAL.length - 1);
  const exponent = 3 * steps - NANO;
  if (style === "exponent") return exponent === 0 ? String(value) : `${value}e${exponent}`;
  return `${value}${DECIMAL[steps]}`;
}

/** Divided as often as nothing remains, `most` times at most. */
function divided(value: bigint, by: bigint, most: number): [bigint, number] {
  let [rest, steps] = [value, 0];
  while (steps < most && rest % by === 0n) [rest, steps] = [rest / by, steps + 1];
  return [rest, steps];
}
