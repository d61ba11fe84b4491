/** The list of videos and images: as much of it as somebody has scrolled to, and what events change in it. */
import { get } from "./api";
import { Cell } from "./cell";
import type { Item, ItemChange, ItemPage } from "./types";

export const list = new Cell<ItemPage>({ items: [], next: null, count: 0, unread: 0 });
/** What the names in the list have in them. */
export const filter = new Cell("");

/** Items of a page, the server's; as many more are read at a time. */
const PAGE = 200;
let reading: Promise<unknown> = Promise.resolve();
let most = PAGE;

const address = (after: string | null) => {
  const query = new URLSearchParams({ text: filter.value, ...(after !== null && { after }) });
  return `/api/items?${query}`;
};

/** Show the first page, of those that `filter` names; `first` is that without a filter, if it is asked for already. */
export function loadItems(first?: Promise<ItemPage>): Promise<void> {
  const text = filter.value;
  const read = first && !text ? first : get<ItemPage>(address(null));
  const work = read.then((page) => {
    if (text !== filter.value) return; // another one was typed meanwhile
    most = PAGE;
    list.value = page;
  });
  reading = work.catch(() => {});
  return work;
}

/** Show the page that follows, one at a time. */
export function loadMore(): Promise<void> {
  const { next } = list.value;
  const text = filter.value;
  const work = reading.then(async () => {
    if (next === null || next !== list.value.next || text !== filter.value) return;
    const page = await get<ItemPage>(address(next));
    if (next !== list.value.next || text !== filter.value) return; // the list has begun again
    const known = new Set(list.value.items.map((each) => each.id));
    most += PAGE;
    list.value = { ...page, items: [...list.value.items, ...page.items.filter((each) => !known.has(each.id))] };
  });
  reading = work.catch(() => {});
  return work;
}

/** Take over what has changed, as far as the list reaches; what was asked for before comes first. */
export function changeItems(change: ItemChange): void {
  void reading.then(() => {
    const { items, next } = list.value;
    const away = new Set([...change.gone, ...change.changed.map((each) => each.id)]);
    const last = items.at(-1);
    const text = filter.value.toLowerCase();
    const more = change.changed.filter(
      (each) => each.name.toLowerCase().includes(text) && (next === null || (last !== undefined && compare(each, last) <= 0)),
    );
    const all = [...items.filter((each) => !away.has(each.id)), ...more].sort(compare);
    const { count, unread } = change;
    list.value = { items: all.slice(0, most), next: all.length > most ? all[most - 1].id : next, count, unread };
  });
}

function compare(one: Item, other: Item): number {
  if (one.order !== other.order) return one.order < other.order ? -1 : 1;
  return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
}
