/** What every implementation of the port must do: called by the tests of each. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type ErrorCode, type IpAddress, type Prefix, WeftError } from "@weft/base";
import type { IpBlock, IpPool, Loan } from "@weft/model";
import type { NewBlock, PoolApi } from "./port.ts";

export interface PortSubject {
  readonly api: PoolApi;
  /** A pool of that name and range that is Ready, made as its users make it. */
  makePool(name: string, cidr: Prefix, blockSize: number): Promise<IpPool>;
  end(): Promise<void>;
}

export function describePoolApi(name: string, open: () => Promise<PortSubject>): void {
  describe(name, () => {
    let subject: PortSubject;
    let pool: IpPool;
    const { signal } = new AbortController();
    beforeEach(async () => {
      subject = await open();
      pool = await subject.makePool("main", "10.9.0.0/24" as Prefix, 26);
    });
    afterEach(() => subject.end());

    const fresh = (prefix = "10.9.0.64/26" as Prefix): NewBlock => ({
      prefix,
      pool: pool.name,
      poolUid: pool.uid,
      node: "a",
      tunnelAddress: undefined,
      loans: [],
    });
    const loan = (id: string, more: Partial<Loan> = {}): Loan => ({
      id,
      node: "b",
      wanted: undefined,
      address: undefined,
      refused: undefined,
      returned: false,
      tunnel: false,
      pod: undefined,
      ...more,
    });
    const code = async (work: Promise<unknown>): Promise<ErrorCode | undefined> => {
      try {
        await work;
      } catch (error) {
        if (error instanceof WeftError) return error.code;
        throw error;
      }
      return undefined;
    };

    test("a pool is read, and one that is not there is undefined", async () => {
      expect(await subject.api.pool("main", signal)).toMatchObject({ cidr: "10.9.0.0/24", blockSize: 26 });
      expect(await subject.api.pool("other", signal)).toBeUndefined();
    });

    test("a block is made once, and says whose it is", async () => {
      const made = await subject.api.create(fresh(), signal);
      expect(made).toMatchObject({ ...fresh(), name: "10-9-0-64-26" });
      expect(await code(subject.api.create({ ...fresh(), node: "b" }, signal))).toBe("exists");
      expect(await subject.api.block(made.name, signal)).toEqual(made);
      expect(await subject.api.block("10-9-0-0-26", signal)).toBeUndefined();
    });

    test("node, tunnel address and loans are replaced, of the version that was read alone", async () => {
      const made = await subject.api.create(fresh(), signal);
      const loans = [
        loan("one", { wanted: "10.9.0.65" as IpAddress, pod: "shop/web" }),
        loan("two", { address: "10.9.0.66" as IpAddress, tunnel: true }),
        loan("three", { refused: "no address is free", returned: true }),
      ];
      const wanted = { ...made, tunnelAddress: "10.9.0.70" as IpAddress, loans };
      const changed = await subject.api.replace(wanted, signal);
      expect(changed).toEqual({ ...wanted, resourceVersion: changed.resourceVersion });
      expect(changed.resourceVersion).not.toBe(made.resourceVersion);
      expect(await code(subject.api.replace(wanted, signal))).toBe("conflict");
      const orphan = await subject.api.replace(
        { ...changed, node: undefined, tunnelAddress: undefined },
        signal,
      );
      expect(await subject.api.block(made.name, signal)).toMatchObject({
        node: undefined,
        tunnelAddress: undefined,
      });
      expect(orphan.loans).toEqual(loans);
    });

    test("a block is removed, of the version that was read alone; one that is gone is no fault", async () => {
      const made = await subject.api.create(fresh(), signal);
      const changed = await subject.api.replace({ ...made, loans: [loan("one")] }, signal);
      expect(await code(subject.api.remove(made, signal))).toBe("conflict");
      expect(await code(subject.api.remove({ ...changed, uid: "another" }, signal))).toBe("conflict");
      await subject.api.remove(changed, signal);
      await subject.api.remove(changed, signal);
      expect(await subject.api.block(made.name, signal)).toBeUndefined();
      expect(await code(subject.api.replace(changed, signal))).toBe("not-found");
      const again = await subject.api.create(fresh(), signal);
      expect(again.uid).not.toBe(made.uid);
      expect(await code(subject.api.replace(changed, signal))).toMatch(/^(conflict|not-found)$/);
    });

    test("a report keeps what the block says otherwise, and makes a new version each time", async () => {
      const made = await subject.api.create(fresh(), signal);
      const allocations = [
        {
          address: "10.9.0.65" as IpAddress,
          pod: "shop/web",
          podUid: "u1",
          containerId: "c1",
          node: undefined,
          since: 1_700_000_000_000,
        },
        {
          address: "10.9.0.66" as IpAddress,
          pod: undefined,
          podUid: undefined,
          containerId: undefined,
          node: "b",
          since: 1_700_000_001_000,
        },
      ];
      const report = { allocations, used: 2, free: 62, reported: 1_700_000_002_123 };
      const first = await subject.api.writeStatus(made, report, signal);
      expect(first).toMatchObject({ allocations, reported: 1_700_000_002_123, node: "a", loans: [] });
      expect(await code(subject.api.writeStatus(made, report, signal))).toBe("conflict");
      const second = await subject.api.writeStatus(
        first,
        { ...report, reported: report.reported + 1 },
        signal,
      );
      expect(second.resourceVersion).not.toBe(first.resourceVersion);
      const replaced = await subject.api.replace({ ...second, loans: [loan("one")] }, signal);
      expect(replaced.allocations).toEqual(allocations);
    });

    test("of many that claim one block one has it", async () => {
      const names = Array.from({ length: 8 }, (_, i) => `node-${i}`);
      const made = await Promise.allSettled(
        names.map((node) => subject.api.create({ ...fresh(), node }, signal)),
      );
      const winners = made.flatMap((m) => (m.status === "fulfilled" ? [m.value] : []));
      expect(winners).toHaveLength(1);
      expect(await subject.api.block("10-9-0-64-26", signal)).toEqual(winners[0] as IpBlock);
    });

    test("IPv6 is as IPv4", async () => {
      const v6 = await subject.makePool("six", "fd00:9::/64" as Prefix, 122);
      const made = await subject.api.create(
        {
          ...fresh("fd00:9::40/122" as Prefix),
          pool: v6.name,
          poolUid: v6.uid,
          tunnelAddress: "fd00:9::41" as IpAddress,
        },
        signal,
      );
      expect(made).toMatchObject({ name: "6-fd00-9--40-122", tunnelAddress: "fd00:9::41" });
      expect(await subject.api.block("6-fd00-9--40-122", signal)).toEqual(made);
    });

    test("a call ends with its signal", async () => {
      const gone = AbortSignal.abort(new WeftError("timeout", "the test is over"));
      expect(
        await code(subject.api.block("10-9-0-64-26", gone).catch((e) => Promise.reject(asWeft(e)))),
      ).toBe("timeout");
    });
  });
}

/** Whatever a call that was ended rejects with: the reason itself, or an error made of it. */
const asWeft = (error: unknown): WeftError =>
  error instanceof WeftError && error.code === "timeout"
    ? error
    : new WeftError((error as { cause?: WeftError }).cause?.code ?? "timeout", String(error));
