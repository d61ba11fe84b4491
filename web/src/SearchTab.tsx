/** Moments of the folder by words, or by what a frame shows. */
import { useState } from "preact/hooks";
import { cancel, isBusy } from "./actions";
import { ApiError, get } from "./api";
import { useCell } from "./cell";
import { frameUrl } from "./frames";
import { formatTime } from "./Items";
import { JobProgress } from "./JobPanel";
import { finished, modelLine } from "./look";
import * as state from "./state";
import type { Job, Moment } from "./types";

interface Found {
  model?: unknown;
  results?: Moment[];
  job?: Job;
}

export function SearchTab() {
  const app = useCell(state.app);
  const item = useCell(state.item);
  const frame = useCell(state.frame);
  const [text, setText] = useState("");
  const [found, setFound] = useState<Found | null>(null);
  const [said, setSaid] = useState("");
  const [job, setJob] = useState<Job | null>(null);

  const search = async (query: string) => {
    setFound(null);
    setSaid("Searching");
    const answer = await state.attempt(() => ask(query));
    setJob(null);
    setFound(answer ?? null);
    const count = answer?.results?.length ?? 0;
    setSaid(answer ? (count ? `${count} moments, the most alike first` : "Nothing was found.") : "");
  };
  const ask = async (query: string, again = true): Promise<Found> => {
    let answer: Found;
    try {
      answer = await get<Found>(`/api/search?${query}`);
    } catch (error) {
      const begun = error instanceof ApiError ? (error.content.job as Job | undefined) : undefined;
      if (!begun) throw error;
      answer = { job: begun };
    }
    if (!answer.job || !again) return answer;
    setFound(answer.results ? answer : null); // of an index that is older than the folder
    setSaid("The index of the folder is being built");
    setJob(answer.job);
    const end = await finished(answer.job.id, setJob);
    if (end.state !== "done") throw new Error(end.message || "The index of the folder was not made.");
    return ask(query, false);
  };
  const names = new Map(app?.items.map((each) => [each.id, each]));
  return (
    <section class="wide" aria-label="Search">
      <form
        class="bar"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          void search(new URLSearchParams({ text: text.trim() }).toString());
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
        <button type="submit" class="primary" disabled={!text.trim() || isBusy(job)}>
          Search
        </button>
        <button
          type="button"
          disabled={!item || isBusy(job)}
          onClick={() => search(new URLSearchParams({ item: item!.id, frame: String(frame) }).toString())}
        >
          {item ? `Like frame ${frame} of ${item.name}` : "Like this frame"}
        </button>
      </form>
      <p class="soft" role="status">
        {said}
      </p>
      {job && isBusy(job) && (
        <div class="row">
          <JobProgress job={job} />
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        </div>
      )}
      <ul class="moments">
        {found?.results?.map((each) => {
          const source = names.get(each.item);
          if (!source) return null;
          const time = each.start_s === null ? "" : `${formatTime(each.start_s)} – ${formatTime(each.stop_s ?? each.start_s)}`;
          return (
            <li key={`${each.item}/${each.frame}`}>
              <button
                type="button"
                class="moment"
                onClick={() => {
                  state.choose(each.item, each.frame);
                  state.tab.value = "track";
                }}
              >
                <img src={frameUrl(source, each.frame, 320)} alt="" loading="lazy" />
                <span class="name">{source.name}</span>
                <span class="soft">{[time, `cosine ${each.cosine.toFixed(2)}`].filter(Boolean).join(", ")}</span>
              </button>
            </li>
          );
        })}
      </ul>
      <p class="soft small">{modelLine(found?.model ?? app?.models.words)}</p>
    </section>
  );
}
