/** Formats of strings and numbers that schemas name, as Kubernetes checks them; other names are not checked. */
import { familyOf, isIp, parseIpWithLength } from "@weft/base";

const matches =
  (pattern: RegExp) =>
  (value: string): boolean =>
    pattern.test(value);

const whole =
  (bits: number) =>
  (value: number): boolean =>
    Number.isInteger(value) && value >= -(2 ** (bits - 1)) && value <= 2 ** (bits - 1) - 1;

const number = (validate: (value: number) => boolean) => ({ type: "number" as const, validate });

/** RFC 3339: date, time and zone. */
const isDateTime = (value: string): boolean =>
  /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value) &&
  !Number.isNaN(Date.parse(value));

function isUri(value: string): boolean {
  return value.startsWith("/") || URL.canParse(value);
}

function isPrefix(value: string): boolean {
  try {
    parseIpWithLength(value);
    return true;
  } catch {
    return false;
  }
}

export const FORMATS = {
  int32: number(whole(32)),
  int64: number((value) => Number.isInteger(value)),
  float: number(Number.isFinite),
  double: number(Number.isFinite),
  "date-time": isDateTime,
  datetime: isDateTime,
  date: (value: string) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  byte: matches(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/),
  uri: isUri,
  email: matches(/^[^\s@]+@[^\s@]+$/),
  hostname: matches(
    /^(?=.{1,253}$)[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$/,
  ),
  ipv4: (value: string) => isIp(value) && familyOf(value) === 4,
  ipv6: (value: string) => isIp(value) && familyOf(value) === 6,
  cidr: isPrefix,
  mac: matches(/^(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$/),
  uuid: matches(/^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i),
  duration: matches(/^-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$|^0$/),
};
