/** The videos and images of the folder; others are dropped here. */
import { useEffect, useRef, useState } from "preact/hooks";
import { upload } from "./api";
import { useCell } from "./cell";
import { frameUrl } from "./frames";
import { filter as filterCell, list as listCell, loadItems, loadMore } from "./list";
import { attempt, choose, app as appCell, item as itemCell, tab } from "./state";
import type { Item } from "./types";

const TYPING = 150; // ms

export function Items() {
  const app = useCell(appCell);
  const chosen = useCell(itemCell);
  const { items, next, count, unread } = useCell(listCell);
  const filter = useCell(filterCell);
  const end = useRef<HTMLLIElement>(null);
  const typing = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState("");

  useEffect(() => {
    if (!end.current) return;
    const watcher = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && void attempt(loadMore));
    watcher.observe(end.current);
    return () => watcher.disconnect();
  }, [next]);

  const narrow = (text: string) => {
    filterCell.value = text;
    clearTimeout(typing.current);
    typing.current = setTimeout(() => void attempt(loadItems), TYPING);
  };

  const send = async (files: FileList | null | undefined) => {
    for (const file of files ?? []) {
      const made = await attempt(() => {
        const most = app?.limits.upload_bytes;
        if (most && file.size > most)
          throw new Error(`${file.name} is larger than ${formatBytes(most)}, the most that is taken.`);
        setSent(`Sending ${file.name}`);
        return upload<Item>(`/api/upload?name=${encodeURIComponent(file.name)}`, file, (share) =>
          setSent(`Sending ${file.name}, ${Math.round(100 * share)} %`),
        );
      });
      if (made) await choose(made.id);
    }
    setSent("");
  };

  const pick = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    void send(input.files).then(() => (input.value = "")); // so that the same file can be chosen again
  };

  return (
    <nav
      class={over ? "items over" : "items"}
      aria-label="Videos and images"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void send(event.dataTransfer?.files);
      }}
    >
      <h2 title={app?.folder}>{folderName(app?.folder)}</h2>
      <input
        type="search"
        placeholder="Filter by name"
        aria-label="Filter by name"
        value={filter}
        onInput={(event) => narrow(event.currentTarget.value)}
      />
      <ul>
        {items.map((each) => (
          <li key={each.id}>
            <button
              type="button"
              class="item"
              aria-current={each.id === chosen?.id ? "true" : undefined}
              onClick={() => {
                void choose(each.id);
                if (tab.value === "search") tab.value = "track";
              }}
            >
              <img src={frameUrl(each, 0, 160)} alt="" loading="lazy" />
              <span>
                <span class="name">{each.name}</span>
                <span class="soft">{describe(each)}</span>
              </span>
            </button>
          </li>
        ))}
        {next !== null && <li ref={end} class="soft">{`${count.toLocaleString("en")} in all`}</li>}
      </ul>
      {app && !items.length && !unread && (
        <p class="soft">{filter ? "No name has this in it." : "No videos here yet; drop one."}</p>
      )}
      {unread > 0 && <p class="soft">{`${unread.toLocaleString("en")} more files are being read.`}</p>}
      <label class="drop">
        <input type="file" accept="video/*,image/*" multiple onChange={pick} />
        <span>Add a video, or drop it here</span>
      </label>
      <p class="soft" role="status">
        {sent}
      </p>
    </nav>
  );
}

function describe(each: Item): string {
  const size = `${each.width}\u00a0×\u00a0${each.height}`;
  return each.kind === "image" ? size : `${size}, ${formatLength(each.frames / (each.fps || 25))}`;
}

export function formatTime(seconds: number): string {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole % 60).toFixed(2).padStart(5, "0")}`;
}

function formatLength(seconds: number): string {
  return seconds < 60 ? `${seconds.toFixed(1)}\u00a0s` : formatTime(seconds).replace(/\.\d+$/, "");
}

function formatBytes(count: number): string {
  return count >= 2 ** 30 ? `${(count / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(count / 2 ** 20)} MiB`;
}

function folderName(path: string | undefined): string {
  return (
    path
      ?.replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .pop() || "Folder"
  );
}
