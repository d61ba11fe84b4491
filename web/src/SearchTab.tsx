/** Moments of the folder by words, or by what a frame shows, in the index that `tapetum index` made. */
import { useRef, useState } from "preact/hooks";
import { get } from "./api";
import { useCell } from "./cell";
import { formatTime } from "./Items";
import { Remarks } from "./ModelChoice";
import * as state from "./state";
import type { Moment } from "./types";

interface Found {
  remarks: string[];
  results: Moment[];
}

export function SearchTab() {
  const item = useCell(state.item);
  const frame = useCell(state.frame);
  const [text, setText] = useState("");
  const [found, setFound] = useState<Found | null>(null);
  const [said, setSaid] = useState("");
  const latest = useRef(0);

  const search = async (about: Record<string, string>) => {
    const number = ++latest.current;
    setFound(null);
    setSaid("Searching");
    const answer = await state.attempt(() => get<Found>(`/api/search?${new URLSearchParams(about)}`));
    if (number !== latest.current) return; // another search has begun meanwhile
    setFound(answer ?? null);
    setSaid(answer ? (answer.results.length ? `${answer.results.length} found, the most alike first` : "Nothing was found.") : "");
  };
  return (
    <section class="wide" aria-label="Search">
      <form
        class="bar"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          void search({ text: text.trim() });
        }}
      >
        <input
          type="search"
          class="long"
          aria-label="What to look for"
          placeholder="a dog runs over grass"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="primary" disabled={!text.trim()}>
          Search
        </button>
        <button type="button" disabled={!item} onClick={() => search({ item: item!.id, frame: String(frame) })}>
          {item?.kind === "image" ? `Like ${item.name}` : item ? `Like frame ${frame} of ${item.name}` : "Like this frame"}
        </button>
      </form>
      <p class="soft" role="status">
        {said}
      </p>
      <ul class="moments">
        {found?.results.map((each) => {
          const { start_s, stop_s } = each;
          const time = start_s === null ? "" : `${formatTime(start_s)} – ${formatTime(stop_s ?? start_s)}`;
          return (
            <li key={`${each.item}/${each.frame}`}>
              <button
                type="button"
                class="moment"
                onClick={() => {
                  void state.choose(each.item, each.frame);
                  state.tab.value = "track";
                }}
              >
                <span class="thumbnails">
                  {each.thumbnails.map((url, k) => (
                    <img key={k} src={url} alt="" />
                  ))}
                </span>
                <span class="name">{each.name}</span>
                <span class="soft">{[time, `cosine ${each.cosine.toFixed(2)}`].filter(Boolean).join(", ")}</span>
              </button>
            </li>
          );
        })}
      </ul>
      <Remarks lines={found?.remarks} />
    </section>
  );
}
