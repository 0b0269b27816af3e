/**
 * Certificates while a server runs for years: once an hour they are looked at as at a start. What is about to run out is
 * made again, and what somebody has replaced is taken; new connections have it, those that are there go on. The
 * administrator's kubeconfig is written anew with them.
 *
 * The authority is never made again: its end is told in time.
 */
import { describeError, hintOf, type Logger } from "@weft/base";
import { type Certificates, DAY, endOf } from "./certificates.ts";

/** A line of /readyz?verbose. */
export interface CertificateState {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface KeepOptions {
  readonly certificates: Certificates;
  readonly load: () => Promise<Certificates>;
  /** Milliseconds: an hour by default. */
  readonly every?: number;
  readonly now: () => number;
  readonly logger: Logger;
}

export interface KeptCertificates {
  /** Says what is done with new ones. */
  follow(take: (certificates: Certificates) => Promise<void>): void;
  states(): readonly CertificateState[];
  stop(): Promise<void>;
}

const HOUR = 3_600_000;
/** Of an authority with less than this left the log says so. */
const AUTHORITY_LEFT = 90 * DAY;

export function keepCertificates({
  certificates,
  load,
  every = HOUR,
  now,
  logger,
}: KeepOptions): KeptCertificates {
  let held = certificates;
  let fault: string | undefined;
  let take: (certificates: Certificates) => Promise<void> = async () => {};
  let running: Promise<void> = Promise.resolve();
  warnOfAuthority(held, now(), logger);
  const look = async (): Promise<void> => {
    try {
      const next = await load();
      if (JSON.stringify(next) !== JSON.stringify(held)) {
        await take(next);
        held = next;
        logger.info("the certificates are new ones", { until: day(endOf(next.server.cert)) });
      }
      fault = undefined;
    } catch (error) {
      const said = describeError(error);
      if (said !== fault)
        logger.error("the certificates cannot be renewed", { error: said, hint: hintOf(error) });
      fault = said;
    }
  };
  const timer = setInterval(() => {
    running = running.then(look);
  }, every);
  timer.unref();
  return {
    follow(next) {
      take = next;
    },
    states() {
      const state = (name: string, cert: string, why?: string): CertificateState => {
        const end = endOf(cert);
        const over = end <= now();
        const detail = `${over ? "it ran out on" : "valid until"} ${day(end)}`;
        return { name, ok: !over, detail: why === undefined ? detail : `${detail}; ${why}` };
      };
      return [state("authority", held.authority), state("certificate", held.server.cert, fault)];
    },
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}

function warnOfAuthority({ authority }: Certificates, now: number, logger: Logger): void {
  const end = endOf(authority);
  if (end - now > AUTHORITY_LEFT) return;
  logger.warn(end <= now ? "the authority has run out" : "the authority runs out soon", {
    until: day(end),
    hint: "Make a new ca.crt and ca.key and give all clients the new one; the server's own follow by themselves.",
  });
}

const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
