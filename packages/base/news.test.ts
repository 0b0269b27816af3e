import { expect, test } from "bun:test";
import { FakeClock } from "./clock.ts";
import { News } from "./news.ts";

test("a wait ends with the next news, or when its time is up, and leaves nothing behind", async () => {
  const clock = new FakeClock();
  const news = new News(clock);
  const ended: string[] = [];
  const wait = (name: string, ms: number): Promise<void> => news.next(ms).then(() => void ended.push(name));
  const [short, long] = [wait("short", 10), wait("long", 1000)];
  clock.advance(10);
  await short;
  expect([ended, news.waiting]).toEqual([["short"], 1]);
  news.tell();
  await long;
  expect([ended, news.waiting]).toEqual([["short", "long"], 0]);
  clock.advance(1000);
  expect(ended).toHaveLength(2);
});

test("who waits anew because of news waits for other news", async () => {
  const news = new News(new FakeClock());
  let rounds = 0;
  const again = async (): Promise<void> => {
    for (;;) {
      await news.next(1000);
      rounds++;
    }
  };
  void again();
  for (let i = 1; i <= 3; i++) {
    news.tell();
    await Promise.resolve();
    await Promise.resolve();
    expect([rounds, news.waiting]).toEqual([i, 1]);
  }
});
