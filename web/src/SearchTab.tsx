/** Moments of the folder by words, or by what a frame shows. */
import { useRef, useState } from "preact/hooks";
import { cancel, isBusy } from "./actions";
import { ApiError, get } from "./api";
import { useCell } from "./cell";
import { formatTime } from "./Items";
import { JobProgress } from "./JobPanel";
import { finished } from "./look";
import { ModelChoice, Remarks } from "./ModelChoice";
import { useModels } from "./models";
import * as state from "./state";
import type { Job, Moment } from "./types";

interface Found {
  remarks?: string[];
  results?: Moment[];
  job?: Job;
}

export function SearchTab() {
  const item = useCell(state.item);
  const frame = useCell(state.frame);
  const [text, setText] = useState("");
  const [found, setFound] = useState<Found | null>(null);
  const [said, setSaid] = useState("");
  const [job, setJob] = useState<Job | null>(null);
  const [chosen, setChosen] = useState("");
  const latest = useRef(0);
  const models = useModels("search");
  const model = models?.find((each) => each.name === chosen) ?? models?.[0];

  const search = async (about: Record<string, string>) => {
    const query = new URLSearchParams({ ...about, ...(chosen && { model: chosen }) }).toString();
    const number = ++latest.current;
    setFound(null);
    setSaid("Searching");
    const answer = await state.attempt(() => ask(query));
    if (number !== latest.current) return; // another search has begun meanwhile
    setJob(null);
    setFound(answer ?? null);
    const count = answer?.results?.length ?? 0;
    setSaid(answer ? (count ? `${count} found, the most alike first` : "Nothing was found.") : "");
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
          placeholder={model?.words ? "a dog runs over grass" : "dog"}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="primary" disabled={!text.trim() || isBusy(job)}>
          Search
        </button>
        <button
          type="button"
          disabled={!item || isBusy(job)}
          onClick={() => search({ item: item!.id, frame: String(frame) })}
        >
          {item?.kind === "image" ? `Like ${item.name}` : item ? `Like frame ${frame} of ${item.name}` : "Like this frame"}
        </button>
        <ModelChoice models={models} chosen={chosen} choose={setChosen} />
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
          const { start_s, stop_s } = each;
          const time = start_s === null ? "" : `${formatTime(start_s)} – ${formatTime(stop_s ?? start_s)}`;
          const score = each.cosine === null ? `probability ${each.probability?.toFixed(2)}` : `cosine ${each.cosine.toFixed(2)}`;
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
                <span class="soft">{[time, score].filter(Boolean).join(", ")}</span>
              </button>
            </li>
          );
        })}
      </ul>
      <Remarks lines={found?.remarks ?? model?.remarks} />
    </section>
  );
}
