/** A watch of the fake API's pods, and the table that its batches make. */
import { expect } from "bun:test";
import { WeftError } from "@weft/base";
import { type ResourceWatchOptions, type RowBatch, watchResource } from "../index.ts";
import type { FakeApi } from "./fake-api.ts";
import { serveApi, until } from "./setup.ts";

export const PATH = "/api/v1/pods";

export interface Row {
  readonly name: string;
  readonly value: unknown;
}

export const pod = (name: string, value: unknown = 0, extra: object = {}) => ({
  metadata: { name, namespace: "default" },
  value,
  ...extra,
});

/** `stops` takes what must be called at the end, in reverse order. */
export async function watched(
  api: FakeApi,
  stops: (() => unknown)[],
  options: Partial<ResourceWatchOptions<Row>> = {},
) {
  const { client, stop } = await serveApi(api);
  stops.push(stop);
  const rows = new Map<string, Row>();
  const batches: RowBatch<Row>[] = [];
  const wrong: string[] = [];
  const watch = watchResource<Row>({
    client,
    path: PATH,
    decode: ({ metadata, value }) => {
      if (value === "faulty") throw new WeftError("invalid", "value: must not be faulty");
      return value === "ignored" ? undefined : { name: metadata.name, value };
    },
    onChange(batch) {
      batches.push(batch);
      if (batch.reset) rows.clear();
      for (const { key, before, after } of batch.changes) {
        // Thrown in here, it would only be told to the watch.
        if (!Bun.deepEquals(rows.get(key), before)) wrong.push(key);
        if (after === undefined) rows.delete(key);
        else rows.set(key, after);
      }
    },
    backoff: { first: 2, cap: 10 },
    ...options,
  });
  stops.push(() => watch.stop());
  const text = () =>
    [...rows.values()]
      .map(({ name, value }) => `${name}=${value}`)
      .sort()
      .join(" ");
  const wanted = () =>
    api
      .objects(PATH)
      .map(({ metadata, value }) => `${metadata.name}=${value}`)
      .sort()
      .join(" ");
  const untilEqual = async () => {
    await until(() => text() === wanted(), "equality");
    expect(wrong).toEqual([]);
  };
  return { watch, rows, batches, text, untilEqual };
}
